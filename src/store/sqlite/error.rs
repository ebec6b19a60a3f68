//! Why a file of sessions can't be opened, in words that say what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use rusqlite::ErrorCode;

use crate::store::Error;

/// Why a file of sessions can't be opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use by another wxgate; give each a file of its own, or share sessions by [sessions.redis]", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// The system doesn't let us.
    #[error("{} can't be opened for writing; is its folder there, writable, and not full?", path.display())]
    Files {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A newer wxgate wrote it.
    #[error(
        "{} was written by a newer wxgate (version {found} of the file, this one knows up to {known}); start that one, \
         or name another file", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The last that we know.
        known: usize,
    },
    /// Something else wrote it.
    #[error("{} is a SQLite file of another application; name another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is no SQLite file, or one with damage where everything begins.
    #[error(
        "{} is damaged, or no SQLite file; put a copy of it back, or move it away: everybody has to log in again then",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// SQLite can't work on it.
    #[error("{} can't be used; is the disk full, or the file or its folder read-only?", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// It could be opened, and not read or written.
    #[error("{} can't be used", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Error,
    },
}

impl OpenError {
    /// What an error of SQLite says of the file that is being opened.
    pub(super) fn of_sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged { path, source },
            _ => Self::Sqlite { path, source },
        }
    }
}
