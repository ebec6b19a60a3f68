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

use crate::model::{Clock, Timestamp};

/// A reading that is this much earlier than the last is of a clock that was set back. Anything less is a worker that
/// was a moment late to compare.
const SET_BACK_MILLIS: u64 = 1000;

/// Time that never goes back. Its copies run together.
#[derive(Clone, Debug)]
pub(super) struct Forward {
    clock: Arc<dyn Clock>,
    run: Arc<Run>,
}

#[derive(Debug)]
struct Run {
    /// Of the clock, in its milliseconds.
    read_at: AtomicU64,
    /// Milliseconds since the beginning.
    elapsed: AtomicU64,
}

impl Forward {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let run = Run { read_at: AtomicU64::new(clock.now().as_millis()), elapsed: AtomicU64::new(0) };
        Self { clock, run: Arc::new(run) }
    }
}

impl GovernorClock for Forward {
    type Instant = Duration;

    fn now(&self) -> Duration {
        let now = self.clock.now();
        let before = self.run.read_at.load(Ordering::Relaxed);
        let moved = now.as_millis() > before || before - now.as_millis() >= SET_BACK_MILLIS;
        let exchange =
            || self.run.read_at.compare_exchange(before, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed);
        // Who loses the exchange leaves the step to the one that won.
        if moved && exchange().is_ok() {
            let step = now.since(Timestamp::from_millis(before)).as_millis();
            self.run.elapsed.fetch_add(u64::try_from(step).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        Duration::from_millis(self.run.elapsed.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ManualClock;

    fn readings(times: &[u64]) -> Vec<u128> {
        let wall = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_000_000)));
        let forward = Forward::new(wall.clone());
        let mut read = |time: &u64| {
            wall.set(Timestamp::from_millis(*time));
            forward.now().as_millis()
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
}
