//! Who has sessions of the file in memory, and hears of changes that nobody else tells it of.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{model::TokenDigest, store::Watcher};

#[derive(Debug, Default)]
pub(super) struct Follower(Mutex<Option<Arc<dyn Watcher>>>);

impl Follower {
    /// From now on it is this one.
    pub(super) fn set(&self, watcher: Arc<dyn Watcher>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(watcher);
    }

    /// These sessions have ended, or may have.
    pub(super) fn changed(&self, digests: &[TokenDigest]) {
        let watcher = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(watcher) = watcher {
            for digest in digests {
                watcher.changed(digest);
            }
        }
    }
}
