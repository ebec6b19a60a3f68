//! What can be wrong with a configuration, said so that its author finds the place: file, line, key, sentence.

use std::{fmt, io, path::PathBuf};

use crate::model::InvalidCertificate;

/// One thing to mend, or to think about. Its text never holds the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Counted from 1; what is missing from the file as a whole is said of line 1.
    pub line: usize,
    /// The key with its section, `server.listen`; empty where the text is not TOML.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Everything that is wrong with one file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file as its reader calls it.
    pub file_name: String,
    /// At least one.
    pub findings: Vec<Finding>,
}

/// Why a file gave no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read at all.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was read, and is wrong.
    #[error(transparent)]
    Invalid(#[from] ConfigErrors),
}

/// Why a certificate could not be read again.
#[derive(Debug, thiserror::Error)]
pub enum UnusableFile {
    /// A file could not be read at all.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was read, and is of no use.
    #[error("{} {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why it is not.
        why: InvalidCertificate,
    },
}

impl Finding {
    /// The finding as one line, behind the name of its file.
    pub fn in_file(&self, file_name: &str) -> String {
        if self.key.is_empty() {
            return format!("{file_name}:{}: {}", self.line, self.message);
        }
        format!("{file_name}:{}: {}: {}", self.line, self.key, self.message)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&finding.in_file(&self.file_name))?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
