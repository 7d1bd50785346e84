//! The page of guarantees names tests: that each promise has some, and that these exist.

use super::rows::tests;

const PAGE: &str = include_str!("../../src/guarantees.md");
/// The last part of the page promises nothing.
const NOTHING: &str = "What is promised nowhere";

#[test]
fn every_promise_names_tests_that_exist() {
    let tests = tests();
    let mut parts = PAGE.split("\n# ").skip(1).peekable();
    let mut promises = 0;
    while let Some(part) = parts.next() {
        let (title, text) = part.split_once('\n').unwrap();
        if parts.peek().is_none() {
            assert_eq!(title, NOTHING);
            break;
        }
        let named: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("- `")?.strip_suffix('`')).collect();
        assert!(named.len() >= 3, "{title} names {}", named.len());
        for name in named {
            assert!(tests.contains(name), "{title} names {name}, which there is not");
        }
        promises += 1;
    }
    assert_eq!(promises, 10, "as many as the design has, and that of names");
}
