//! What can go wrong between us and a backend.

use std::io;

use super::{Outgoing, http1, http2::Unanswered};

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
        /// What was wrong.
        #[source]
        source: Fault,
    },
    /// Another request tried to connect, and this one waited for that.
    #[error("{why}")]
    Alike {
        /// What the other was told.
        why: String,
    },
}

/// What is wrong with a connection, or with an exchange on it.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Over HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] http1::Error),
    /// What h2 says.
    #[error(transparent)]
    Http2(#[from] h2::Error),
    /// What came first was no HTTP/2.
    #[error("it does not speak HTTP/2")]
    NoHttp2(#[source] h2::Error),
    /// The server closed a connection that nothing had been sent over.
    #[error("it closed the connection")]
    Closed,
    /// Of an answer it is said in more than one way how long it is, or in none that could be read.
    #[error("its answer has no one length")]
    Lengths,
    /// The head of an answer has more fields than one of HTTP/1 may have.
    #[error("its answer has too many headers")]
    TooManyFields,
    /// There is no end of the interim answers.
    #[error("there is no end of what comes before its answer")]
    NoEnd,
    /// The head can't be said in HTTP/2; a fault of ours.
    #[error("the request has no host")]
    NoHead,
    /// What was to be sent broke off.
    #[error("the request broke off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Fault {
    /// Whether the server has answered, though nothing that could be passed on.
    pub fn is_an_answer(&self) -> bool {
        matches!(self, Self::Lengths | Self::Http1(http1::Error::Coded))
    }

    /// Whether it is a fault of one exchange, and none of the server or of its connection: who asks for a broken page again and again,
    /// or breaks off what he sends, must not take the server from others.
    pub fn is_of_one_exchange(&self) -> bool {
        match self {
            Self::Body(_) => true,
            Self::Http2(error) => error.is_reset() && error.is_remote(),
            other => other.is_an_answer(),
        }
    }
}

/// A request got no answer.
#[derive(Debug, thiserror::Error)]
#[error("the upstream's connection broke")]
pub struct SendError<B> {
    /// The request, whole, when not a byte of it was written, or when the server says that it has done nothing with it.
    pub unsent: Option<Box<Outgoing<B>>>,
    /// Whether the server says so.
    pub is_refused: bool,
    /// What was wrong.
    #[source]
    pub source: Fault,
}

impl<B> SendError<B> {
    /// Whether the connection closed before any byte of an answer came, as it does when the server closed an idle
    /// connection at the moment we reused it.
    pub fn closed_before_answer(&self) -> bool {
        match &self.source {
            Fault::Http1(error) => error.is_an_end(),
            Fault::Http2(error) => error.get_io().map(io::Error::kind).is_some_and(is_an_end),
            Fault::NoHttp2(_)
            | Fault::Closed
            | Fault::Lengths
            | Fault::TooManyFields
            | Fault::NoEnd
            | Fault::NoHead
            | Fault::Body(_) => false,
        }
    }
}

/// Why there is no answer, before it is known what becomes of the request.
#[derive(Debug)]
pub struct NoAnswer(pub(super) Why);

#[derive(Debug)]
pub(super) enum Why {
    /// On a connection of its own.
    Http1(Fault),
    /// On one of many streams.
    Http2(Unanswered),
}

/// How a connection ends without a word. Over TLS the word would be a `close_notify`, which many servers leave out.
pub(super) fn is_an_end(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof)
}
