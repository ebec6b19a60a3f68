//! Listening sockets: one per worker on each TCP address, so that the kernel spreads connections and no worker waits for
//! another. A Unix socket, or one that systemd has bound, is a single one that the workers share.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
};

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

use super::{systemd::Passed, unix_socket::SocketFile};

/// Connections the kernel may hold for a worker that is busy. The usual default of 128 overflows in a reconnect storm.
pub(super) const BACKLOG: i32 = 4096;

/// One address, with a socket for each worker.
#[derive(Debug)]
pub struct Listener {
    place: Place,
    /// By which the next process finds it.
    name: String,
    manner: Manner,
    doors: Vec<Door>,
    /// Whether the sockets are bound by somebody else, who keeps them when we go.
    passed: bool,
    file: Option<SocketFile>,
}

/// What is spoken on the connections of a listener.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    /// TLS, beneath the requests.
    pub(super) tls: bool,
    /// A PROXY header, before everything else.
    pub(super) proxied: bool,
}

/// Where somebody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At an address, with its real port.
    Tcp(SocketAddr),
    /// At a path.
    Unix(PathBuf),
}

/// A socket that connections come in at.
#[derive(Debug)]
pub(super) enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Door {
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Listener {
    /// Binds `addr` for so many workers. Port 0 takes a free one, the same for all of them.
    ///
    /// The first bind is tried without port sharing: otherwise a second gateway on the same port would come up and
    /// quietly take half of the connections.
    pub fn bind(addr: SocketAddr, workers: usize) -> io::Result<Self> {
        let probe = socket(addr, false)?;
        probe.bind(&addr.into())?;
        let addr = probe.local_addr()?.as_socket().unwrap_or(addr);
        drop(probe);
        let doors = (0..workers.max(1)).map(|_| listen(addr).map(Door::Tcp)).collect::<io::Result<_>>()?;
        let (name, manner) = (String::new(), Manner::default());
        Ok(Self { place: Place::Tcp(addr), name, manner, doors, passed: false, file: None })
    }

    /// Makes a Unix socket at `path` that those may connect to whom `mode` lets write. One that nobody listens at any
    /// more gives way; one that somebody does is `AddrInUse`, and what is no socket is `AlreadyExists`.
    pub fn bind_unix(path: &Path, mode: u32, workers: usize) -> io::Result<Self> {
        let (file, socket) = SocketFile::bind(path, mode)?;
        let doors = shared(&Door::Unix(socket), workers)?;
        let (name, manner) = (String::new(), Manner::default());
        Ok(Self { place: Place::Unix(path.to_owned()), name, manner, doors, passed: false, file: Some(file) })
    }

    /// Takes over a socket that systemd has bound. The workers share it: it was bound without `SO_REUSEPORT`, so the kernel
    /// can't spread its connections, and whichever worker is quicker takes the next.
    pub fn take_over(passed: Passed, workers: usize) -> io::Result<Self> {
        let (place, door) = match passed {
            Passed::Tcp(socket) => (Place::Tcp(socket.local_addr()?), Door::Tcp(socket)),
            Passed::Unix(socket) => {
                let path = socket.local_addr()?.as_pathname().map_or_else(PathBuf::new, Path::to_owned);
                (Place::Unix(path), Door::Unix(socket))
            }
        };
        let (name, manner) = (String::new(), Manner::default());
        Ok(Self { place, name, manner, doors: shared(&door, workers)?, passed: true, file: None })
    }

    /// Takes over the sockets of a place from the process that this one follows. Each has a queue of its own, so all of them are
    /// listened at: where there are more than workers, a worker has several, and where there are fewer, workers share them.
    ///
    /// The file of a Unix socket stays with that process until the workers run, and has this `mode` from then on.
    pub fn inherit(sockets: Vec<Passed>, mode: u32, workers: usize) -> io::Result<Vec<Self>> {
        let all = sockets.into_iter().map(|socket| Self::take_over(socket, 1)).collect::<io::Result<Vec<_>>>()?;
        let mut all = all.into_iter();
        let mut listeners = Vec::new();
        while let Some(first) = all.next() {
            let file = match &first.place {
                Place::Tcp(_) => None,
                Place::Unix(path) => Some(SocketFile::of_another(path, mode)?),
            };
            let mut doors = first.doors;
            doors.extend(all.by_ref().take(workers.saturating_sub(1)).flat_map(|next| next.doors));
            let several = doors.len();
            for place in several..workers {
                doors.push(doors[place % several].try_clone()?);
            }
            let (name, manner) = (String::new(), Manner::default());
            listeners.push(Self { place: first.place, name, manner, doors, passed: false, file });
        }
        Ok(listeners)
    }

    /// The same under this name, by which the next process finds it.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Its name, and its sockets as another process may have them: one for each queue.
    pub(super) fn to_hand_over(&self) -> (&str, &[Door]) {
        let shared = self.passed || self.file.is_some();
        (&self.name, if shared { &self.doors[..self.doors.len().min(1)] } else { &self.doors })
    }

    /// The same, with TLS spoken on it.
    #[must_use]
    pub fn with_tls(self) -> Self {
        Self { manner: Manner { tls: true, ..self.manner }, ..self }
    }

    /// The same, with a PROXY header before everything else, from a peer that the service believes.
    #[must_use]
    pub fn with_proxy_header(self) -> Self {
        Self { manner: Manner { proxied: true, ..self.manner }, ..self }
    }

    /// Where it listens.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its address, where it has one.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.place.addr()
    }

    pub(super) fn manner(&self) -> Manner {
        self.manner
    }

    pub(super) fn is_passed(&self) -> bool {
        self.passed
    }

    /// The socket for the next worker; `None` when each has its own.
    pub(super) fn take(&mut self) -> Option<Door> {
        self.doors.pop()
    }

    /// What is left of it when the workers have their sockets: where it listens, and the file that goes with it.
    pub(super) fn into_rest(self) -> io::Result<(Place, Option<SocketFile>)> {
        Ok((self.place, self.file.map(SocketFile::claim).transpose()?))
    }

    /// Closes it, and removes its file: nobody is to listen there any more.
    pub fn give_up(self) -> io::Result<()> {
        self.into_rest().map(|_| ())
    }
}

impl Place {
    /// The address, where it is one.
    pub fn addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) => Some(*addr),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Raises the limit of open files to what the system lets us have, and says how many that is. Each connection that is
/// forwarded takes two.
pub fn raise_file_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files stays as it is");
            return getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        }
    }
    most
}

fn socket(addr: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(addr, true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One socket under as many descriptors as there are workers.
fn shared(door: &Door, workers: usize) -> io::Result<Vec<Door>> {
    let again = || match door {
        Door::Tcp(socket) => {
            socket.set_nonblocking(true)?;
            socket.try_clone().map(Door::Tcp)
        }
        Door::Unix(socket) => {
            socket.set_nonblocking(true)?;
            socket.try_clone().map(Door::Unix)
        }
    };
    (0..workers.max(1)).map(|_| again()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_a_port_and_strangers_do_not() {
        let mine = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 2).unwrap();
        assert_eq!(mine.doors.len(), 2);
        assert_ne!(mine.addr().unwrap().port(), 0);
        let error = Listener::bind(mine.addr().unwrap(), 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
