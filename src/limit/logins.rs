//! How many logins one address may try, and how many may wait for WeChat at once.
//!
//! Each login costs a call to WeChat, and WeChat counts those too: without a limit here, one client could use up what
//! all users of the app share. The caller answers a [`Limited`] with 429 and counts it.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    budgets::Budgets,
    forward::Forward,
    network::{Network, Prefix},
};
use crate::{config::sections::Limits, model::Clock};

/// Addresses remembered at once: a few megabytes. An address is forgotten when its budget is whole again.
const MAX_ADDRESSES: usize = 100_000;

/// After so many logins, addresses whose budget is whole again are forgotten.
const SWEEP_EVERY: usize = 1024;

/// When to come back if too many logins are waiting: most are answered in a fraction of this.
const WHEN_FULL: Duration = Duration::from_secs(1);

/// What was to be done may not be tried now.
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
#[derive(Debug)]
pub struct VerifyLimits {
    section: Limits,
    per_address: Arc<Budgets<Network>>,
    prefix: Prefix,
    attempts: AtomicUsize,
    in_flight: Arc<AtomicUsize>,
    max_in_flight: usize,
}

impl VerifyLimits {
    /// Whole budgets for everybody.
    pub fn new(section: &Limits, clock: Arc<dyn Clock>) -> Self {
        Self {
            section: section.clone(),
            per_address: Arc::new(Budgets::new(section.verify_per_ip, Forward::new(clock), MAX_ADDRESSES)),
            prefix: Prefix::of_bits(section.ipv6_prefix),
            attempts: AtomicUsize::new(0),
            in_flight: Arc::default(),
            max_in_flight: section.verify_in_flight,
        }
    }

    /// The limits of another section. Those who wait for WeChat still count, and budgets go on where their rule is the same.
    #[must_use]
    pub fn changed_to(&self, section: &Limits, clock: Arc<dyn Clock>) -> Self {
        let new = Self { in_flight: Arc::clone(&self.in_flight), ..Self::new(section, clock) };
        let rule = |section: &Limits| (section.verify_per_ip, section.ipv6_prefix);
        if rule(section) == rule(&self.section) {
            Self { per_address: Arc::clone(&self.per_address), ..new }
        } else {
            new
        }
    }

    /// Lets one login from `ip` through, or says when to come back. `ip` is the client's, as the trusted proxies tell
    /// it. A login that is refused because too many are waiting costs its address nothing.
    pub fn enter(&self, ip: IpAddr) -> Result<Permit, Limited> {
        if self.attempts.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.per_address.sweep();
        }
        let permit = self.take_place().ok_or(Limited { retry_after: WHEN_FULL })?;
        let taken = self.per_address.take(&Network::of(ip, self.prefix));
        taken.map(|()| permit).map_err(|retry_after| Limited { retry_after })
    }

    /// Lets somebody wait for WeChat with another code than a login's, or says when to come back.
    pub fn wait(&self) -> Result<Permit, Limited> {
        self.take_place().ok_or(Limited { retry_after: WHEN_FULL })
    }

    fn take_place(&self) -> Option<Permit> {
        let next = |taken: usize| (taken < self.max_in_flight).then_some(taken + 1);
        self.in_flight.fetch_update(Ordering::Acquire, Ordering::Relaxed, next).ok()?;
        Some(Permit(Arc::clone(&self.in_flight)))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, Ipv6Addr},
        num::NonZeroU32,
    };

    use super::*;
    use crate::{
        config::sections::Rate,
        model::{ManualClock, Timestamp},
    };

    const MINUTE: Duration = Duration::from_mins(1);

    fn section(per_minute: u32, in_flight: usize) -> Limits {
        let verify_per_ip = Rate { count: NonZeroU32::new(per_minute).unwrap(), per: MINUTE };
        Limits { verify_per_ip, verify_in_flight: in_flight, ..Limits::default() }
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
    fn how_large_such_a_network_is_can_be_said() {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000)));
        let limits = VerifyLimits::new(&Limits { ipv6_prefix: 48, ..section(2, 1000) }, clock);
        assert_eq!(let_through(&limits, ip("2001:db8:1:2::1"), 9), 2);
        assert_eq!(let_through(&limits, ip("2001:db8:1:3::1"), 9), 0);
        assert_eq!(let_through(&limits, ip("2001:db8:2::1"), 9), 2);
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
}
