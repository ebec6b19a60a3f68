//! The last use of sessions, on its way to the store: written behind, in batches, at most twenty times per idle time each.
//!
//! A request only notes that something is due. What a crash loses is therefore a twentieth of the idle time, and whatever
//! the store had not yet taken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    model::Session,
    store::{self, Seen, Store},
};

/// So many may wait. What comes on top of it is due again at its next use.
const ROOM: usize = 65_536;

/// So many go to the store at once.
const BATCH: usize = 512;

pub(super) struct Touches {
    /// Whether the store has to be told.
    wanted: bool,
    waiting: Mutex<Vec<Arc<Session>>>,
}

impl Touches {
    pub(super) fn new(store: &dyn Store) -> Self {
        Self { wanted: !store.sees_use(), waiting: Mutex::default() }
    }

    /// A session was used.
    pub(super) fn note(&self, session: &Arc<Session>) {
        if self.wanted && session.claim_writing_when_due() {
            self.push(session);
        }
    }

    /// A session leaves memory: its last use is written down however recent the one before.
    pub(super) fn save(&self, session: &Arc<Session>) {
        if self.wanted && session.claim_writing() {
            self.push(session);
        }
    }

    /// Writes down what waits. What could not be written waits again.
    pub(super) async fn flush(&self, store: &dyn Store) -> Result<(), store::Error> {
        let mut unwritten = Unwritten { touches: self, sessions: std::mem::take(&mut *self.waiting()) };
        while !unwritten.sessions.is_empty() {
            let from = unwritten.sessions.len().saturating_sub(BATCH);
            let live = unwritten.sessions[from..].iter().filter(|session| !session.is_ended());
            store.touch(live.map(|session| seen(session)).collect()).await?;
            unwritten.sessions.truncate(from);
        }
        Ok(())
    }

    fn push(&self, session: &Arc<Session>) {
        let mut waiting = self.waiting();
        if waiting.len() < ROOM {
            waiting.push(Arc::clone(session));
        } else {
            drop(waiting);
            session.give_writing_back();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seen(session: &Session) -> Seen {
    Seen { user: session.identity().user.clone(), digest: *session.digest(), at: session.last_seen() }
}

/// What is being written; whether the store fails or whoever writes is stopped, the rest waits again.
struct Unwritten<'a> {
    touches: &'a Touches,
    sessions: Vec<Arc<Session>>,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        for session in &self.sessions {
            self.touches.push(session);
        }
    }
}
