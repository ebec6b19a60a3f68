//! One table of the file, asked key by key. Whatever was never asked for is an unknown key, so what the code reads and
//! what the file may say can't drift apart.

use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{error::Finding, outside::Outside, suggest::did_you_mean, units};

/// A value and the line it stands on.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

/// What reading one file has brought to light so far.
pub(super) struct Walk<'w> {
    pub(super) outside: &'w dyn Outside,
    pub(super) errors: Vec<Finding>,
    pub(super) warnings: Vec<Finding>,
    /// Every key somebody asked for, with its section.
    pub(super) known: BTreeSet<String>,
    text: &'w str,
}

/// One table of the file. A table that the file leaves out answers each question with "not given".
pub(super) struct Fields<'w, 't> {
    pub(super) walk: &'w mut Walk<'t>,
    /// Where the table begins.
    pub(super) line: usize,
    path: String,
    table: Option<&'t DeTable<'t>>,
    asked: Vec<&'static str>,
    /// Names with a meaning that are no keys of this version: sections, and what is refused with a reason.
    others: Vec<&'static str>,
    /// Whether what is asked here counts as a key of the file.
    listed: bool,
}

impl<'w> Walk<'w> {
    pub(super) fn new(text: &'w str, outside: &'w dyn Outside) -> Self {
        Self { outside, errors: Vec::new(), warnings: Vec::new(), known: BTreeSet::new(), text }
    }

    /// The line on which the byte at `offset` stands, counted from 1.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        1 + memchr::memchr_iter(b'\n', before).count()
    }

    pub(super) fn error(&mut self, line: usize, key: impl Into<String>, message: impl Into<String>) {
        self.errors.push(Finding { line, key: key.into(), message: message.into() });
    }

    pub(super) fn warn(&mut self, line: usize, key: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(Finding { line, key: key.into(), message: message.into() });
    }
}

impl<'w, 't> Fields<'w, 't> {
    /// The file as a whole.
    pub(super) fn root(walk: &'w mut Walk<'t>, table: &'t DeTable<'t>) -> Self {
        Self::new(walk, String::new(), 1, Some(table))
    }

    pub(super) fn new(walk: &'w mut Walk<'t>, path: String, line: usize, table: Option<&'t DeTable<'t>>) -> Self {
        Self { walk, line, path, table, asked: Vec::new(), others: Vec::new(), listed: true }
    }

    /// One of the tables that [`Fields::tables`] found.
    pub(super) fn item(&mut self, name: &str, line: usize, table: &'t DeTable<'t>) -> Fields<'_, 't> {
        Fields::new(self.walk, name.to_owned(), line, Some(table))
    }

    /// A table that is one value, `{ … }`: what it says is no key of the file.
    pub(super) fn inline(&mut self, key: &str, line: usize, table: &'t DeTable<'t>) -> Fields<'_, 't> {
        let path = self.path(key);
        Fields { listed: false, ..Fields::new(self.walk, path, line, Some(table)) }
    }

    /// `section.key`.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where the file gives this key.
    pub(super) fn line_of(&self, key: &str) -> Option<usize> {
        self.find(key).map(|at| at.line)
    }

    /// Whether the file has this table.
    pub(super) fn given(&self) -> bool {
        self.table.is_some()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    pub(super) fn error(&mut self, line: usize, key: &str, message: impl Into<String>) {
        let path = self.path(key);
        self.walk.error(line, path, message);
    }

    pub(super) fn warn(&mut self, line: usize, key: &str, message: impl Into<String>) {
        let path = self.path(key);
        self.walk.warn(line, path, message);
    }

    /// The raw value, where the file gives one.
    pub(super) fn take(&mut self, key: &'static str) -> Option<At<&'t DeValue<'t>>> {
        self.asked.push(key);
        if self.listed {
            self.walk.known.insert(self.path(key));
        }
        self.find(key)
    }

    /// A table within this one: `[name]`.
    pub(super) fn section(&mut self, name: &'static str) -> Fields<'_, 't> {
        self.others.push(name);
        let (line, table) = match self.find(name) {
            Some(At { line, value: DeValue::Table(table) }) => (line, Some(table)),
            Some(At { line, value: DeValue::Array(_) }) => {
                self.error(line, name, format!("there is one of it; write [{name}]"));
                (line, None)
            }
            Some(At { line, value }) => {
                self.error(line, name, format!("must be a section [{name}], not {}", kind(value)));
                (line, None)
            }
            None => (1, None),
        };
        let path = self.path(name);
        Fields::new(self.walk, path, line, table)
    }

    /// The tables of a list of them: `[[name]]`, each with its line.
    pub(super) fn tables(&mut self, name: &'static str) -> Vec<At<&'t DeTable<'t>>> {
        self.others.push(name);
        let found = self.find(name);
        let Some(At { value: DeValue::Array(items), .. }) = found else {
            if let Some(At { line, .. }) = found {
                self.error(line, name, format!("there may be several; write [[{name}]]"));
            }
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            let line = self.walk.line_of(item.span().start);
            match item.get_ref() {
                DeValue::Table(value) => tables.push(At { line, value }),
                other => self.error(line, name, format!("must be sections [[{name}]], not {}", kind(other))),
            }
        }
        tables
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<At<&'t str>> {
        let At { line, value } = self.take(key)?;
        let DeValue::String(text) = value else {
            self.error(line, key, format!("must be a text in quotes, not {}", kind(value)));
            return None;
        };
        Some(At { line, value: text })
    }

    /// A text that has to be there; `example` is one.
    pub(super) fn required(&mut self, key: &'static str, example: &str) -> Option<At<&'t str>> {
        if !self.has(key) {
            self.error(self.line, key, format!("missing; write {key} = {example}"));
        }
        self.text(key)
    }

    /// A text read by `parse`, whose refusal follows the quoted text.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let Some(At { line, value }) = self.text(key) else { return default };
        parse(value).unwrap_or_else(|why| {
            self.error(line, key, format!("{} {why}", quoted(value)));
            default
        })
    }

    pub(super) fn list(&mut self, key: &'static str) -> Option<At<Vec<At<&'t str>>>> {
        let At { line, value } = self.take(key)?;
        let DeValue::Array(items) = value else {
            self.error(line, key, format!("must be a list of texts, [\"…\"], not {}", kind(value)));
            return None;
        };
        let mut texts = Vec::new();
        for item in items {
            let line = self.walk.line_of(item.span().start);
            match item.get_ref() {
                DeValue::String(text) => texts.push(At { line, value: text.as_ref() }),
                other => self.error(line, key, format!("must be a list of texts, but has {}", kind(other))),
            }
        }
        // A list with a wrong item must not look like an empty one as well.
        (texts.len() == items.len()).then_some(At { line, value: texts })
    }

    pub(super) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        match self.take(key) {
            None => default,
            Some(At { value: DeValue::Boolean(value), .. }) => *value,
            Some(At { line, value }) => {
                self.error(line, key, format!("must be true or false, not {}", kind(value)));
                default
            }
        }
    }

    pub(super) fn whole(&mut self, key: &'static str, default: usize, range: RangeInclusive<usize>) -> usize {
        let Some(At { line, value }) = self.take(key) else { return default };
        let DeValue::Integer(integer) = value else {
            self.error(line, key, format!("must be a whole number, not {}", kind(value)));
            return default;
        };
        match usize::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = (range.start(), range.end());
                self.error(line, key, format!("must be between {least} and {most}"));
                default
            }
        }
    }

    /// The same, and it may be left out.
    pub(super) fn whole_if_given(&mut self, key: &'static str, range: RangeInclusive<usize>) -> Option<usize> {
        let given = self.has(key);
        let number = self.whole(key, *range.start(), range);
        given.then_some(number)
    }

    /// A duration that can't be zero.
    pub(super) fn duration(&mut self, key: &'static str, default: Duration) -> Duration {
        self.parsed(key, default, |text| match units::duration(text)? {
            Duration::ZERO => Err("must be longer than zero".to_owned()),
            duration => Ok(duration),
        })
    }

    /// A duration that can't be zero, and may be left out.
    pub(super) fn duration_if_given(&mut self, key: &'static str) -> Option<Duration> {
        let given = self.has(key);
        let duration = self.duration(key, Duration::ZERO);
        given.then_some(duration)
    }

    /// A duration of at most `longest`.
    pub(super) fn duration_up_to(&mut self, key: &'static str, default: Duration, longest: Duration) -> Duration {
        self.parsed(key, default, |text| match units::duration(text)? {
            Duration::ZERO => Err("must be longer than zero".to_owned()),
            duration if duration > longest => Err(format!("is longer than {}s", longest.as_secs())),
            duration => Ok(duration),
        })
    }

    /// A duration that zero turns off.
    pub(super) fn duration_or_zero(&mut self, key: &'static str, default: Duration) -> Duration {
        self.parsed(key, default, units::duration)
    }

    /// A size; `range` is in words what `within` is in bytes.
    pub(super) fn size(&mut self, key: &'static str, default: u64, within: RangeInclusive<u64>, range: &str) -> u64 {
        let Some(At { line, value }) = self.take(key) else { return default };
        let size = match value {
            DeValue::Integer(integer) => {
                u64::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| format!("must be {range}"))
            }
            DeValue::String(text) => units::size(text).map_err(|why| format!("{} {why}", quoted(text))),
            other => Err(format!("must be a size like \"10MiB\", not {}", kind(other))),
        };
        match size {
            Ok(size) if within.contains(&size) => return size,
            Ok(_) => self.error(line, key, format!("must be {range}")),
            Err(why) => self.error(line, key, why),
        }
        default
    }

    /// One word of several.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, default: T, words: &[(&'static str, T)]) -> T {
        self.parsed(key, default, |text| {
            if let Some((_, choice)) = words.iter().find(|(word, _)| *word == text) {
                return Ok(*choice);
            }
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Err(format!("is not one of {}{}", all.join(", "), did_you_mean(text, all.iter().copied())))
        })
    }

    /// Ends the reading of this table: what nobody asked for is unknown.
    pub(super) fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if !self.asked.contains(&name) && !self.others.contains(&name) {
                let line = self.walk.line_of(key.span().start);
                let known = self.asked.iter().chain(&self.others).copied();
                let message = format!("unknown key{}", did_you_mean(name, known));
                let path = self.path(&name.escape_debug().to_string());
                self.walk.error(line, path, message);
            }
        }
    }

    fn find(&self, key: &str) -> Option<At<&'t DeValue<'t>>> {
        let (key, value): (&Spanned<_>, &Spanned<_>) = self.table?.get_key_value(key)?;
        Some(At { line: self.walk.line_of(key.span().start), value: value.get_ref() })
    }
}

/// A text of the file as a message shows it: in quotes, on one line, not endlessly long.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("\"{}{more}\"", short.escape_debug())
}

/// What sort of value this is, with its article. Never the value: it may be a secret.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
