//! What can go wrong between us and a backend.

use std::io;

use hyper::client::conn::TrySendError;

/// No connection came about. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The upstream has no server.
    #[error("the upstream has no server")]
    NoServer,
    /// Refused, unreachable, or the name has no address.
    #[error("no connection to {server}")]
    Failed {
        /// Which server.
        server: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// No answer within `connect_timeout`.
    #[error("no connection to {server} in time")]
    Timeout {
        /// Which server.
        server: String,
    },
    /// The server's name has no address, or none could be found out.
    #[error("no address of {server} is known")]
    Unresolved {
        /// Which server.
        server: String,
    },
    /// There are as many connections as there may be, or as many requests that wait for one.
    #[error("no connection to {server} is free")]
    Overloaded {
        /// Which server, or the upstream where it is about all of them.
        server: String,
    },
    /// The connection could not be set up for HTTP.
    #[error("no HTTP connection to {server}")]
    Handshake {
        /// Which server.
        server: String,
        /// What hyper says.
        #[source]
        source: hyper::Error,
    },
}

/// A request got no answer.
#[derive(Debug, thiserror::Error)]
#[error("the upstream's connection broke")]
pub struct SendError<B> {
    /// The request, whole, when not a byte of it was written.
    pub unsent: Option<Box<http::Request<B>>>,
    /// What hyper says.
    #[source]
    pub source: hyper::Error,
}

impl<B> From<TrySendError<http::Request<B>>> for SendError<B> {
    fn from(mut error: TrySendError<http::Request<B>>) -> Self {
        Self { unsent: error.take_message().map(Box::new), source: error.into_error() }
    }
}

impl<B> SendError<B> {
    /// Whether the connection closed before any byte of an answer came, as it does when the server closed an idle
    /// connection at the moment we reused it.
    pub fn closed_before_answer(&self) -> bool {
        self.source.is_incomplete_message()
            || self.source.is_canceled()
            || self.source.is_closed()
            || io_kind(&self.source).is_some_and(is_an_end)
    }
}

/// How a connection ends without a word. Over TLS the word would be a `close_notify`, which many servers leave out.
fn is_an_end(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof)
}

fn io_kind(error: &hyper::Error) -> Option<io::ErrorKind> {
    std::error::Error::source(error)?.downcast_ref::<io::Error>().map(io::Error::kind)
}
