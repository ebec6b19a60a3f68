//! Listening sockets: one per worker on each address, so that the kernel spreads connections and no worker waits for
//! another.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel may hold for a worker that is busy. The usual default of 128 overflows in a reconnect storm.
const BACKLOG: i32 = 4096;

/// One address, bound as often as there are workers.
#[derive(Debug)]
pub struct Listener {
    addr: SocketAddr,
    sockets: Vec<TcpListener>,
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
        let sockets = (0..workers.max(1)).map(|_| listen(addr)).collect::<io::Result<_>>()?;
        Ok(Self { addr, sockets })
    }

    /// Where it listens, with the real port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The socket for the next worker; `None` when each has its own.
    pub(super) fn take(&mut self) -> Option<TcpListener> {
        self.sockets.pop()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_a_port_and_strangers_do_not() {
        let mine = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 2).unwrap();
        assert_eq!(mine.sockets.len(), 2);
        assert_ne!(mine.addr().port(), 0);
        let error = Listener::bind(mine.addr(), 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
