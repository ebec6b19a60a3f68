//! The page about what goes wrong with logins: each thread that was found, and for each a test or a story.

use std::fs;

use super::{page::root, references::sources, security::has_test};

/// How many groups of threads were found.
const FOUND: usize = 32;

/// The rows of the table, each as its cells.
fn rows() -> Vec<Vec<String>> {
    let page = fs::read_to_string(root().join("docs/PITFALLS.md")).unwrap();
    let lines = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| # |"));
    lines.map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// Every file of stories in JavaScript.
fn stories() -> Vec<String> {
    let folder = fs::read_dir(root().join("tests/miniprogram")).unwrap();
    let paths = folder.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_str().unwrap().ends_with(".test.js")).map(|p| fs::read_to_string(p).unwrap()).collect()
}

#[test]
fn every_thread_that_was_found_has_a_row_with_its_link() {
    let rows = rows();
    let numbers: Vec<usize> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=FOUND).collect::<Vec<_>>());
    for row in rows {
        assert_eq!(row.len(), 5, "{row:?}");
        assert!(row[1].contains("(https://github.com/"), "{row:?}");
    }
}

#[test]
fn every_pitfall_has_tests_that_exist() {
    let (sources, stories) = (sources(), stories());
    for row in rows() {
        let names: Vec<&str> = row[4].split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "nothing holds {row:?}");
        for name in names {
            let title = format!("\ntest('{name}',");
            let is_there = has_test(&sources, name) || stories.iter().any(|text| text.contains(&title));
            assert!(is_there, "there is no test {name:?}");
        }
    }
}
