//! Why a store has no answer.

use std::{error::Error as StdError, sync::Arc};

/// Why a store has no answer. Nothing follows from it about a session, least of all that it is over.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// It can't be reached, or doesn't answer in time, or says that it can't do it now.
    #[error("the session store is not available")]
    Unavailable(#[source] Arc<dyn StdError + Send + Sync>),
    /// What it holds can't be read: written by something else, or damaged.
    #[error("the session store holds something that can't be read: {0}")]
    Unreadable(&'static str),
}
