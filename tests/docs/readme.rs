//! The README in both languages: one command to try, one to test, and a map without a hole.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt};

use super::page::{Page, root};

fn readmes() -> [Page; 2] {
    ["README.md", "README.zh-CN.md"].map(Page::read)
}

#[test]
fn both_languages_show_the_same_code() {
    let [english, chinese] = readmes();
    let code = |page: &Page| -> Vec<_> {
        page.blocks.iter().map(|block| (block.language.clone(), block.text.clone(), block.headings_before)).collect()
    };
    assert_eq!(code(&english), code(&chinese));
    let levels = |page: &Page| page.headings.iter().map(|heading| heading.level).collect::<Vec<_>>();
    assert_eq!(levels(&english), levels(&chinese));
}

#[test]
fn both_languages_link_to_the_same_pages_and_to_each_other() {
    let [english, chinese] = readmes();
    let links = |page: &Page, other: &str| {
        let (to_the_other, rest): (Vec<_>, Vec<_>) = page.links.iter().cloned().partition(|link| link == other);
        assert_eq!(to_the_other.len(), 1, "{} links once to {other}", page.path);
        rest
    };
    assert_eq!(links(&english, "README.zh-CN.md"), links(&chinese, "README.md"));
}

#[test]
fn one_command_tries_it_and_one_command_tests_it() {
    let readme = Page::read("README.md");
    let commands = |heading| readme.blocks_below(heading).iter().map(|block| block.text.as_str()).collect::<Vec<_>>();
    assert_eq!(commands("Try it")[0], "cargo run -- demo\n");
    assert_eq!(commands("Test it"), ["tests/all\n"]);
    for script in ["tests/all", ".ci/run"] {
        let mode = fs::metadata(root().join(script)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} can't be run");
    }
}

#[test]
fn the_map_shows_every_module_and_no_other() {
    let entries = fs::read_dir(root().join("src")).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() { name + "/" } else { name }
    });
    let modules: BTreeSet<String> = entries.collect();
    for (page, heading) in readmes().iter().zip(["Map of src/", "src/ 一览"]) {
        let shown = page.spans_below(heading).into_iter().filter(|name| name.ends_with('/') || name.ends_with(".rs"));
        assert_eq!(shown.map(str::to_owned).collect::<BTreeSet<_>>(), modules, "{}", page.path);
    }
    let architecture = Page::read("docs/ARCHITECTURE.md");
    let described: BTreeSet<String> = architecture.spans_below("Modules").into_iter().map(str::to_owned).collect();
    let missing: Vec<_> = modules.difference(&described).collect();
    assert_eq!(missing, Vec::<&String>::new());
}

#[test]
fn the_changelog_has_this_version() {
    let version = concat!("[", env!("CARGO_PKG_VERSION"), "]");
    let changelog = Page::read("CHANGELOG.md");
    assert!(changelog.headings.iter().any(|heading| heading.text.starts_with(version)), "{version}");
}
