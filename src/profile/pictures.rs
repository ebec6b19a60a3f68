//! What a profile asks of whoever keeps the pictures that are named in it.

use std::fmt;

use crate::model::UserKey;

/// Who keeps the pictures that users have uploaded.
pub trait Pictures: fmt::Debug + Send + Sync {
    /// Whether this is where a picture of this user is kept, or once was.
    fn keeps(&self, user: &UserKey, url: &str) -> bool;

    /// A user's profile has named one picture and names another from now on, or none. It is told when the store has the
    /// change.
    fn changed(&self, user: &UserKey, before: Option<&str>, after: Option<&str>);
}
