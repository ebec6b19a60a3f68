//! The file of a Unix socket: made for us alone, opened to whom it is for, and removed when we go.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};
use socket2::{Domain, SockAddr, Socket, Type};

use super::listener::BACKLOG;

/// A socket's file. It goes with the last that holds this, if it is still the same and is ours.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// The file itself, held on to: or else its number would be free for the next one as soon as somebody removes it.
    file: File,
    owner: Owner,
}

/// Whose a file is.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Ourselves,
    /// Another process, which goes on with it where this one fails; and the mode that it is to have when it is ours.
    Another(u32),
}

impl SocketFile {
    /// Makes the file, and a socket that listens there.
    pub(super) fn bind(path: &Path, mode: u32) -> io::Result<(Self, UnixListener)> {
        make_way(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = Self { path: path.to_owned(), file: hold(path)?, owner: Owner::Ourselves };
        // Nobody can connect before the socket listens, so for nobody is the door open too wide.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        socket.set_nonblocking(true)?;
        socket.listen(BACKLOG)?;
        Ok((file, socket.into()))
    }

    /// That of a socket which another process has made. It is left alone until it is [claimed](Self::claim).
    pub(super) fn of_another(path: &Path, mode: u32) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: hold(path)?, owner: Owner::Another(mode) })
    }

    /// The same, ours from here on.
    pub(super) fn claim(mut self) -> io::Result<Self> {
        if let Owner::Another(mode) = self.owner
            && self.is_there()
        {
            fs::set_permissions(&self.path, Permissions::from_mode(mode))?;
        }
        self.owner = Owner::Ourselves;
        Ok(self)
    }

    /// Leaves the file to whoever listens there from here on.
    pub(super) fn leave(mut self) {
        self.owner = Owner::Another(0);
    }

    /// Whoever was started in our place may have made a new one.
    fn is_there(&self) -> bool {
        let (held, found) = (self.file.metadata(), fs::symlink_metadata(&self.path));
        held.is_ok_and(|held| found.is_ok_and(|found| (found.dev(), found.ino()) == (held.dev(), held.ino())))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if matches!(self.owner, Owner::Ourselves) && self.is_there() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what a process that was killed has left at `path`.
fn make_way(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file at this path that is no socket"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens at this path")),
        Err(error) => Err(error),
    }
}

/// The file at `path`, not to be read or written.
fn hold(path: &Path) -> io::Result<File> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_for_whom_its_mode_says_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wxgate.sock");
        let (file, socket) = SocketFile::bind(&path, 0o620).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o620);
        UnixStream::connect(&path).unwrap();
        drop((file, socket));
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_left_by_the_dead_gives_way_and_one_of_the_living_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wxgate.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "nobody has cleaned up");
        let living = SocketFile::bind(&path, 0o600).unwrap();
        let error = SocketFile::bind(&path, 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();
        drop(living);
    }

    #[test]
    fn what_is_no_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        fs::write(&path, "dear diary").unwrap();
        assert_eq!(SocketFile::bind(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "dear diary");
    }

    #[test]
    fn who_was_replaced_leaves_the_file_of_the_other_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wxgate.sock");
        let (old, old_socket) = SocketFile::bind(&path, 0o600).unwrap();
        // It listens no more and has requests to finish, when somebody starts another at the same path.
        drop(old_socket);
        let (new, _socket) = SocketFile::bind(&path, 0o600).unwrap();
        drop(old);
        UnixStream::connect(&path).unwrap();
        drop(new);
        assert!(!path.exists());
    }
}
