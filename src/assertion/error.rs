//! Why a request's identity could not be signed. All of these are faults of ours.

use crate::model::SigningFailed;

/// Why a request's identity could not be signed. All of these are faults of ours.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nobody to sign for.
    #[error("the upstream does not exist")]
    NoUpstream,
    /// The claims can't be written down.
    #[error("the claims could not be encoded")]
    Encode(#[source] serde_json::Error),
    /// The library can't sign.
    #[error("the claims could not be signed")]
    Sign(#[from] SigningFailed),
    /// The token is nothing for a header.
    #[error("the token does not fit into a header")]
    Header,
}
