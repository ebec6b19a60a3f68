//! From the path of a file to a [`Config`]. Nothing else of wxgate reads a file or the environment.

use std::{
    cell::RefCell,
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use toml::de::DeTable;

use super::{
    Config,
    error::{ConfigError, ConfigErrors, Finding, UnusableFile},
    fields::{Fields, Walk},
    outside::Outside,
    resolve,
    sections::CertificateFiles,
};
use crate::model::{Certificate, Secret};

/// A configuration that can be used, and what its author should still know.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// In the order of the file's lines.
    pub warnings: Vec<Finding>,
    /// The file, and those that it draws in.
    pub files: Vec<PathBuf>,
    /// A number that is another where the text of the file is. What it draws in has no part in it.
    pub hash: u64,
}

/// Reads a file with the secrets it points to. The paths of secret files start at the file's own folder.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let machine = Machine { folder, files: RefCell::new(vec![path.to_owned()]) };
    let loaded = read(&text, &path.display().to_string(), &machine)?;
    Ok(Loaded { files: machine.files.into_inner(), ..loaded })
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
    let machine = Machine { folder: PathBuf::new(), files: RefCell::default() };
    machine.variable(variable).filter(|value| !value.is_empty()).map(Secret::new)
}

/// The words that this process was started with, its program first.
pub fn own_command_line() -> impl Iterator<Item = OsString> {
    std::env::args_os()
}

/// Reads a certificate again, from the files that the configuration named.
pub fn reread(files: &CertificateFiles) -> Result<Certificate, UnusableFile> {
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|source| UnusableFile::Unreadable { path: path.to_owned(), source })
    };
    let (chain, key) = (read(&files.cert)?, Secret::new(read(&files.key)?));
    Certificate::parse(&chain, &key).map_err(|why| {
        let path = if why.is_of_the_key() { &files.key } else { &files.cert };
        UnusableFile::Unusable { path: path.clone(), why }
    })
}

/// What is another when the content of a certificate's files is. Links are followed, so a whole folder may be swapped, as
/// Kubernetes does.
pub fn stamp(files: &CertificateFiles) -> Stamp {
    Stamp([FileStamp::of(&files.cert), FileStamp::of(&files.key)])
}

/// The same of any files.
pub fn stamps(files: &[PathBuf]) -> FileStamps {
    FileStamps(files.iter().map(|path| FileStamp::of(path)).collect())
}

/// See [`stamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp([Option<FileStamp>; 2]);

/// See [`stamps`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileStamps(Vec<Option<FileStamp>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    /// Device and number.
    file: (u64, u64),
    size: u64,
    /// In seconds and nanoseconds.
    changed: (i64, i64),
}

impl FileStamp {
    fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self { file: (meta.dev(), meta.ino()), size: meta.size(), changed: (meta.mtime(), meta.mtime_nsec()) })
    }
}

/// Every key a file may have, as `section.key`, in alphabetical order.
pub fn known_keys() -> Vec<String> {
    // One of each list makes its keys be asked for; what the answers are does not matter here.
    let text = "[[server.listeners]]\n[[server.tls.certificates]]\n[[apps]]\n[[upstreams]]\n[[routes]]\n";
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
        Some(config) if walk.errors.is_empty() => {
            Ok(Loaded { config, warnings: in_order(walk.warnings), files: Vec::new(), hash: hash(text) })
        }
        _ => Err(failed(in_order(walk.errors))),
    }
}

/// As many bits as a metric holds exactly.
fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text);
    digest.iter().take(6).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| finding.line);
    findings.dedup();
    findings
}

/// The machine that wxgate runs on.
struct Machine {
    folder: PathBuf,
    /// What was read, or was to be read.
    files: RefCell<Vec<PathBuf>>,
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
        let path = self.folder.join(path);
        self.files.borrow_mut().push(path.clone());
        fs::read_to_string(path)
    }

    fn place(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    fn open_to_others(&self, path: &Path) -> bool {
        fs::metadata(self.folder.join(path)).is_ok_and(|meta| meta.mode() & 0o044 != 0)
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
