//! What can be wrong with what a server says over HTTP/1.1.

use std::io;

use crate::web::NoBody;

/// An exchange over HTTP/1.1 went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It closed the connection before the head of an answer had come.
    #[error("it closed the connection before its answer")]
    Closed,
    /// What the system says, or TLS.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// What came is no head.
    #[error("its answer is no HTTP")]
    NoHead(#[from] httparse::Error),
    /// It said something that nobody had asked for.
    #[error("it said something without being asked")]
    Unasked,
    /// There is no end of the head, or of what comes before it.
    #[error("there is no end of what comes before its answer")]
    TooLong,
    /// Its answer has a transfer coding beside `chunked`, which nobody here undoes and nobody after us could know of; or any at all
    /// in HTTP/1.0, which has none.
    #[error("its answer has a transfer coding that can't be passed on")]
    Coded,
    /// Where a chunk was to be is none.
    #[error("its answer has a broken chunk")]
    NoChunk,
    /// The connection ended within a body.
    #[error("its answer broke off")]
    Cut,
}

impl From<NoBody> for Error {
    fn from(why: NoBody) -> Self {
        match why {
            NoBody::NoChunk => Self::NoChunk,
            NoBody::Cut => Self::Cut,
        }
    }
}

impl Error {
    /// Whether the connection closed, as it does when the server closed an idle one at the moment we reused it. Some say so before
    /// they do.
    pub(in super::super) fn is_an_end(&self) -> bool {
        match self {
            Self::Closed | Self::Unasked => true,
            Self::Io(error) => super::super::error::is_an_end(error.kind()),
            _ => false,
        }
    }
}
