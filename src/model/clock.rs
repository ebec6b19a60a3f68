//! The one place that reads the time of day. Everything that expires takes a [`Clock`], so that tests move the time
//! instead of waiting for it.
//!
//! The time of day can be set. What must not last longer because somebody sets it back is measured by [`Clock::steady`],
//! which means nothing outside this process and goes on at its own pace.

use std::{
    fmt,
    ops::Add,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// A moment, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// How long ago `earlier` was; zero when it lies in the future (clocks do step back).
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, rhs: Duration) -> Timestamp {
        let millis = u64::try_from(rhs.as_millis()).unwrap_or(u64::MAX);
        Timestamp(self.0.saturating_add(millis))
    }
}

/// Where the time comes from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// How long some moment ago is that stays the same for as long as the process runs. It never goes back.
    fn steady(&self) -> Duration;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place the ban leaves open")]
    fn now(&self) -> Timestamp {
        Timestamp::from_elapsed(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    fn steady(&self) -> Duration {
        START.elapsed()
    }
}

/// The moment that [`SystemClock::steady`] counts from: the first time it is asked.
#[expect(clippy::disallowed_methods, reason = "this is the one place the ban leaves open")]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Timestamp {
    fn from_elapsed(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that stands still until it is told to move.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicU64,
    steady: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub const fn starting_at(start: Timestamp) -> Self {
        Self { now: AtomicU64::new(start.0), steady: AtomicU64::new(0) }
    }

    /// Moves the time forward.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.now.fetch_add(millis, Ordering::SeqCst);
        self.steady.fetch_add(millis, Ordering::SeqCst);
    }

    /// Sets the time of day, as somebody may do it with the machine's. No time passes by it.
    pub fn set(&self, now: Timestamp) {
        self.now.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn steady(&self) -> Duration {
        Duration::from_millis(self.steady.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_goes_on_steadily() {
        let clock = ManualClock::starting_at(Timestamp::from_millis(1_000_000));
        clock.advance(Duration::from_secs(5));
        clock.set(Timestamp::from_millis(1_000));
        assert_eq!((clock.now(), clock.steady()), (Timestamp::from_millis(1_000), Duration::from_secs(5)));
        clock.advance(Duration::from_secs(1));
        assert_eq!((clock.now(), clock.steady()), (Timestamp::from_millis(2_000), Duration::from_secs(6)));
    }

    #[test]
    fn the_machines_steady_time_never_goes_back() {
        let readings: Vec<Duration> = (0..1_000).map(|_| SystemClock.steady()).collect();
        assert!(readings.is_sorted());
    }
}
