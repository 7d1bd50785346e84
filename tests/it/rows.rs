//! `tests/rows.md` says which test shows what: that each row has tests, and that these exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// How many rows each letter has.
pub(crate) const ROWS: [(char, u32); 4] = [('H', 46), ('A', 18), ('T', 12), ('S', 8)];

/// The tests of each row, as `module::function`, in the order of the page.
fn rows() -> Vec<(String, Vec<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rows.md");
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines().skip_while(|line| !line.starts_with("| ---")).skip(1).peekable();
    assert!(lines.peek().is_some(), "there is a table");
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [row, tried, tests, defect] = cells[..] else { panic!("four cells: {line}") };
            assert!(!tried.is_empty() && !defect.is_empty(), "{line}");
            let tests = tests.split_whitespace().map(|name| name.trim_matches('`').to_owned());
            (row.to_owned(), tests.collect())
        })
        .collect()
}

/// The functions of this binary that are tests.
pub(crate) fn tests() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let main = fs::read_to_string(folder.join("main.rs")).unwrap();
    let modules = main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let mut found = BTreeSet::new();
    for module in modules {
        let text = fs::read_to_string(folder.join(module).with_extension("rs")).unwrap();
        let mut is_test = false;
        for line in text.lines() {
            if let (true, Some(rest)) = (is_test, line.strip_prefix("fn ")) {
                let (name, _) = rest.split_once('(').unwrap();
                found.insert(format!("{module}::{name}"));
            }
            is_test = line == "#[test]" || (is_test && line.starts_with("#["));
        }
    }
    found
}

/// The rows that a test is named after: `t4_h19_a_stream` is of T4 and H19.
fn rows_in_name(test: &str) -> Vec<String> {
    let (_, name) = test.split_once("::").unwrap();
    let row = |word: &str| {
        let (letter, number) = word.split_at_checked(1)?;
        let letter = letter.to_uppercase().chars().next()?;
        let (_, most) = ROWS.into_iter().find(|(known, _)| *known == letter)?;
        let number = number.parse().ok()?;
        (1..=most).contains(&number).then(|| format!("{letter}{number}"))
    };
    name.split('_').map_while(row).collect()
}

#[test]
fn every_row_has_tests_and_they_exist() {
    let (rows, tests) = (rows(), tests());
    assert!(tests.len() > 700, "{} tests found", tests.len());
    let named: Vec<&str> = rows.iter().map(|(row, _)| &**row).collect();
    let expected: Vec<String> = ROWS
        .iter()
        .flat_map(|(letter, most)| (1..=*most).map(move |number| format!("{letter}{number}")))
        .collect();
    assert_eq!(named, expected);
    for (row, of_row) in rows {
        assert!(!of_row.is_empty(), "{row} has no test");
        for test in of_row {
            assert!(tests.contains(&test), "{row} names {test}, which there is not");
        }
    }
}

#[test]
fn every_test_that_is_named_after_a_row_stands_in_it() {
    let rows: BTreeMap<_, _> = rows().into_iter().collect();
    let mut named = 0;
    for test in tests() {
        for row in rows_in_name(&test) {
            assert!(rows[&row].contains(&test), "{row} does not name {test}");
            named += 1;
        }
    }
    assert!(named > 150, "{named}");
}
