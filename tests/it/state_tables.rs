//! The state tables of PROTOCOL.md, read from the page itself: tests that drive every cell cannot
//! drift apart from it, as a row, a column or a text that they do not know fails them.

use std::fs;
use std::path::Path;

/// One table: the first cell of its head, its columns, its rows.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// A cell with where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell<'a> {
    pub(crate) row: &'a str,
    pub(crate) column: &'a str,
    pub(crate) text: &'a str,
}

impl Table {
    /// The table of a section whose head begins with this cell, and has this one among its columns.
    pub(crate) fn find(section: u8, corner: &str, column: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let page = fs::read_to_string(root.join("PROTOCOL.md")).unwrap();
        let begin = page.find(&format!("\n## {section}. ")).unwrap();
        let rest = &page[begin + 1..];
        let text = &rest[..rest.find("\n## ").unwrap_or(rest.len())];
        let mut found: Vec<Self> = tables(text)
            .into_iter()
            .filter(|rows| rows[0][0] == corner && rows[0].iter().any(|cell| cell == column))
            .map(|mut rows| {
                let columns = rows.remove(0).split_off(1);
                assert!(rows.iter().all(|row| row.len() == columns.len() + 1), "{rows:?}");
                Self { columns, rows }
            })
            .collect();
        assert_eq!(found.len(), 1, "tables of section {section} with {corner} and {column}");
        found.remove(0)
    }

    pub(crate) fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        self.rows.iter().flat_map(|row| {
            let cells = self.columns.iter().zip(&row[1..]);
            cells.map(|(column, text)| Cell { row: &row[0], column, text })
        })
    }

    pub(crate) fn row_names(&self) -> Vec<&str> {
        self.rows.iter().map(|row| &row[0][..]).collect()
    }
}

/// All tables of a text, as rows of cells, the line under the head left out.
fn tables(text: &str) -> Vec<Vec<Vec<String>>> {
    let mut tables: Vec<Vec<Vec<String>>> = vec![Vec::new()];
    for line in text.lines() {
        let Some(line) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            tables.push(Vec::new());
            continue;
        };
        if line.chars().all(|c| matches!(c, '|' | '-')) {
            continue;
        }
        let row = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        tables.last_mut().unwrap().push(row);
    }
    tables.retain(|rows| !rows.is_empty());
    tables
}

/// The tests know these tables and no others.
#[test]
fn no_state_table_of_the_page_is_left_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("PROTOCOL.md")).unwrap();
    let is_state = |corner: &str| ["state", "lane,", "item,"].iter().any(|w| corner.starts_with(w));
    let found: Vec<String> = tables(&page)
        .iter()
        .map(|rows| rows[0][0].clone())
        .filter(|corner| is_state(corner))
        .collect();
    assert_eq!(found, [r"state \ frame", "lane, receiving", "item, sending", "state", "state"]);
}
