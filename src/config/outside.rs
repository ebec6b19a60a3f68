//! What a configuration draws in from outside its file: the environment and other files. Secrets come this way.

use std::{io, path::Path};

use toml::de::DeValue;

use super::fields::{At, Fields, kind, quoted};
use crate::model::Secret;

/// The environment and the files beside the configuration, as far as they are let in.
pub(super) trait Outside {
    /// The value of an environment variable, if it is set and UTF-8.
    fn variable(&self, name: &str) -> Option<String>;
    /// The text of a file; a relative path starts at the configuration's own folder.
    fn file(&self, path: &Path) -> io::Result<String>;
    /// Whether others than the file's owner may read it.
    fn open_to_others(&self, path: &Path) -> bool;
}

impl Fields<'_, '_> {
    /// A secret: `{ env = "NAME" }`, `{ file = "path" }`, or, with a warning, the text itself.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<At<Secret>> {
        let At { line, value } = self.take(key)?;
        let text = match value {
            DeValue::Table(table) => {
                let mut source = self.inline(key, line, table);
                let text = from_source(&mut source);
                source.finish();
                text?
            }
            DeValue::String(literal) => {
                let advice = "a secret written into the file; better { env = \"NAME\" } or { file = \"path\" }";
                self.warn(line, key, advice);
                literal.clone().into_owned()
            }
            other => {
                let wanted = "must be { env = \"NAME\" } or { file = \"path\" }";
                self.error(line, key, format!("{wanted}, not {}", kind(other)));
                return None;
            }
        };
        if let Err(why) = plausible(&text) {
            self.error(line, key, why);
            return None;
        }
        Some(At { line, value: Secret::new(text) })
    }
}

fn from_source(source: &mut Fields<'_, '_>) -> Option<String> {
    let (env, file) = (source.text("env"), source.text("file"));
    match (env, file) {
        (Some(name), None) => {
            let value = source.walk.outside.variable(name.value);
            if value.is_none() {
                source.error(name.line, "env", format!("the environment variable {} is not set", quoted(name.value)));
            }
            value
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

fn from_file(source: &mut Fields<'_, '_>, path: &At<&str>) -> Option<String> {
    let outside = source.walk.outside;
    match outside.file(Path::new(path.value)) {
        Ok(mut text) => {
            if outside.open_to_others(Path::new(path.value)) {
                let advice = format!("{} can be read by others; chmod 600 keeps it to its owner", quoted(path.value));
                source.warn(path.line, "file", advice);
            }
            let line = text.strip_suffix('\n').unwrap_or(&text);
            text.truncate(line.strip_suffix('\r').unwrap_or(line).len());
            Some(text)
        }
        Err(error) => {
            source.error(path.line, "file", format!("{} cannot be read: {error}", quoted(path.value)));
            None
        }
    }
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
