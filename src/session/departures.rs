//! What happens when the cache has no room for a session.
//!
//! Where a store stands behind the cache, hardly anything: it is found there when it is wanted again. Where memory is the
//! only place, its user is logged out; that is counted and logged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::notification::RemovalCause;

use super::{ended::Watched, touches::Touches};
use crate::{
    model::{Clock, Session, Timestamp},
    store::Store,
    telemetry::Counters,
};

/// At most so often an eviction is worth a line.
const BETWEEN_WARNINGS: Duration = Duration::from_mins(1);

/// Who has to know of it.
pub(super) struct Departures {
    store: Arc<dyn Store>,
    watched: Arc<Watched>,
    touches: Arc<Touches>,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    capacity: u64,
    /// Milliseconds since the epoch, or [`NEVER`].
    warned_at: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Departures {
    pub(super) fn new(
        store: Arc<dyn Store>,
        watched: Arc<Watched>,
        touches: Arc<Touches>,
        counters: Arc<Counters>,
        clock: Arc<dyn Clock>,
        capacity: u64,
    ) -> Self {
        Self { store, watched, touches, counters, clock, capacity, warned_at: AtomicU64::new(NEVER) }
    }

    /// Runs inside moka, on whatever thread does its upkeep. The memory store's locks are taken here, so nobody may call
    /// moka while holding one of them.
    pub(super) fn note(&self, session: &Arc<Session>, cause: RemovalCause) {
        if cause != RemovalCause::Size {
            return;
        }
        let now = self.clock.now();
        let was_live = session.is_live(now);
        if !self.store.evicted(session) {
            // It comes back from the store, and should not look unused for longer than it was.
            self.touches.save(session);
            return;
        }
        self.watched.end(session.digest());
        if was_live {
            self.counters.sessions_evicted.inc();
            self.warn(now);
        }
    }

    /// The first time, then at most once a minute: a full cache evicts somebody at every login.
    fn warn(&self, now: Timestamp) {
        let last = self.warned_at.load(Ordering::Relaxed);
        if last != NEVER && now.since(Timestamp::from_millis(last)) < BETWEEN_WARNINGS {
            return;
        }
        let mine = self.warned_at.compare_exchange(last, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed);
        if mine.is_ok() {
            tracing::warn!(
                evicted = self.counters.sessions_evicted.get(),
                capacity = self.capacity,
                "no room for all sessions: users were logged out; raise sessions.capacity"
            );
        }
    }
}
