//! Whether we hear of every change, and who is told.
//!
//! One [`ear`](super::ear) on each master hears. The link is whole while none of them is missing or deaf.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::{cause::Cause, ear::Ear};
use crate::{model::TokenDigest, store::Watcher};

/// Whether we hear of every change, and who is told.
#[derive(Debug, Default)]
pub(super) struct Link {
    state: Mutex<State>,
    up: Condvar,
    /// Something is not as it was: time to look at everything.
    look: Notify,
}

#[derive(Default)]
struct State {
    watcher: Option<Arc<dyn Watcher>>,
    up: bool,
    /// Whether the log has been told that it is down.
    told: bool,
}

impl Link {
    /// Tells this one from now on.
    pub(super) fn follow(&self, watcher: Arc<dyn Watcher>) {
        let mut state = self.state();
        if state.up {
            watcher.all_changed();
            watcher.link_restored();
        } else {
            watcher.link_lost();
        }
        state.watcher = Some(watcher);
    }

    /// Has everything looked at soon.
    pub(super) fn look(&self) {
        self.look.notify_one();
    }

    /// Ends when it is time to look at everything.
    pub(super) async fn looked_for(&self) {
        self.look.notified().await;
    }

    /// From now on changes may be missed.
    pub(super) fn lost(&self, why: &Cause) {
        let mut state = self.state();
        let was_up = std::mem::replace(&mut state.up, false);
        if was_up && let Some(watcher) = &state.watcher {
            watcher.link_lost();
        }
        if !std::mem::replace(&mut state.told, true) {
            let why = chain(why);
            tracing::warn!(why, "no changes are heard of from Redis until the connection is back");
        }
    }

    /// From now on none is missed, unless one of these has gone deaf meanwhile.
    pub(super) fn restored(&self, ears: &[Ear]) -> Result<(), Cause> {
        let mut state = self.state();
        if let Some(why) = ears.iter().find_map(Ear::why_deaf) {
            return Err(Cause::Away(why));
        }
        if !std::mem::replace(&mut state.up, true) {
            if let Some(watcher) = &state.watcher {
                watcher.all_changed();
                watcher.link_restored();
            }
            state.told = false;
            self.up.notify_all();
            tracing::info!(masters = ears.len(), "every change in Redis is heard of");
        }
        Ok(())
    }

    pub(super) fn is_up(&self) -> bool {
        self.state().up
    }

    /// Waits on this thread until it is up, and says whether it is.
    pub(super) fn wait_until_up(&self, patience: Duration) -> bool {
        let waited = self.up.wait_timeout_while(self.state(), patience, |state| !state.up);
        waited.unwrap_or_else(PoisonError::into_inner).0.up
    }

    /// This session was changed or ended by somebody.
    pub(super) fn changed(&self, digest: &TokenDigest) {
        // The lock is let go first: whoever is told may take its time.
        let watcher = self.state().watcher.clone();
        if let Some(watcher) = watcher {
            watcher.changed(digest);
        }
    }

    /// Any may have been.
    pub(super) fn all_changed(&self) {
        let watcher = self.state().watcher.clone();
        if let Some(watcher) = watcher {
            watcher.all_changed();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error and what caused it, in one line.
pub(super) fn chain(cause: &Cause) -> String {
    let mut text = cause.to_string();
    let mut next = std::error::Error::source(cause);
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("up", &self.up).field("watcher", &self.watcher).finish_non_exhaustive()
    }
}
