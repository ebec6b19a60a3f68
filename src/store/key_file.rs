//! The file of the seal key, made at the first start: whole or not at all, for its owner alone, and never over another.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::folder;
use crate::model::{Entropy, EntropyError, InvalidSealKey, SealKey, Secret};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// What it sealed is there, and it is not.
    #[error(
        "{} is not there, but {} is, which was sealed with it; put it back, or make a new one with `openssl rand \
         -base64 32 > {}`: sessions go on, and their session_keys come back with each user's next login",
        path.display(), sealed.display(), path.display()
    )]
    Lost {
        /// The file of the key.
        path: PathBuf,
        /// The file of the sessions.
        sealed: PathBuf,
    },
    /// There is nothing to make a key of.
    #[error("no randomness for a key")]
    Entropy(#[from] EntropyError),
    /// It can't be written.
    #[error("{} can't be made", path.display())]
    Unwritable {
        /// The file of the key.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Somebody else made it in this very moment, and it is no key.
    #[error("{} {source}", path.display())]
    Invalid {
        /// The file of the key.
        path: PathBuf,
        /// Why.
        #[source]
        source: InvalidSealKey,
    },
}

/// Makes a key and its file at `path`, with its folder, for the sessions that will be in the file `sealed`. Where these
/// are there already it was another key that sealed them, and none is made.
pub fn make_key_file(path: &Path, sealed: &Path, entropy: &dyn Entropy) -> Result<SealKey, KeyFileError> {
    if fs::metadata(sealed).is_ok_and(|meta| meta.len() > 0) {
        return Err(KeyFileError::Lost { path: path.to_owned(), sealed: sealed.to_owned() });
    }
    let key = SealKey::generate(entropy)?;
    let mut suffix = [0; 8];
    entropy.fill(&mut suffix)?;
    let draft = path.with_added_extension(format!("{:016x}", u64::from_be_bytes(suffix)));
    match write(path, &draft, &key) {
        Ok(()) => Ok(key),
        // Two first starts at once, with a snapshot each: the key of the faster one is the key.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(source) => Err(KeyFileError::Unwritable { path: path.to_owned(), source }),
    }
}

fn write(path: &Path, draft: &Path, key: &SealKey) -> io::Result<()> {
    folder::make(folder::of(path))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    let written = file
        .write_all(key.to_text().expose().as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        // A link, unlike a new name, never takes the place of what is there.
        .and_then(|()| fs::hard_link(draft, path));
    let removed = fs::remove_file(draft);
    written.and(removed)?;
    folder::sync(folder::of(path))
}

fn read(path: &Path) -> Result<SealKey, KeyFileError> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|source| KeyFileError::Unwritable { path: path.to_owned(), source })?;
    let key = SealKey::parse(&Secret::new(text.trim_end()));
    key.map_err(|source| KeyFileError::Invalid { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::model::SystemEntropy;

    #[test]
    fn the_first_start_makes_a_key_that_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, sealed) = (folder.path().join("data/keys/seal.key"), folder.path().join("data/wxgate.db"));
        let key = make_key_file(&path, &sealed, &SystemEntropy).unwrap();
        assert_eq!(read(&path).unwrap(), key);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_key_that_is_there_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (path, sealed) = (folder.path().join("seal.key"), folder.path().join("wxgate.db"));
        let first = make_key_file(&path, &sealed, &SystemEntropy).unwrap();
        // As if it had come between the look and the making.
        assert_eq!(make_key_file(&path, &sealed, &SystemEntropy).unwrap(), first);
        fs::write(&path, "my notes").unwrap();
        assert!(matches!(make_key_file(&path, &sealed, &SystemEntropy), Err(KeyFileError::Invalid { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "my notes");
    }

    #[test]
    fn where_something_was_sealed_no_new_key_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let (path, sealed) = (folder.path().join("seal.key"), folder.path().join("wxgate.db"));
        fs::write(&sealed, "sessions").unwrap();
        let error = make_key_file(&path, &sealed, &SystemEntropy).unwrap_err();
        assert!(error.to_string().contains("put it back"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_place_that_can_not_be_written_is_an_error() {
        let error = make_key_file(Path::new("/proc/wxgate/seal.key"), Path::new("/nowhere"), &SystemEntropy);
        assert!(matches!(error, Err(KeyFileError::Unwritable { .. })));
    }
}
