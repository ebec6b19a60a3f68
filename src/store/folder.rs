//! The folders of files that have to be there after a power cut: made for their owner alone, and with the disk knowing of it.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::Path,
};

/// The folder that a file is in.
pub(super) fn of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a folder where it is missing, and whatever is missing above it. Each is an entry in the one above, and a file whose
/// folder has lost its entry is as lost as if it had never been written.
pub fn make(folder: &Path) -> io::Result<()> {
    let missing: Vec<_> = folder.ancestors().take_while(|folder| !is_there(folder)).collect();
    for folder in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => sync(of(folder))?,
            // Somebody else makes it at this moment, or it is the same as one that was just made, by another name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Brings what is in a folder to the disk: the names, not the files.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn is_there(folder: &Path) -> bool {
    folder.as_os_str().is_empty() || fs::exists(folder).unwrap_or(true)
}
