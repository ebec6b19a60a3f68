//! What a configuration draws in from outside its file: the environment and other files. Secrets come this way.

use std::{
    io,
    path::{Path, PathBuf},
};

use toml::de::DeValue;

use super::fields::{At, Fields, kind, quoted};
use crate::model::Secret;

/// The environment and the files beside the configuration, as far as they are let in.
pub(super) trait Outside {
    /// The value of an environment variable, if it is set and UTF-8.
    fn variable(&self, name: &str) -> Option<String>;
    /// The text of a file; a relative path starts at the configuration's own folder.
    fn file(&self, path: &Path) -> io::Result<String>;
    /// Where a path leads that starts at the configuration's own folder.
    fn place(&self, path: &Path) -> PathBuf;
    /// Whether others than the file's owner may read it.
    fn open_to_others(&self, path: &Path) -> bool;
}

/// What a secret's place turned out to hold.
pub(super) enum Kept {
    /// The secret.
    Secret(Secret),
    /// A file that isn't there, and what the system says of it.
    NoFile(PathBuf, io::Error),
}

/// Whether a text can be a secret, or what speaks against it.
type Plausible = fn(&str) -> Result<(), &'static str>;

impl<'t> Fields<'_, 't> {
    /// A secret: `{ env = "NAME" }`, `{ file = "path" }`, or, with a warning, the text itself.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<At<Secret>> {
        self.secret_that(key, plausible)
    }

    /// A secret of several lines.
    pub(super) fn pem(&mut self, key: &'static str) -> Option<At<Secret>> {
        self.secret_that(key, plausible_pem)
    }

    /// The same where the file may be missing.
    pub(super) fn secret_or_no_file(&mut self, key: &'static str) -> Option<At<Kept>> {
        let At { line, value } = self.take(key)?;
        Some(At { line, value: self.kept(key, line, value, plausible)? })
    }

    /// A list of secrets.
    pub(super) fn secrets(&mut self, key: &'static str) -> Vec<At<Secret>> {
        self.secrets_that(key, plausible)
    }

    /// A list of secrets of several lines.
    pub(super) fn pems(&mut self, key: &'static str) -> Vec<At<Secret>> {
        self.secrets_that(key, plausible_pem)
    }

    /// A path of the file system, from where wxgate runs.
    pub(super) fn place(&mut self, path: &At<&str>) -> At<PathBuf> {
        At { line: path.line, value: self.walk.outside.place(Path::new(path.value)) }
    }

    fn secret_that(&mut self, key: &'static str, plausible: Plausible) -> Option<At<Secret>> {
        let At { line, value } = self.take(key)?;
        match self.kept(key, line, value, plausible)? {
            Kept::Secret(value) => Some(At { line, value }),
            Kept::NoFile(path, error) => {
                self.error(line, &format!("{key}.file"), unreadable(&path, &error));
                None
            }
        }
    }

    fn secrets_that(&mut self, key: &'static str, plausible: Plausible) -> Vec<At<Secret>> {
        let Some(At { line, value }) = self.take(key) else { return Vec::new() };
        let DeValue::Array(items) = value else {
            self.error(line, key, format!("must be a list of secrets, not {}", kind(value)));
            return Vec::new();
        };
        let mut secrets = Vec::new();
        for item in items {
            let line = self.walk.line_of(item.span().start);
            match self.kept(key, line, item.get_ref(), plausible) {
                Some(Kept::Secret(value)) => secrets.push(At { line, value }),
                Some(Kept::NoFile(path, error)) => self.error(line, &format!("{key}.file"), unreadable(&path, &error)),
                None => {}
            }
        }
        secrets
    }

    fn kept(&mut self, key: &'static str, line: usize, value: &'t DeValue<'t>, plausible: Plausible) -> Option<Kept> {
        let kept = match value {
            DeValue::Table(table) => {
                let mut source = self.inline(key, line, table);
                let kept = from_source(&mut source);
                source.finish();
                kept?
            }
            DeValue::String(literal) => {
                let advice = "a secret written into the file; better { env = \"NAME\" } or { file = \"path\" }";
                self.warn(line, key, advice);
                Kept::Secret(Secret::new(literal.clone().into_owned()))
            }
            other => {
                let wanted = "must be { env = \"NAME\" } or { file = \"path\" }";
                self.error(line, key, format!("{wanted}, not {}", kind(other)));
                return None;
            }
        };
        if let Kept::Secret(secret) = &kept
            && let Err(why) = plausible(secret.expose())
        {
            self.error(line, key, why);
            return None;
        }
        Some(kept)
    }
}

fn from_source(source: &mut Fields<'_, '_>) -> Option<Kept> {
    let (env, file) = (source.text("env"), source.text("file"));
    match (env, file) {
        (Some(name), None) => {
            let value = source.walk.outside.variable(name.value);
            if value.is_none() {
                source.error(name.line, "env", format!("the environment variable {} is not set", quoted(name.value)));
            }
            value.map(|value| Kept::Secret(Secret::new(value)))
        }
        (None, Some(path)) => from_file(source, &path),
        (Some(_), Some(At { line, .. })) => {
            source.error(line, "file", "give env or file, not both");
            None
        }
        // One that is there and no text has been reported.
        (None, None) if source.has("env") || source.has("file") => None,
        (None, None) => {
            let line = source.line;
            source.error(line, "env", "missing; write { env = \"NAME\" } or { file = \"path\" }");
            None
        }
    }
}

/// The secret in a file, as [`Outside::file`] finds it.
pub(super) fn from_file(source: &mut Fields<'_, '_>, path: &At<&str>) -> Option<Kept> {
    let outside = source.walk.outside;
    let place = Path::new(path.value);
    match outside.file(place) {
        Ok(mut text) => {
            if outside.open_to_others(place) {
                let advice = format!("{} can be read by others; chmod 600 keeps it to its owner", quoted(path.value));
                source.warn(path.line, "file", advice);
            }
            let line = text.strip_suffix('\n').unwrap_or(&text);
            text.truncate(line.strip_suffix('\r').unwrap_or(line).len());
            Some(Kept::Secret(Secret::new(text)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Kept::NoFile(place.to_owned(), error)),
        Err(error) => {
            source.error(path.line, "file", unreadable(place, &error));
            None
        }
    }
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be read: {error}", quoted(&path.to_string_lossy()))
}

/// White space around a secret is a slip of whoever stored it, and one that WeChat would report as a wrong secret.
fn plausible(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("the secret is empty");
    }
    if text.trim() != text {
        return Err("the secret begins or ends with white space");
    }
    if text.chars().any(char::is_control) {
        return Err("the secret has a control character in it");
    }
    Ok(())
}

/// A key that is wrapped into lines has its own rules for white space.
fn plausible_pem(text: &str) -> Result<(), &'static str> {
    if text.trim().is_empty() { Err("the secret is empty") } else { Ok(()) }
}
