//! How many logins one address may try, and how many may wait for WeChat at once.
//!
//! Each login costs a call to WeChat, and WeChat counts those too: without a limit here, one client could use up what
//! all users of the app share. The caller answers a [`Limited`] with 429 and counts it.

use std::{
    fmt,
    hash::Hash,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock as GovernorClock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{
        InMemoryState, NotKeyed, StateStore,
        keyed::{DashMapStateStore, ShrinkableKeyedStateStore},
    },
};

use crate::{
    config::sections::{Limits, Rate},
    model::{Clock, Timestamp},
};

/// Addresses remembered at once: a few megabytes. An address is forgotten when its budget is whole again.
const MAX_ADDRESSES: usize = 100_000;

/// After so many logins, addresses whose budget is whole again are forgotten.
const SWEEP_EVERY: usize = 1024;

/// When to come back if too many logins are waiting: most are answered in a fraction of this.
const WHEN_FULL: Duration = Duration::from_secs(1);

/// The login may not be tried now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// When it may be tried again. Exact; whoever sends whole seconds rounds up.
    pub retry_after: Duration,
}

/// One login that may ask WeChat. Its place is free again when this is dropped.
#[derive(Debug)]
#[must_use = "the login counts as waiting only while this is held"]
pub struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// The limits on logins. One for the process.
pub struct VerifyLimits {
    per_address: RateLimiter<Network, Bounded<Network>, Forward, NoOpMiddleware<Duration>>,
    attempts: AtomicUsize,
    in_flight: Arc<AtomicUsize>,
    max_in_flight: usize,
}

impl VerifyLimits {
    /// Whole budgets for everybody.
    pub fn new(section: &Limits, clock: Arc<dyn Clock>) -> Self {
        Self::bounded(section, clock, MAX_ADDRESSES)
    }

    fn bounded(section: &Limits, clock: Arc<dyn Clock>, max_addresses: usize) -> Self {
        let store = Bounded::new(max_addresses);
        Self {
            per_address: RateLimiter::new(quota(section.verify_per_ip), store, Forward::new(clock)),
            attempts: AtomicUsize::new(0),
            in_flight: Arc::default(),
            max_in_flight: section.verify_in_flight,
        }
    }

    /// Lets one login from `ip` through, or says when to come back. `ip` is the client's, as the trusted proxies tell
    /// it. A login that is refused because too many are waiting costs its address nothing.
    pub fn enter(&self, ip: IpAddr) -> Result<Permit, Limited> {
        if self.attempts.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.sweep();
        }
        let permit = self.take_place().ok_or(Limited { retry_after: WHEN_FULL })?;
        match self.per_address.check_key(&Network::of(ip)) {
            Ok(()) => Ok(permit),
            Err(refused) => Err(Limited { retry_after: refused.wait_time_from(self.per_address.clock().now()) }),
        }
    }

    fn take_place(&self) -> Option<Permit> {
        let next = |taken: usize| (taken < self.max_in_flight).then_some(taken + 1);
        self.in_flight.fetch_update(Ordering::Acquire, Ordering::Relaxed, next).ok()?;
        Some(Permit(Arc::clone(&self.in_flight)))
    }

    fn sweep(&self) {
        let before = self.per_address.len();
        self.per_address.retain_recent();
        // Giving memory back means copying what stays: only worth it after a flood.
        if before > SWEEP_EVERY && self.per_address.len() < before / 2 {
            self.per_address.shrink_to_fit();
        }
    }
}

impl fmt::Debug for VerifyLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyLimits")
            .field("addresses", &self.per_address.len())
            .field("in_flight", &self.in_flight.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

/// Who shares a budget. A household or a phone gets a whole /64 of IPv6 addresses, so those count as one; an IPv4
/// address is one in either notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Network {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => Self::V6(ip.octets().first_chunk().copied().unwrap_or_default()),
        }
    }
}

/// The whole count at once, and one more each time a `count`-th of the period has gone by.
fn quota(rate: Rate) -> Quota {
    let each = (rate.per / rate.count.get()).max(Duration::from_nanos(1));
    Quota::with_period(each).unwrap_or(Quota::per_second(rate.count)).allow_burst(rate.count)
}

/// Budgets by key, at most so many. When that many are in use, those who come new share one budget: a flood from a
/// million addresses can't fill the memory, and doesn't touch those who were there before it.
struct Bounded<K> {
    budgets: DashMapStateStore<K>,
    shared: InMemoryState,
    max: usize,
}

impl<K: Hash + Eq + Clone> Bounded<K> {
    fn new(max: usize) -> Self {
        Self { budgets: DashMapStateStore::default(), shared: InMemoryState::default(), max }
    }
}

impl<K: Hash + Eq + Clone> StateStore for Bounded<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if self.budgets.contains_key(key) || self.budgets.len() < self.max {
            self.budgets.measure_and_replace(key, f)
        } else {
            self.shared.measure_and_replace(&NotKeyed::NonKey, f)
        }
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for Bounded<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        self.budgets.retain_recent(drop_below);
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

/// Our clock as governor wants one: time that never goes back. If the machine's clock is set back by an hour, budgets
/// go on from where they were instead of standing still for that hour.
#[derive(Clone)]
struct Forward {
    clock: Arc<dyn Clock>,
    run: Arc<Mutex<Run>>,
}

struct Run {
    read_at: Timestamp,
    elapsed: Duration,
}

impl Forward {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let run = Run { read_at: clock.now(), elapsed: Duration::ZERO };
        Self { clock, run: Arc::new(Mutex::new(run)) }
    }
}

impl GovernorClock for Forward {
    type Instant = Duration;

    fn now(&self) -> Duration {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let elapsed = run.elapsed + now.since(run.read_at);
        *run = Run { read_at: now, elapsed };
        elapsed
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, Ipv6Addr},
        num::NonZeroU32,
    };

    use super::*;
    use crate::model::ManualClock;

    const MINUTE: Duration = Duration::from_mins(1);

    fn section(per_minute: u32, in_flight: usize) -> Limits {
        let verify_per_ip = Rate { count: NonZeroU32::new(per_minute).unwrap(), per: MINUTE };
        Limits { verify_per_ip, verify_in_flight: in_flight }
    }

    fn limits(per_minute: u32, in_flight: usize) -> (VerifyLimits, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000)));
        (VerifyLimits::new(&section(per_minute, in_flight), clock.clone()), clock)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of `tries` logins in one moment get through.
    fn let_through(limits: &VerifyLimits, from: IpAddr, tries: usize) -> usize {
        (0..tries).filter(|_| limits.enter(from).is_ok()).count()
    }

    fn numbered(n: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + n).into()
    }

    #[test]
    fn an_address_has_its_count_at_once_and_then_its_rate() {
        let (limits, clock) = limits(30, 1000);
        assert_eq!(let_through(&limits, ip("192.0.2.1"), 100), 30);
        let refused = limits.enter(ip("192.0.2.1")).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_secs(2));
        clock.advance(Duration::from_secs(2));
        assert_eq!(let_through(&limits, ip("192.0.2.1"), 100), 1);
        clock.advance(MINUTE);
        assert_eq!(let_through(&limits, ip("192.0.2.1"), 100), 30);
    }

    #[test]
    fn coming_back_when_told_is_soon_enough() {
        let (limits, clock) = limits(7, 1000);
        let_through(&limits, ip("192.0.2.1"), 7);
        let wait = limits.enter(ip("192.0.2.1")).unwrap_err().retry_after;
        clock.advance(wait + Duration::from_millis(1));
        assert!(limits.enter(ip("192.0.2.1")).is_ok(), "after {wait:?}");
    }

    #[test]
    fn one_address_does_not_use_up_the_budget_of_another() {
        let (limits, _) = limits(2, 1000);
        assert_eq!(let_through(&limits, ip("192.0.2.1"), 9), 2);
        assert_eq!(let_through(&limits, ip("192.0.2.2"), 9), 2);
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_count_as_one() {
        let (limits, _) = limits(2, 1000);
        assert_eq!(let_through(&limits, ip("2001:db8:1:2::1"), 9), 2);
        assert_eq!(let_through(&limits, ip("2001:db8:1:2:ffff::9"), 9), 0);
        assert_eq!(let_through(&limits, ip("2001:db8:1:3::1"), 9), 2);
    }

    #[test]
    fn an_ipv4_address_is_the_same_in_ipv6_notation() {
        let (limits, _) = limits(2, 1000);
        assert_eq!(let_through(&limits, ip("192.0.2.1"), 9), 2);
        assert_eq!(let_through(&limits, ip("::ffff:192.0.2.1"), 9), 0);
        assert_eq!(let_through(&limits, ip("::ffff:192.0.2.2"), 9), 2, "not all mapped addresses are one network");
    }

    #[test]
    fn only_so_many_logins_wait_at_once_whoever_they_are() {
        let (limits, _) = limits(30, 2);
        let first = limits.enter(numbered(1)).unwrap();
        let second = limits.enter(numbered(2)).unwrap();
        assert_eq!(limits.enter(numbered(3)).unwrap_err(), Limited { retry_after: Duration::from_secs(1) });
        drop(first);
        let third = limits.enter(numbered(3)).unwrap();
        assert!(limits.enter(numbered(4)).is_err());
        drop((second, third));
        assert_eq!(limits.in_flight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_full_house_costs_nobody_of_their_budget() {
        let (limits, _) = limits(2, 1);
        let waiting = limits.enter(numbered(1)).unwrap();
        assert_eq!(let_through(&limits, numbered(2), 50), 0);
        drop(waiting);
        assert_eq!(let_through(&limits, numbered(2), 50), 2);
    }

    #[test]
    fn a_refused_address_takes_no_place() {
        let (limits, _) = limits(1, 10);
        assert_eq!(let_through(&limits, numbered(1), 50), 1);
        assert_eq!(limits.in_flight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn places_are_never_given_twice() {
        let (limits, _) = limits(1_000_000, 3);
        let most = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for n in 0..4 {
                let (limits, most) = (&limits, &most);
                scope.spawn(move || {
                    for _ in 0..5_000 {
                        let permit = limits.enter(numbered(n));
                        most.fetch_max(limits.in_flight.load(Ordering::SeqCst), Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 3);
        assert_eq!(limits.in_flight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_flood_from_everywhere_does_not_fill_the_memory() {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(0)));
        let limits = VerifyLimits::bounded(&section(2, 1000), clock, 500);
        let regular = ip("192.0.2.1");
        assert_eq!(let_through(&limits, regular, 1), 1);
        let through = (0..20_000).filter(|n| limits.enter(numbered(*n)).is_ok()).count();
        assert_eq!(limits.per_address.len(), 500);
        assert_eq!(through, 499 + 2, "those beyond the bound share one budget");
        assert_eq!(let_through(&limits, regular, 9), 1, "who was there before keeps the rest of its own");
    }

    #[test]
    fn addresses_are_forgotten_when_their_budget_is_whole() {
        let (limits, clock) = limits(2, 1000);
        let quiet = Ipv6Addr::LOCALHOST.into();
        for n in 0..5_000 {
            let _ = limits.enter(numbered(n));
        }
        clock.advance(MINUTE);
        assert_eq!(limits.per_address.len(), 5_000);
        let_through(&limits, quiet, SWEEP_EVERY);
        assert_eq!(limits.per_address.len(), 1, "only the one that is still at it");
    }

    #[test]
    fn an_address_that_is_still_limited_is_not_forgotten() {
        let (limits, clock) = limits(30, 1000);
        let_through(&limits, numbered(1), 30);
        clock.advance(Duration::from_secs(2));
        limits.sweep();
        assert_eq!(let_through(&limits, numbered(1), 30), 1);
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(10_000_000)));
        let limits = VerifyLimits::new(&section(30, 1000), clock.clone());
        assert_eq!(let_through(&limits, numbered(1), 50), 30);
        clock.set(Timestamp::from_millis(1_000_000));
        assert_eq!(let_through(&limits, numbered(1), 50), 0);
        clock.set(Timestamp::from_millis(1_060_000));
        assert_eq!(let_through(&limits, numbered(1), 50), 30);
    }
}
