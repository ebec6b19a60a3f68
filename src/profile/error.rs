//! Why a profile is not told or not changed.

use crate::{store, wechat::Stale};

/// Why a profile is not told or not changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value can't be one of its field's; the text says what it should be.
    #[error("{0}")]
    Invalid(&'static str),
    /// What was to be vouched for by WeChat is not.
    #[error("WeChat does not vouch for it")]
    Stale(#[from] Stale),
    /// The profile is another than the one that was to be changed.
    #[error("the profile has changed meanwhile")]
    Changed,
    /// Others were always faster.
    #[error("too many changes of one profile at once")]
    Crowded,
    /// The store could not be asked.
    #[error("the profile could not be looked up or kept")]
    Store(#[source] store::Error),
}
