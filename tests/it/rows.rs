//! `tests/rows.md` says which test shows what, and which seeded defect makes it fail: that each row has
//! both, and that these exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

#[allow(dead_code, reason = "some of it is for the program that runs them")]
#[path = "../defects/mod.rs"]
mod defects;

/// How many rows each letter has.
pub(crate) const ROWS: [(char, u32); 4] = [('H', 46), ('A', 18), ('T', 12), ('S', 8)];

struct Row {
    name: String,
    /// As `module::function`.
    tests: Vec<String>,
    defects: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows in the order of the page.
fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("tests/rows.md")).unwrap();
    let mut lines = text.lines().skip_while(|line| !line.starts_with("| ---")).skip(1).peekable();
    assert!(lines.peek().is_some(), "there is a table");
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [row, tried, tests, defects] = cells[..] else { panic!("four cells: {line}") };
            assert!(!tried.is_empty(), "{line}");
            let names = |cell: &str| {
                cell.split_whitespace().map(|name| name.trim_matches('`').to_owned()).collect()
            };
            Row { name: row.to_owned(), tests: names(tests), defects: names(defects) }
        })
        .collect()
}

/// The functions of this binary that are tests.
pub(crate) fn tests() -> BTreeSet<String> {
    let folder = root().join("tests/it");
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
    let named: Vec<&str> = rows.iter().map(|row| &*row.name).collect();
    let expected: Vec<String> = ROWS
        .iter()
        .flat_map(|(letter, most)| (1..=*most).map(move |number| format!("{letter}{number}")))
        .collect();
    assert_eq!(named, expected);
    for Row { name, tests: of_row, .. } in rows {
        assert!(!of_row.is_empty(), "{name} has no test");
        for test in of_row {
            assert!(tests.contains(&test), "{name} names {test}, which there is not");
        }
    }
}

#[test]
fn every_test_that_is_named_after_a_row_stands_in_it() {
    let rows: BTreeMap<_, _> = rows().into_iter().map(|row| (row.name, row.tests)).collect();
    let mut named = 0;
    for test in tests() {
        for row in rows_in_name(&test) {
            assert!(rows[&row].contains(&test), "{row} does not name {test}");
            named += 1;
        }
    }
    assert!(named > 150, "{named}");
}

#[test]
fn every_row_has_a_defect_that_one_of_its_tests_notices() {
    let defects = defects::all(root()).unwrap();
    for Row { name, tests, defects: of_row } in rows() {
        assert!(!of_row.is_empty(), "{name} has no defect");
        let mut is_noticed = false;
        for defect in of_row {
            let found = defects.iter().find(|other| other.name == defect);
            let found =
                found.unwrap_or_else(|| panic!("{name} names {defect}, which there is not"));
            is_noticed |= found.tests.iter().any(|test| tests.contains(test));
        }
        assert!(is_noticed, "no test of {name} is named to notice one of its defects");
    }
}

#[test]
fn every_defect_still_fits_its_code_and_its_tests_exist() {
    let (defects, tests) = (defects::all(root()).unwrap(), tests());
    assert!(defects.len() > 300, "{} defects found", defects.len());
    for defect in defects {
        let text = fs::read_to_string(root().join(&defect.file)).unwrap();
        if let Err(wrong) = defect.find(&text) {
            panic!("{wrong}");
        }
        for test in defect.tests {
            assert!(tests.contains(&test), "{} names {test}, which there is not", defect.name);
        }
    }
}
