//! Where the public listener listens, and what it does there.

use std::{fmt, net::SocketAddr, path::PathBuf};

/// A place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAt {
    /// An address with a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// The sockets of this name that systemd has bound.
    Systemd(String),
}

/// A listener beside those of `server.listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub listen: ListenAt,
    /// What is spoken there.
    pub speaks: Speaks,
    /// Whether a PROXY header comes first.
    pub proxy_protocol: bool,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// Requests, in the clear.
    Http,
    /// Requests, over TLS.
    Https,
    /// Nothing but the advice to come over TLS, to this port.
    Redirect(u16),
}

impl ListenAt {
    /// The address, where it is one.
    pub fn addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) => Some(*addr),
            Self::Unix(_) | Self::Systemd(_) => None,
        }
    }
}

impl From<SocketAddr> for ListenAt {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

impl fmt::Display for ListenAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}
