//! The page about security: a row for each known way in, and a test for each row.

use std::fs;

use super::{page::root, references::sources};

/// How many ways in have a number.
const NUMBERED: usize = 43;

/// The rows of all tables on the page, each as its cells.
fn rows() -> Vec<Vec<String>> {
    let page = fs::read_to_string(root().join("docs/SECURITY.md")).unwrap();
    let lines = page.lines().filter(|line| line.starts_with("| ") && !line.contains("| the way in |"));
    lines.map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What looks like the name of a test in a cell.
fn tests_in(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).filter(|name| name.matches('_').count() >= 2).collect()
}

#[test]
fn every_known_way_in_has_a_row() {
    let numbers: Vec<usize> = rows().iter().filter_map(|row| row[0].parse().ok()).collect();
    assert_eq!(numbers, (1..=NUMBERED).collect::<Vec<_>>());
}

#[test]
fn no_row_is_without_a_test_that_exists() {
    let sources = sources();
    for row in rows() {
        let tests = tests_in(row.last().unwrap());
        let is_unbuilt = row.iter().any(|cell| cell.contains("not built yet"));
        assert!(is_unbuilt || !tests.is_empty(), "nothing holds {row:?}");
        for name in tests {
            assert!(has_test(&sources, name), "there is no test {name}");
        }
    }
}

/// Whether a function of this name is there, and is a test.
pub(crate) fn has_test(sources: &[String], name: &str) -> bool {
    let call = format!("fn {name}(");
    sources.iter().any(|text| text.split_once(&call).is_some_and(|(before, _)| ends_in_test_attribute(before)))
}

/// Whether what comes next is a test by the attributes before it.
fn ends_in_test_attribute(before: &str) -> bool {
    let above = before.rsplit_once('\n').map_or("", |(above, _)| above);
    let attributes = above.lines().rev().map(str::trim).take_while(|line| line.starts_with("#["));
    attributes.into_iter().any(|line| line.contains("test"))
}
