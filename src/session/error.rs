//! Why a session could not be begun, found or ended.

use crate::{model::EntropyError, store};

/// Why a session could not be begun, found or ended. That there is none is not among it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No token could be made.
    #[error("no session token could be made")]
    Entropy(#[from] EntropyError),
    /// The store did not answer. Nothing is known of the session, least of all that it is over.
    #[error("the session store did not answer")]
    StoreUnavailable(#[source] store::Error),
}

/// The sessions in the store changed faster than one of them could be looked up.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("it changed each time it was looked at")]
pub(super) struct Unsettled;
