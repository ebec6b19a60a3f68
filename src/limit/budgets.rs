//! Budgets by key, as many as there is room for.

use std::{
    fmt,
    hash::Hash,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock as _,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{
        InMemoryState, NotKeyed, StateStore,
        keyed::{DashMapStateStore, ShrinkableKeyedStateStore},
    },
};

use super::forward::Forward;
use crate::config::sections::Rate;

/// The table's parts, each with a lock of its own. Many, so that a sweep holds up a worker for a few microseconds and
/// not for the whole table.
const PARTS: usize = 64;

/// After a flood, memory is given back where more than this was in use.
const WORTH_SHRINKING: usize = 1024;

/// A budget for each of many.
pub(super) struct Budgets<K: Hash + Eq + Clone>(RateLimiter<K, Bounded<K>, Forward, NoOpMiddleware<Duration>>);

impl<K: Hash + Eq + Clone> Budgets<K> {
    /// Whole budgets for everybody, and room to remember `room` of them while they are not whole.
    pub(super) fn new(rate: Rate, clock: Forward, room: usize) -> Self {
        Self(RateLimiter::new(quota(rate), Bounded::new(room), clock))
    }

    /// Takes one out of this budget, or says when there will be one.
    pub(super) fn take(&self, key: &K) -> Result<(), Duration> {
        self.0.check_key(key).map_err(|refused| refused.wait_time_from(self.0.clock().now()))
    }

    /// Forgets the budgets that are whole again.
    pub(super) fn sweep(&self) {
        let before = self.0.len();
        self.0.retain_recent();
        // Giving memory back means copying what stays: only worth it after a flood.
        if before > WORTH_SHRINKING && self.0.len() < before / 2 {
            self.0.shrink_to_fit();
        }
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<K: Hash + Eq + Clone> fmt::Debug for Budgets<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budgets({})", self.len())
    }
}

/// The whole count at once, and one more each time a `count`-th of the period has gone by.
fn quota(rate: Rate) -> Quota {
    let each = (rate.per / rate.count.get()).max(Duration::from_nanos(1));
    Quota::with_period(each).unwrap_or(Quota::per_second(rate.count)).allow_burst(rate.count)
}

/// Budgets by key, at most about so many. When that many are in use, those who come new share one budget: a flood from
/// a million addresses can't fill the memory, and doesn't touch those who were there before it.
struct Bounded<K> {
    budgets: DashMapStateStore<K>,
    shared: InMemoryState,
    max: usize,
    /// How many more there may be. Two who come at the same moment under one key take room twice; a sweep, which counts
    /// anew, gives it back.
    room: AtomicUsize,
}

impl<K: Hash + Eq + Clone> Bounded<K> {
    fn new(max: usize) -> Self {
        let budgets = DashMapStateStore::with_shard_amount(PARTS);
        Self { budgets, shared: InMemoryState::default(), max, room: AtomicUsize::new(max) }
    }

    fn has_room(&self) -> bool {
        self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(1)).is_ok()
    }
}

impl<K: Hash + Eq + Clone> StateStore for Bounded<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if self.budgets.contains_key(key) || self.has_room() {
            self.budgets.measure_and_replace(key, f)
        } else {
            self.shared.measure_and_replace(&NotKeyed::NonKey, f)
        }
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for Bounded<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        self.budgets.retain_recent(drop_below);
        self.room.store(self.max.saturating_sub(self.budgets.len()), Ordering::Relaxed);
    }

    fn shrink_to_fit(&self) {
        self.budgets.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.budgets.len()
    }

    fn is_empty(&self) -> bool {
        self.budgets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, sync::Arc};

    use super::*;
    use crate::model::{ManualClock, Timestamp};

    const MINUTE: Duration = Duration::from_mins(1);

    fn budgets(per_minute: u32, room: usize) -> (Budgets<u32>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000)));
        let rate = Rate { count: NonZeroU32::new(per_minute).unwrap(), per: MINUTE };
        (Budgets::new(rate, Forward::new(clock.clone()), room), clock)
    }

    /// How many of `tries` in one moment get through.
    fn taken(budgets: &Budgets<u32>, key: u32, tries: usize) -> usize {
        (0..tries).filter(|_| budgets.take(&key).is_ok()).count()
    }

    #[test]
    fn a_budget_is_its_count_at_once_and_then_its_rate() {
        let (budgets, clock) = budgets(30, 1000);
        assert_eq!(taken(&budgets, 1, 100), 30);
        assert_eq!(budgets.take(&1), Err(Duration::from_secs(2)));
        clock.advance(Duration::from_secs(2));
        assert_eq!(taken(&budgets, 1, 100), 1);
        clock.advance(MINUTE);
        assert_eq!(taken(&budgets, 1, 100), 30);
    }

    #[test]
    fn coming_back_when_told_is_soon_enough() {
        let (budgets, clock) = budgets(7, 1000);
        taken(&budgets, 1, 7);
        let wait = budgets.take(&1).unwrap_err();
        clock.advance(wait + Duration::from_millis(1));
        assert_eq!(budgets.take(&1), Ok(()), "after {wait:?}");
    }

    #[test]
    fn nobody_uses_up_the_budget_of_another() {
        let (budgets, _) = budgets(2, 1000);
        assert_eq!(taken(&budgets, 1, 9), 2);
        assert_eq!(taken(&budgets, 2, 9), 2);
    }

    #[test]
    fn a_flood_under_a_million_keys_does_not_fill_the_memory() {
        let (budgets, clock) = budgets(2, 500);
        assert_eq!(taken(&budgets, 0, 1), 1);
        let through = (1..20_000).filter(|key| budgets.take(key).is_ok()).count();
        assert_eq!((budgets.len(), through), (500, 499 + 2), "those beyond the room share one budget");
        assert_eq!(taken(&budgets, 0, 9), 1, "who was there before keeps the rest of its own");
        clock.advance(2 * MINUTE);
        budgets.sweep();
        assert_eq!(budgets.len(), 0);
        assert_eq!((20_000..20_500).map(|key| taken(&budgets, key, 9)).sum::<usize>(), 1000, "there is room again");
    }

    #[test]
    fn what_is_whole_again_is_forgotten_and_what_is_not_stays() {
        let (budgets, clock) = budgets(30, 1000);
        taken(&budgets, 1, 30);
        taken(&budgets, 2, 1);
        clock.advance(Duration::from_secs(4));
        budgets.sweep();
        assert_eq!(budgets.len(), 1);
        assert_eq!(taken(&budgets, 1, 30), 2, "who is still limited is not forgotten");
    }

    #[test]
    fn many_at_once_take_no_more_than_there_is() {
        let (budgets, _) = budgets(1000, 10);
        let through = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| taken(&budgets, 1, 1000))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(through, 1000);
    }
}
