//! A listening socket on a worker's runtime, and how the connections in its queue are taken in.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::{
    Listener,
    arrival::Accepted,
    listener::{Door, Manner},
    stream::Socket,
};

/// Who is at the other end of a Unix socket. There is no address; whoever it is, it is here.
const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A worker's share of a listener.
#[derive(Debug)]
pub(super) struct Gate {
    door: Door,
    /// The place of its listener.
    number: usize,
    manner: Manner,
    passed: bool,
}

/// The same on the worker's runtime.
pub(super) struct OpenGate {
    door: OpenDoor,
    number: usize,
    manner: Manner,
    passed: bool,
}

enum OpenDoor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Gate {
    /// The next worker's share; `None` when all have theirs.
    pub(super) fn of(number: usize, listener: &mut Listener) -> Option<Self> {
        let (manner, passed) = (listener.manner(), listener.is_passed());
        listener.take().map(|door| Self { door, number, manner, passed })
    }

    /// Brings it onto the runtime of this thread.
    pub(super) fn open(self) -> io::Result<OpenGate> {
        let door = match self.door {
            Door::Tcp(socket) => OpenDoor::Tcp(TcpListener::from_std(socket)?),
            Door::Unix(socket) => OpenDoor::Unix(UnixListener::from_std(socket)?),
        };
        Ok(OpenGate { door, number: self.number, manner: self.manner, passed: self.passed })
    }
}

impl OpenGate {
    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        let (socket, peer) = match &self.door {
            OpenDoor::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                (tcp(stream), peer)
            }
            OpenDoor::Unix(listener) => (Socket::Unix(listener.accept().await?.0), HERE),
        };
        Ok(self.accepted(socket, peer))
    }

    /// Closes, and leaves the connections that are waiting to whoever else has the socket.
    pub(super) fn leave(self) -> Vec<Accepted> {
        drop(self);
        Vec::new()
    }

    /// Closes, and gives the connections that are waiting. Closing a socket of our own would drop them. One that somebody
    /// else has bound keeps them for whoever listens next.
    pub(super) fn close(self) -> Vec<Accepted> {
        let mut rest = Vec::new();
        if self.passed {
            return rest;
        }
        let (number, manner) = (self.number, self.manner);
        let accepted = |(socket, peer)| Accepted { socket, peer, listener: number, manner };
        // The system is asked, not the runtime, which hears of new connections only after its next wait.
        match self.door {
            OpenDoor::Tcp(listener) => {
                let Ok(listener) = listener.into_std() else { return rest };
                rest.extend(std::iter::from_fn(|| {
                    let (stream, peer) = listener.accept().ok()?;
                    stream.set_nonblocking(true).ok()?;
                    Some(accepted((tcp(TcpStream::from_std(stream).ok()?), peer)))
                }));
            }
            OpenDoor::Unix(listener) => {
                let Ok(listener) = listener.into_std() else { return rest };
                rest.extend(std::iter::from_fn(|| {
                    let (stream, _) = listener.accept().ok()?;
                    stream.set_nonblocking(true).ok()?;
                    Some(accepted((Socket::Unix(UnixStream::from_std(stream).ok()?), HERE)))
                }));
            }
        }
        rest
    }

    fn accepted(&self, socket: Socket, peer: SocketAddr) -> Accepted {
        Accepted { socket, peer, listener: self.number, manner: self.manner }
    }
}

fn tcp(stream: TcpStream) -> Socket {
    // Without this a small write may wait 40 ms for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    Socket::Tcp(stream.into())
}
