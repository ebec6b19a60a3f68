//! Our clock as governor wants one: time that never goes back.
//!
//! If the machine's clock is set back by an hour, budgets go on from where they were instead of standing still for that
//! hour. Workers read it at once, so it has no lock; and it writes once per millisecond at most.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::clock::Clock as GovernorClock;

use crate::model::Clock;

/// A reading that is this much earlier than the last is of a clock that was set back. Anything less may be of a core
/// whose clock runs a little behind that of another.
const SET_BACK_MILLIS: u64 = 1000;

/// Time that never goes back. Its copies run together.
#[derive(Clone, Debug)]
pub(super) struct Forward {
    clock: Arc<dyn Clock>,
    run: Arc<Run>,
}

/// Two workers may come at the first moment after a quiet hour. Each counts that hour from its own reading: if one
/// took it over from the other, it could come too early, and be refused for an hour by a budget that is whole.
#[derive(Debug)]
struct Run {
    /// The latest time that anybody was told, in milliseconds.
    latest: AtomicU64,
    /// By how many milliseconds the clock was set back, all in all.
    set_back: AtomicU64,
}

impl Forward {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let run = Run { latest: AtomicU64::new(clock.now().as_millis()), set_back: AtomicU64::new(0) };
        Self { clock, run: Arc::new(run) }
    }
}

impl GovernorClock for Forward {
    type Instant = Duration;

    fn now(&self) -> Duration {
        // In this order: the clock is read last, so only one that was set back can be behind the latest.
        let latest = self.run.latest.load(Ordering::Acquire);
        let set_back = self.run.set_back.load(Ordering::Relaxed);
        let now = self.clock.now().as_millis().saturating_add(set_back);
        if now > latest {
            self.run.latest.fetch_max(now, Ordering::AcqRel);
        } else if latest - now >= SET_BACK_MILLIS {
            // Who loses the exchange leaves it to the one that won.
            let more = set_back.saturating_add(latest - now);
            let _lost = self.run.set_back.compare_exchange(set_back, more, Ordering::AcqRel, Ordering::Relaxed);
        }
        Duration::from_millis(now.max(latest))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, atomic::AtomicU32};

    use super::*;
    use crate::model::{ManualClock, Timestamp};

    fn readings(times: &[u64]) -> Vec<u128> {
        let wall = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_000_000)));
        let forward = Forward::new(wall.clone());
        let mut read = |time: &u64| {
            wall.set(Timestamp::from_millis(*time));
            forward.now().as_millis() - 1_000_000
        };
        times.iter().map(&mut read).collect()
    }

    #[test]
    fn it_goes_as_the_clock_goes() {
        assert_eq!(readings(&[1_000_000, 1_000_001, 1_000_001, 1_060_000]), [0, 1, 1, 60_000]);
    }

    #[test]
    fn it_goes_on_when_the_clock_is_set_back() {
        assert_eq!(readings(&[1_000_500, 400_000, 400_010, 400_020]), [500, 500, 510, 520]);
    }

    #[test]
    fn a_reading_that_comes_late_adds_no_time() {
        assert_eq!(readings(&[1_000_500, 1_000_499, 1_000_500, 1_000_501]), [500, 500, 500, 501]);
    }

    #[test]
    fn many_that_read_at_once_add_no_time() {
        let wall = Arc::new(ManualClock::starting_at(Timestamp::from_millis(0)));
        let forward = Forward::new(wall.clone());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let forward = forward.clone();
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        forward.now();
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..10_000 {
                    wall.advance(Duration::from_millis(1));
                }
            });
        });
        assert_eq!(forward.now(), Duration::from_secs(10));
    }

    #[test]
    fn who_reads_after_a_quiet_hour_is_told_of_all_of_it() {
        const HOURS: u32 = 20_000;
        let hour = Duration::from_hours(1);
        let wall = Arc::new(ManualClock::starting_at(Timestamp::from_millis(0)));
        let forward = Forward::new(wall.clone());
        let (before, after, too_early) = (Barrier::new(3), Barrier::new(3), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for hours in 1..=HOURS {
                        before.wait();
                        let early = u32::from(forward.now() < hour * hours);
                        too_early.fetch_add(early, Ordering::Relaxed);
                        after.wait();
                    }
                });
            }
            for _ in 1..=HOURS {
                wall.advance(hour);
                before.wait();
                after.wait();
            }
        });
        assert_eq!((too_early.into_inner(), forward.now()), (0, hour * HOURS));
    }
}
