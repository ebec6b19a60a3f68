//! A strict reader of the OpenMetrics text format: whatever it does not know for sure to be right it refuses.

use std::collections::{BTreeMap, BTreeSet};

/// A page, taken apart.
#[derive(Debug)]
pub struct Page {
    pub families: BTreeMap<String, Family>,
}

/// What belongs to one name.
#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    help: bool,
    unit: Option<String>,
    /// By name and labels, as they are written.
    pub samples: Vec<(String, Labels, f64)>,
}

pub type Labels = BTreeMap<String, String>;

impl Page {
    pub fn read(text: &str) -> Self {
        let lines = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no end: {text}"));
        let mut page = Self { families: BTreeMap::new() };
        let mut current = String::new();
        for line in lines.lines() {
            match line.strip_prefix("# ") {
                Some(comment) => current = page.comment(comment, &current),
                None => page.sample(line, &current),
            }
        }
        for (name, family) in &page.families {
            family.check(name);
        }
        page
    }

    /// One sample: the family's name without `_total` and the like is found by itself.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut found = self.families.values().flat_map(|family| &family.samples);
        let found = found.find(|(sample, theirs, _)| sample == name && *theirs == labels);
        found.unwrap_or_else(|| panic!("no {name} {labels:?} in {self:#?}")).2
    }

    /// Names the family that the following lines belong to. Its lines stand together, so it is never named again later.
    fn comment(&mut self, comment: &str, current: &str) -> String {
        let mut words = comment.splitn(3, ' ');
        let (what, name, said) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
        assert!(name == current || !self.families.contains_key(name), "{name} comes in two places");
        assert!(is_name(name), "{name}");
        let family = self.families.entry(name.to_owned()).or_default();
        assert!(family.samples.is_empty(), "{comment} after its samples");
        match what {
            "HELP" => {
                assert!(!family.help && said.ends_with('.') && !said.ends_with(".."), "{comment}");
                family.help = true;
            }
            "TYPE" => {
                assert!(family.kind.is_empty(), "{comment}");
                said.clone_into(&mut family.kind);
            }
            "UNIT" => {
                assert!(family.unit.is_none() && name.ends_with(&format!("_{said}")), "{comment}");
                family.unit = Some(said.to_owned());
            }
            _ => panic!("{comment}"),
        }
        name.to_owned()
    }

    fn sample(&mut self, line: &str, current: &str) {
        let (head, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let (name, labels) = match head.split_once('{') {
            Some((name, rest)) => (name, labels(rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}")))),
            None => (head, Labels::new()),
        };
        assert!(is_name(name), "{line}");
        let family = self.families.get_mut(current).unwrap_or_else(|| panic!("{line} belongs to nothing"));
        let suffixes: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_sum", "_count", "_bucket"],
            kind => panic!("{current} is a {kind:?}"),
        };
        let suffix = name.strip_prefix(current);
        assert!(suffix.is_some_and(|suffix| suffixes.contains(&suffix)), "{line} in {current}");
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let twice = family.samples.iter().any(|(known, theirs, _)| known == name && *theirs == labels);
        assert!(!twice, "{line} comes twice");
        family.samples.push((name.to_owned(), labels, value));
    }
}

impl Family {
    fn check(&self, name: &str) {
        assert!(self.help && !self.kind.is_empty() && !self.samples.is_empty(), "{name}: {self:?}");
        for (sample, labels, value) in &self.samples {
            assert!(value.is_finite() && *value >= 0.0, "{sample} {labels:?} {value}");
            assert!(self.kind == "gauge" || self.kind == "histogram" || value.fract() == 0.0, "{sample} {value}");
        }
        if self.kind == "histogram" {
            assert_eq!(self.unit.as_deref(), Some("seconds"), "{name}");
            let without_le = |labels: &Labels| {
                labels
                    .iter()
                    .filter(|(key, _)| *key != "le")
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect::<Labels>()
            };
            let series: BTreeSet<Labels> = self.samples.iter().map(|(_, labels, _)| without_le(labels)).collect();
            for labels in series {
                let mine = self.samples.iter().filter(|(_, theirs, _)| without_le(theirs) == labels);
                check_histogram(name, &mine.collect::<Vec<_>>());
            }
        }
    }
}

/// The buckets rise in both ways, end with the one that has no end, and that has as many as the whole.
fn check_histogram(name: &str, samples: &[&(String, Labels, f64)]) {
    let one = |suffix: &str| {
        let found: Vec<f64> = samples
            .iter()
            .filter(|(sample, ..)| *sample == format!("{name}{suffix}"))
            .map(|(.., value)| *value)
            .collect();
        assert_eq!(found.len(), 1, "{name}{suffix}");
        found[0]
    };
    let (sum, count) = (one("_sum"), one("_count"));
    let buckets: Vec<(f64, f64)> = samples
        .iter()
        .filter(|(sample, ..)| *sample == format!("{name}_bucket"))
        .map(|(_, labels, value)| (labels["le"].parse().unwrap(), *value))
        .collect();
    assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{name}: {buckets:?}");
    assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)), "{name}");
    assert!(count > 0.0 || sum == 0.0, "{name}");
}

fn is_name(name: &str) -> bool {
    name.starts_with("wxgate_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && !name.contains("__")
}

/// `a="b",c="d"` with the three escapes that there are.
fn labels(text: &str) -> Labels {
    let mut labels = Labels::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, tail) = rest.split_once("=\"").unwrap_or_else(|| panic!("{text}"));
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()), "{text}");
        let (mut value, mut chars) = (String::new(), tail.chars());
        loop {
            match chars.next().unwrap_or_else(|| panic!("no end of {text}")) {
                '"' => break,
                '\\' => value.push(match chars.next() {
                    Some('n') => '\n',
                    Some(c @ ('"' | '\\')) => c,
                    other => panic!("{other:?} in {text}"),
                }),
                c => value.push(c),
            }
        }
        assert!(labels.insert(name.to_owned(), value).is_none(), "{name} twice in {text}");
        rest = chars.as_str();
        if let Some(more) = rest.strip_prefix(',') {
            assert!(!more.is_empty(), "{text}");
            rest = more;
        } else {
            assert!(rest.is_empty(), "{text}");
        }
    }
    labels
}

// --- a reader that lets everything pass is no reader

const GOOD: &str = "# HELP wxgate_a A.\n# TYPE wxgate_a counter\nwxgate_a_total{x=\"1\"} 1\n# EOF\n";

#[test]
fn what_is_right_is_read() {
    assert_eq!(Page::read(GOOD).value("wxgate_a_total", &[("x", "1")]), 1.0);
}

#[test]
fn what_is_wrong_is_refused() {
    for (good, bad) in [
        ("# EOF\n", ""),
        ("# HELP wxgate_a A.\n", ""),
        ("# TYPE wxgate_a counter\n", ""),
        ("wxgate_a_total{x", "wxgate_a{x"),
        ("wxgate_a_total{x", "wxgate_b_total{x"),
        ("x=\"1\"", "x=\"1\",x=\"2\""),
        ("x=\"1\"", "x=\"1"),
        ("} 1\n", "} one\n"),
        ("} 1\n", "} -1\n"),
        ("} 1\n", "} 1\nwxgate_a_total{x=\"1\"} 1\n"),
        ("counter", "summary"),
    ] {
        let text = GOOD.replace(good, bad);
        assert!(std::panic::catch_unwind(|| Page::read(&text)).is_err(), "{text}");
    }
    let buckets = |buckets: &str| {
        format!(
            "# HELP wxgate_t_seconds T.\n# TYPE wxgate_t_seconds histogram\n# UNIT wxgate_t_seconds seconds\n\
             wxgate_t_seconds_sum 3.0\nwxgate_t_seconds_count 3\n{buckets}# EOF\n"
        )
    };
    let line = |le: &str, n: u8| format!("wxgate_t_seconds_bucket{{le=\"{le}\"}} {n}\n");
    Page::read(&buckets(&(line("1.0", 2) + &line("+Inf", 3))));
    for bad in [
        line("1.0", 2),
        line("1.0", 2) + &line("+Inf", 4),
        line("2.0", 3) + &line("1.0", 3) + &line("+Inf", 3),
        line("1.0", 4) + &line("+Inf", 3),
    ] {
        assert!(std::panic::catch_unwind(|| Page::read(&buckets(&bad))).is_err(), "{bad}");
    }
}
