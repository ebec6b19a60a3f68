//! How far memory can be trusted where others change sessions in the same store.
//!
//! The store tells of their changes over a link. While the link is broken, changes are missed, so what is in memory counts
//! only for a while; after that each look-up asks the store. Nothing is over because a link is broken.
//!
//! That while is measured by the steady clock: a time of day that is set back would make it longer, and with it the time
//! for which a session that was ended elsewhere still counts here.

use std::{
    sync::{
        Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::near::Near;
use crate::{
    model::{Clock, TokenDigest},
    store::Watcher,
};

/// Since when changes may be missed.
#[derive(Debug)]
pub(super) struct Link {
    /// Milliseconds of the steady clock, or [`NEVER`]. Read by each request, written when the link breaks and heals.
    lost_at: AtomicU64,
    stale_for: Duration,
}

const NEVER: u64 = u64::MAX;

impl Link {
    /// A link that is first to be made where what is in memory can become stale at all.
    pub(super) fn new(stale_for: Duration, clock: &dyn Clock) -> Self {
        let lost_at = if stale_for == Duration::MAX { NEVER } else { millis(clock) };
        Self { lost_at: AtomicU64::new(lost_at), stale_for }
    }

    /// Whether what is in memory counts. While the link is up, nobody asks the clock for it.
    pub(super) fn is_trusted(&self, clock: &dyn Clock) -> bool {
        let lost_at = self.lost_at.load(Ordering::Acquire);
        lost_at == NEVER || Duration::from_millis(millis(clock).saturating_sub(lost_at)) < self.stale_for
    }

    /// A link that is lost already stays lost since then.
    fn lost(&self, clock: &dyn Clock) {
        _ = self.lost_at.compare_exchange(NEVER, millis(clock), Ordering::AcqRel, Ordering::Relaxed);
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
            near.link.lost(&*near.clock);
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

fn millis(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.steady().as_millis()).unwrap_or(NEVER - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ManualClock, Timestamp};

    const SECOND: Duration = Duration::from_secs(1);

    fn clock() -> ManualClock {
        ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000))
    }

    #[test]
    fn memory_counts_for_a_while_after_the_link_broke() {
        let (link, clock) = (Link::new(30 * SECOND, &clock()), clock());
        link.restored();
        clock.advance(1000 * SECOND);
        assert!(link.is_trusted(&clock));
        link.lost(&clock);
        clock.advance(20 * SECOND);
        link.lost(&clock);
        clock.advance(9 * SECOND);
        assert!(link.is_trusted(&clock));
        clock.advance(SECOND);
        assert!(!link.is_trusted(&clock), "losing it twice does not make it last longer");
        link.restored();
        assert!(link.is_trusted(&clock));
    }

    #[test]
    fn until_the_first_link_memory_counts_no_longer_than_after_a_break() {
        let (clock, started) = (clock(), clock());
        assert!(!Link::new(Duration::ZERO, &started).is_trusted(&clock));
        let (shared, our_own) = (Link::new(30 * SECOND, &started), Link::new(Duration::MAX, &started));
        clock.advance(30 * SECOND);
        assert!(!shared.is_trusted(&clock));
        clock.advance(1_000_000 * SECOND);
        assert!(our_own.is_trusted(&clock));
    }

    #[test]
    fn a_clock_set_back_makes_no_while_longer_and_one_set_forward_none_shorter() {
        let (link, clock) = (Link::new(30 * SECOND, &clock()), clock());
        link.restored();
        link.lost(&clock);
        clock.set(Timestamp::from_millis(1_600_000_000_000));
        clock.advance(29 * SECOND);
        assert!(link.is_trusted(&clock));
        clock.advance(SECOND);
        assert!(!link.is_trusted(&clock));
        link.restored();
        link.lost(&clock);
        clock.set(Timestamp::from_millis(1_800_000_000_000));
        assert!(link.is_trusted(&clock));
    }
}
