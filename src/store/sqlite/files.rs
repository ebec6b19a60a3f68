//! What has to be true of files and folders before SQLite may have them: there, ours alone, and closed to others.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// For its owner alone.
const OWNER_ONLY: u32 = 0o600;

/// A file that no other process has, for as long as this is held.
///
/// The lock is on a file beside it. SQLite has locks of its own on the file itself, which the system gives up as soon as
/// anybody in this process closes it. The file beside it stays when the process ends: to remove it would race with the
/// next one.
#[derive(Debug)]
pub(super) struct Claim(File);

impl Drop for Claim {
    /// Given up by word: a child process that is just being started holds a copy of every open file for a moment, and
    /// closing ours alone would leave the claim with the child.
    fn drop(&mut self) {
        // What can't be given up by word goes with the file.
        let _ = self.0.unlock();
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

/// Claims the file at `path`; makes it, empty, and its folder where they are missing.
pub(super) fn claim(path: &Path) -> Result<Claim, Refusal> {
    let lock = lock_file(path).map_err(Refusal::Io)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Refusal::Taken),
        Err(TryLockError::Error(error)) => return Err(Refusal::Io(error)),
    }
    own(path).map_err(Refusal::Io)?;
    Ok(Claim(lock))
}

fn lock_file(path: &Path) -> io::Result<File> {
    let folder = folder(path);
    if !folder.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    options().truncate(false).create(true).open(beside(path, "lock"))
}

/// Makes the file where it is missing, and closes to others what is there. SQLite gives the files that it makes beside
/// it the same mode.
fn own(path: &Path) -> io::Result<()> {
    match options().create_new(true).open(path) {
        Ok(made) => {
            made.sync_all()?;
            File::open(folder(path))?.sync_all()?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
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

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `wxgate.db-wal` and `wxgate.db-shm` as SQLite calls them, and our own `wxgate.db-lock`.
fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-");
    name.push(what);
    PathBuf::from(name)
}
