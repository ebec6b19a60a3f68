//! What a page points at is there: links, files, tests.

use std::{fs, path::Path};

use super::page::{Page, pages, root};

#[test]
fn every_link_leads_somewhere() {
    let mut links = 0;
    for page in pages() {
        let folder = root().join(&page.path).parent().unwrap().to_owned();
        for link in page.links.iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(&page.path) } else { folder.join(file) };
            assert!(target.exists(), "{}: {link}", page.path);
            if !anchor.is_empty() {
                let anchors = anchors_of(&target.canonicalize().unwrap());
                assert!(anchors.iter().any(|known| known == anchor), "{}: {link} is none of {anchors:?}", page.path);
            }
            links += 1;
        }
    }
    assert!(links > 10, "only {links} links were found");
}

/// What its headings are called in an address.
fn anchors_of(file: &Path) -> Vec<String> {
    let page = Page::read(file.strip_prefix(root().canonicalize().unwrap()).unwrap().to_str().unwrap());
    let anchor = |text: &str| {
        let kept = text.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
    };
    page.headings.iter().map(|heading| anchor(&heading.text)).collect()
}

#[test]
fn every_file_and_folder_named_is_there() {
    let mut named = 0;
    for page in pages() {
        let drawings = page.blocks.iter().filter(|block| block.language == "text");
        let drawn = drawings.flat_map(|block| block.text.split([' ', '\n', '(', ')', ',', ':']));
        let drawn = drawn.filter(|word| word.ends_with(".rs"));
        for name in page.spans.iter().map(|span| span.text.as_str()).filter(|text| is_ours(text)).chain(drawn) {
            assert!(exists(name), "{}: there is no {name}", page.path);
            named += 1;
        }
    }
    assert!(named > 50, "only {named} files were named");
}

/// Whether this can only be meant as a file or folder of the repository.
fn is_ours(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if !name.chars().all(plain) || name.starts_with('/') {
        return false;
    }
    let folder = name.split_once('/').map(|(first, _)| first);
    name.ends_with(".rs") || folder.is_some_and(|folder| folder != "target" && exists(folder))
}

/// Whether it is there, seen from the root or from `src/`.
fn exists(name: &str) -> bool {
    root().join(name).exists() || root().join("src").join(name).exists()
}

#[test]
fn every_test_that_holds_an_invariant_exists() {
    let sources = sources();
    let page = Page::read("docs/ARCHITECTURE.md");
    let mut tests = 0;
    for name in page.spans_below("Invariants").into_iter().filter(|name| name.matches('_').count() >= 3) {
        assert!(sources.iter().any(|text| text.contains(&format!("fn {name}("))), "there is no test {name}");
        tests += 1;
    }
    assert!(tests > 20, "only {tests} tests are named");
}

/// Every file of Rust that may have a test in it.
pub(crate) fn sources() -> Vec<String> {
    [sources_below("tests"), sources_below("src"), sources_below("fuzz/fuzz_targets")].concat()
}

fn sources_below(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources_below(path.strip_prefix(root()).unwrap().to_str().unwrap()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(fs::read_to_string(&path).unwrap());
        }
    }
    found
}
