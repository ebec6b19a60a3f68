//! How far memory can be trusted where others change sessions in the same store.
//!
//! The store tells of their changes over a link. While the link is broken, changes are missed, so what is in memory counts
//! only for a while; after that each look-up asks the store. Nothing is over because a link is broken.

use std::{
    sync::{
        Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::near::Near;
use crate::{
    model::{Timestamp, TokenDigest},
    store::Watcher,
};

/// Since when changes may be missed.
#[derive(Debug)]
pub(super) struct Link {
    /// Milliseconds since the epoch, or [`NEVER`]. Read by each request, written when the link breaks and heals.
    lost_at: AtomicU64,
    stale_for: Duration,
}

const NEVER: u64 = u64::MAX;

impl Link {
    /// A link that is first to be made where what is in memory can become stale at all.
    pub(super) fn new(stale_for: Duration, now: Timestamp) -> Self {
        let lost_at = if stale_for == Duration::MAX { NEVER } else { now.as_millis() };
        Self { lost_at: AtomicU64::new(lost_at), stale_for }
    }

    /// Whether what is in memory counts.
    pub(super) fn is_trusted(&self, now: Timestamp) -> bool {
        let lost_at = self.lost_at.load(Ordering::Acquire);
        lost_at == NEVER || now.since(Timestamp::from_millis(lost_at)) < self.stale_for
    }

    /// A link that is lost already stays lost since then.
    fn lost(&self, now: Timestamp) {
        _ = self.lost_at.compare_exchange(NEVER, now.as_millis(), Ordering::AcqRel, Ordering::Relaxed);
    }

    fn restored(&self) {
        self.lost_at.store(NEVER, Ordering::Release);
    }
}

/// Hears what the store tells. It must not keep alive what it tells: that keeps the store, which keeps this.
#[derive(Debug)]
pub(super) struct Listener(pub(super) Weak<Near>);

impl Watcher for Listener {
    fn changed(&self, digest: &TokenDigest) {
        if let Some(near) = self.0.upgrade() {
            near.changed(digest);
        }
    }

    fn all_changed(&self) {
        if let Some(near) = self.0.upgrade() {
            near.all_changed();
        }
    }

    fn link_lost(&self) {
        if let Some(near) = self.0.upgrade() {
            near.link.lost(near.clock.now());
        }
    }

    fn link_restored(&self) {
        if let Some(near) = self.0.upgrade() {
            // First what may be stale, then the trust. What a look-up brings in between is told of changes already.
            near.all_changed();
            near.link.restored();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn memory_counts_for_a_while_after_the_link_broke() {
        let link = Link::new(30 * SECOND, NOW);
        link.restored();
        assert!(link.is_trusted(NOW + 1000 * SECOND));
        link.lost(NOW);
        link.lost(NOW + 20 * SECOND);
        assert!(link.is_trusted(NOW + 29 * SECOND));
        assert!(!link.is_trusted(NOW + 30 * SECOND), "losing it twice does not make it last longer");
        link.restored();
        assert!(link.is_trusted(NOW + 30 * SECOND));
    }

    #[test]
    fn until_the_first_link_memory_counts_no_longer_than_after_a_break() {
        assert!(!Link::new(30 * SECOND, NOW).is_trusted(NOW + 30 * SECOND));
        assert!(!Link::new(Duration::ZERO, NOW).is_trusted(NOW));
        assert!(Link::new(Duration::MAX, NOW).is_trusted(NOW + 1_000_000 * SECOND), "a store of our own");
    }
}
