//! The page about changes without a restart: its table of the keys that need one, held against the code that says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::page::root;

/// What the code says.
#[derive(Default)]
struct Code {
    /// Keys that wait for a restart, each with its section.
    waiting: BTreeSet<String>,
    /// Keys and sections that do so in some cases.
    at_times: BTreeSet<String>,
    /// Sections with keys that are taken over.
    taking: BTreeSet<String>,
}

impl Code {
    fn read() -> Self {
        let text = fs::read_to_string(root().join("src/config/change.rs")).unwrap();
        let mut code = Self::default();
        for call in text.split("compare!(").skip(1) {
            let (call, _) = call.split_once(");").unwrap();
            let parts: Vec<&str> = call.split(';').collect();
            let [head, live, restart, _] = parts[..] else { panic!("not read: {call}") };
            let keys = |list: &str| list.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>();
            // Those of a list have the name of one in the place of a section.
            let section = head.split('"').nth(1).unwrap_or("a list");
            code.waiting.extend(keys(restart).iter().map(|key| format!("{section}.{key}")));
            code.taking.extend((!keys(live).is_empty()).then(|| section.to_owned()));
        }
        let some = text.split("self.waits(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        code.at_times.extend(some);
        assert!(code.waiting.len() > 20 && code.at_times.len() > 4, "{:?}", code.waiting);
        code
    }
}

/// What the table says of each section.
fn rows() -> BTreeMap<String, String> {
    let page = fs::read_to_string(root().join("docs/RELOAD.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `[")?.strip_suffix(" |")?.split_once("]` | "));
    rows.map(|(section, says)| (section.to_owned(), says.to_owned())).collect()
}

/// The keys and sections that a row names.
fn named(says: &str) -> impl Iterator<Item = &str> {
    says.split('`').skip(1).step_by(2)
}

#[test]
fn every_key_that_waits_for_a_restart_is_in_the_table() {
    let (code, rows) = (Code::read(), rows());
    for key in code.waiting.iter().chain(&code.at_times) {
        let whole = if code.waiting.contains(key) { "all" } else { "whether" };
        let as_a_section = rows.get(key).is_some_and(|says| says.contains(whole));
        let as_a_key = key.rsplit_once('.').and_then(|(section, key)| Some((rows.get(section)?, key)));
        let as_a_key = as_a_key.is_some_and(|(says, name)| {
            says.starts_with("all") || named(says).any(|said| said == name || said == format!("[{key}]"))
        });
        assert!(as_a_section || as_a_key, "{key} waits for a restart, and docs/RELOAD.md does not say so");
    }
}

#[test]
fn everything_in_the_table_waits_for_a_restart() {
    let (code, rows) = (Code::read(), rows());
    let waits = |key: &str| code.waiting.contains(key) || code.at_times.contains(key);
    for (section, says) in &rows {
        for name in named(says) {
            let below = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
            let key = below.map_or_else(|| format!("{section}.{name}"), str::to_owned);
            assert!(waits(&key), "docs/RELOAD.md says that {key} needs a restart");
        }
        let all = waits(section) || code.waiting.iter().any(|key| key.starts_with(&format!("{section}.")));
        assert!(!says.starts_with("all") || (all && !code.taking.contains(section)), "not all of [{section}]");
    }
}
