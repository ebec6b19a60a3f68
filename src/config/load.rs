//! From the path of a file to a [`Config`]. Nothing else of wxgate reads a file or the environment.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use toml::de::DeTable;

use super::{
    Config,
    error::{ConfigError, ConfigErrors, Finding},
    fields::{Fields, Walk},
    outside::Outside,
    resolve,
};
use crate::model::Secret;

/// A configuration that can be used, and what its author should still know.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// In the order of the file's lines.
    pub warnings: Vec<Finding>,
}

/// Reads a file with the secrets it points to. The paths of secret files start at the file's own folder.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok(read(&text, &path.display().to_string(), &Machine { folder })?)
}

/// The same with the text at hand: `env` answers for the environment and `read_file` for files, whose paths are passed
/// as the text has them. Any text gives an answer, never a panic.
pub fn parse(
    text: &str,
    file_name: &str,
    env: &dyn Fn(&str) -> Option<String>,
    read_file: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Loaded, ConfigErrors> {
    read(text, file_name, &Given { env, read_file })
}

/// A secret in the environment, for a command that is told the name of its variable.
pub fn secret_of(variable: &str) -> Option<Secret> {
    let machine = Machine { folder: PathBuf::new() };
    machine.variable(variable).filter(|value| !value.is_empty()).map(Secret::new)
}

/// Every key a file may have, as `section.key`, in alphabetical order.
pub fn known_keys() -> Vec<String> {
    // One of each list makes its keys be asked for; what the answers are does not matter here.
    let text = "[[apps]]\n[[upstreams]]\n[[routes]]\n";
    let nothing = Given { env: &|_| None, read_file: &|_| Err(io::ErrorKind::NotFound.into()) };
    let (document, _) = DeTable::parse_recoverable(text);
    let mut walk = Walk::new(text, &nothing);
    let _ = resolve::config(Fields::root(&mut walk, document.get_ref()));
    walk.known.into_iter().collect()
}

fn read(text: &str, file_name: &str, outside: &dyn Outside) -> Result<Loaded, ConfigErrors> {
    let failed = |findings| ConfigErrors { file_name: file_name.to_owned(), findings };
    let (document, broken) = DeTable::parse_recoverable(text);
    let mut walk = Walk::new(text, outside);
    if !broken.is_empty() {
        // What a broken text seems to say is not worth checking: its other mistakes come from this one.
        for error in broken {
            let line = walk.line_of(error.span().map_or(0, |span| span.start));
            walk.error(line, "", format!("this is not TOML: {}", error.message()));
        }
        return Err(failed(in_order(walk.errors)));
    }
    let config = resolve::config(Fields::root(&mut walk, document.get_ref()));
    match config {
        Some(config) if walk.errors.is_empty() => Ok(Loaded { config, warnings: in_order(walk.warnings) }),
        _ => Err(failed(in_order(walk.errors))),
    }
}

fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| finding.line);
    findings.dedup();
    findings
}

/// The machine that wxgate runs on.
struct Machine {
    folder: PathBuf,
}

/// Whatever the caller answers.
struct Given<'g> {
    env: &'g dyn Fn(&str) -> Option<String>,
    read_file: &'g dyn Fn(&Path) -> io::Result<String>,
}

impl Outside for Machine {
    #[expect(clippy::disallowed_methods, reason = "this is the one place the ban leaves open")]
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(self.folder.join(path))
    }

    fn place(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    #[cfg(unix)]
    fn open_to_others(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(self.folder.join(path)).is_ok_and(|meta| meta.mode() & 0o044 != 0)
    }

    #[cfg(not(unix))]
    fn open_to_others(&self, _path: &Path) -> bool {
        false
    }
}

impl Outside for Given<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name)
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        (self.read_file)(path)
    }

    fn place(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }

    fn open_to_others(&self, _path: &Path) -> bool {
        false
    }
}
