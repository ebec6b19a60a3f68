//! Why a request could not be forwarded.

use crate::{
    assertion,
    upstream::{ConnectError, Fault},
    web::BodyError,
};

/// Why a request could not be forwarded. Who is to blame follows from the variant.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The route names an upstream that is not there; a fault of ours.
    #[error("the route's upstream does not exist")]
    NoUpstream,
    /// The path can't be written as a request target; a fault of ours.
    #[error("the canonical path is no request target")]
    BadTarget,
    /// The caller's identity could not be signed; a fault of ours.
    #[error("the caller's identity could not be signed")]
    Identity(#[source] assertion::Error),
    /// The client's: a header name with an underscore, where those are to be refused.
    #[error("a header name has an underscore")]
    UnderscoreHeader,
    /// The client's: its body broke off, came too late or was too large.
    #[error("the request body could not be passed on")]
    Body(#[source] BodyError),
    /// The upstream's: no connection.
    #[error("the upstream is not reachable")]
    Connect(#[source] ConnectError),
    /// The upstream's: no connection was free, and more were not to be made.
    #[error("the upstream has too much to do")]
    Overloaded(#[source] ConnectError),
    /// The upstream's: the connection broke before an answer came, or what came was no HTTP.
    #[error("the upstream gave no answer")]
    Broken(#[source] Fault),
    /// The upstream's: no answer in time.
    #[error("the upstream took too long to answer")]
    Timeout,
    /// The client's: it asks for a WebSocket in another than the one way.
    #[error("the opening of a WebSocket is not well-formed")]
    NoHandshake,
    /// The upstream's: its 101 is no answer to what the client has offered.
    #[error("the upstream's answer to the opening of a WebSocket is not right")]
    WrongHandshake,
    /// The configuration's: a WebSocket can't be opened at servers that speak HTTP/2.
    #[error("the upstream speaks HTTP/2, where no WebSocket can be opened")]
    NoSwitch,
    /// The upstream's: it switches protocols, though nobody asked it to.
    #[error("the upstream switched protocols unasked")]
    Switched,
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Overloaded { .. } => Self::Overloaded(error),
            _ => Self::Connect(error),
        }
    }
}
