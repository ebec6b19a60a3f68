//! Why a picture is not taken, not kept or not told.

use crate::profile;

use super::storage::StorageError;

/// Why a picture is not taken, not kept or not told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be one that is kept.
    #[error("the picture can't be used")]
    Picture(#[source] Flaw),
    /// Too many are being read, or on their way here.
    #[error("too many pictures at once")]
    Overloaded,
    /// Where pictures rest could not be asked.
    #[error("the picture could not be read or kept")]
    Storage(#[source] StorageError),
    /// The profile could not be told or changed.
    #[error("the profile could not be told or changed")]
    Profile(#[source] profile::Error),
    /// There is no name for it, or its address is none that a profile takes.
    #[error("there is no address for the picture")]
    Address,
    /// The gateway stops.
    #[error("the gateway stops")]
    Interrupted,
}

/// What is wrong with a picture. Nothing of it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is none of the kinds that are known.
    #[error("it is no PNG, JPEG, WebP or GIF")]
    Unknown,
    /// It begins as one of them, and does not go on so.
    #[error("it can't be decoded")]
    Broken,
    /// It has more pixels than are read.
    #[error("it has too many pixels")]
    TooLarge,
}
