//! What has to be true of files and folders before SQLite may have them: there, ours alone, and closed to others.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::store::folder;

/// For its owner alone.
const OWNER_ONLY: u32 = 0o600;

/// A file that no other process has, for as long as this is held.
///
/// It takes two locks. The one on a file beside it is what most who come too late meet, before they touch the file. It goes
/// by the name, and a file can have two: by a hard link, or by being mounted alone into several containers. SQLite would
/// keep a log beside each name, and the file would be torn between them. So the other lock is on the file itself.
///
/// That one is `flock`, which SQLite's own locks, of the kind of `fcntl`, don't see. They would be given up when this
/// process closes any descriptor of the file, ours too; that is why it is open for as long as the connections are, and
/// stays open where the file is somebody else's. Only Linux keeps the two kinds apart, elsewhere the file beside has to do.
///
/// The file beside it stays when the process ends: to remove it would race with the next one.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    file: File,
    beside: File,
}

impl Claim {
    /// The file by its one true name: links are followed, and a later change of the process's folder changes nothing.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Brings what was written to the file to the disk, whoever wrote it.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Drop for Claim {
    /// Given up by word: a child process that is just being started holds a copy of every open file for a moment, and
    /// closing ours alone would leave the claim with the child.
    fn drop(&mut self) {
        // What can't be given up by word goes with the file.
        let _ = self.file.unlock();
        let _ = self.beside.unlock();
    }
}

/// Why a file can't be had.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Another process has it.
    Taken,
    /// The system says no.
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<TryLockError> for Refusal {
    fn from(error: TryLockError) -> Self {
        match error {
            TryLockError::WouldBlock => Self::Taken,
            TryLockError::Error(error) => Self::Io(error),
        }
    }
}

/// Claims the file at `path`; makes it, empty, and its folder where they are missing.
pub(super) fn claim(path: &Path) -> Result<Claim, Refusal> {
    folder::make(folder::of(path))?;
    let path = true_name(path)?;
    let beside = options().truncate(false).create(true).open(beside(&path, "lock"))?;
    beside.try_lock()?;
    let file = open(&path)?;
    if cfg!(target_os = "linux")
        && let Err(error) = file.try_lock()
    {
        // Whoever has it may be in this process, under another name. To close it would take the locks of its SQLite.
        std::mem::forget(file);
        return Err(error.into());
    }
    close_to_others(&path)?;
    Ok(Claim { path, file, beside })
}

/// The path without links. A file that is not there yet is named by its folder.
fn true_name(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path.file_name().ok_or(error)?;
            Ok(fs::canonicalize(folder::of(path))?.join(name))
        }
        found => found,
    }
}

/// The file itself, made where it is missing.
fn open(path: &Path) -> io::Result<File> {
    match options().create_new(true).open(path) {
        Ok(made) => {
            made.sync_all()?;
            folder::sync(folder::of(path))?;
            Ok(made)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options().open(path),
        Err(error) => Err(error),
    }
}

/// SQLite gives the files that it makes beside the file the same mode.
fn close_to_others(path: &Path) -> io::Result<()> {
    for file in [path.to_owned(), beside(path, "wal"), beside(path, "shm")] {
        match fs::metadata(&file) {
            Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
                fs::set_permissions(&file, Permissions::from_mode(OWNER_ONLY))?;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(OWNER_ONLY);
    options
}

/// `wxgate.db-wal` and `wxgate.db-shm` as SQLite calls them, and our own `wxgate.db-lock`.
fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-");
    name.push(what);
    PathBuf::from(name)
}
