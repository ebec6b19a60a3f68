//! Whether one server is well, as far as one can know: what the checks say, what its own failures say, and how much of
//! its share it gets after it came back. Plain rules; the time comes in, by the steady clock: a time of day that is set back
//! would leave a server alone for longer.

use std::time::Duration;

use crate::config::sections::{Ejection, HealthChecks};

/// A moment, counted from any other.
pub(super) type Moment = Duration;

/// What a server gets of its share in thousandths, when nothing speaks against it.
pub(super) const WHOLE: u32 = 1000;

/// And at the beginning of its slow start. Less would leave it without a request for longer than it needs to warm up.
const LEAST: u32 = WHOLE / 10;

/// What is known of a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// The checks say so. Until they have said anything, a server is well.
    is_sick: bool,
    /// Good checks in a row, since it was ejected where it is; and bad ones.
    good: usize,
    bad: usize,
    ejected_until: Option<Moment>,
    /// It failed again soon after it had come back, whatever its checks said.
    has_relapsed: bool,
    /// How long the last ejection was, and when it ended.
    last: Option<(Duration, Moment)>,
    back_since: Option<Moment>,
}

/// How a server stands, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes its share.
    Up,
    /// It came back and takes less than its share.
    SlowStart,
    /// The checks say that it is not well.
    Unhealthy,
    /// It failed too often in a row.
    Ejected,
}

impl Health {
    /// Takes in a check. True when the server's standing has changed by it.
    ///
    /// Good ones end an ejection too: whatever its failures were, the server is there again. But they do not see why it relapses.
    pub(super) fn checked(&mut self, is_well: bool, section: &HealthChecks, now: Moment) -> bool {
        (self.good, self.bad) = if is_well { (self.good + 1, 0) } else { (0, self.bad + 1) };
        let is_let_back = self.is_ejected() && !self.has_relapsed;
        if self.good >= section.healthy_after && (self.is_sick || is_let_back) {
            if is_let_back {
                self.ejected_until = None;
                self.last = self.last.map(|(time, _)| (time, now));
            }
            self.is_sick = false;
            self.back_since = Some(now);
            return true;
        }
        let falls_ill = self.bad >= section.unhealthy_after && !self.is_sick;
        if falls_ill {
            self.is_sick = true;
            self.back_since = None;
        }
        falls_ill
    }

    /// Leaves the server alone: each time twice as long as the last time, unless it has done well since for as long as it
    /// had been left alone.
    pub(super) fn eject(&mut self, section: &Ejection, now: Moment) -> Duration {
        let before = self.last.filter(|(last, ended)| now.saturating_sub(*ended) < *last);
        let time = before.map_or(section.time, |(last, _)| (last * 2).min(section.max_time));
        self.has_relapsed = before.is_some();
        self.good = 0;
        self.ejected_until = Some(now + time);
        self.last = Some((time, now + time));
        time
    }

    /// Ends an ejection whose time is over. True when it did.
    pub(super) fn settle(&mut self, now: Moment) -> bool {
        let over = self.ejected_until.filter(|until| *until <= now);
        if over.is_some() {
            self.ejected_until = None;
            self.back_since = over;
        }
        over.is_some()
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.ejected_until.is_some()
    }

    /// Whether it takes requests.
    pub(super) fn is_available(&self) -> bool {
        !self.is_sick && self.ejected_until.is_none()
    }

    /// What it gets of its share, in thousandths.
    pub(super) fn share(&self, slow_start: Duration, now: Moment) -> u32 {
        if !self.is_available() {
            return 0;
        }
        let Some(since) = self.back_since.map(|back| now.saturating_sub(back)).filter(|since| *since < slow_start)
        else {
            return WHOLE;
        };
        let part = since.as_millis() * u128::from(WHOLE) / slow_start.as_millis().max(1);
        u32::try_from(part).unwrap_or(WHOLE).clamp(LEAST, WHOLE)
    }

    /// How it stands, and for how long it will be left alone.
    pub(super) fn standing(&self, slow_start: Duration, now: Moment) -> (Standing, Option<Duration>) {
        match self.ejected_until {
            Some(until) => (Standing::Ejected, Some(until.saturating_sub(now))),
            None if self.is_sick => (Standing::Unhealthy, None),
            None if self.share(slow_start, now) < WHOLE => (Standing::SlowStart, None),
            None => (Standing::Up, None),
        }
    }

    /// Whether time alone will change its share.
    pub(super) fn is_moving(&self, slow_start: Duration, now: Moment) -> bool {
        self.ejected_until.is_some() || (self.is_available() && self.share(slow_start, now) < WHOLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_secs(10);

    fn at(secs: u64) -> Moment {
        Duration::from_secs(secs)
    }

    fn ejection() -> Ejection {
        Ejection { failures: 5, time: Duration::from_secs(10), max_time: Duration::from_secs(35) }
    }

    #[test]
    fn so_many_checks_in_a_row_change_a_server_and_fewer_do_not() {
        let section = HealthChecks { healthy_after: 2, unhealthy_after: 3, ..HealthChecks::default() };
        let mut health = Health::default();
        let changes = [false, false, true, false, false, false, true, false, true, true]
            .map(|is_well| health.checked(is_well, &section, at(0)));
        assert_eq!(changes, [false, false, false, false, false, true, false, false, false, true]);
        assert!(health.is_available());
    }

    #[test]
    fn each_ejection_is_twice_as_long_as_the_last_until_the_server_does_well() {
        let mut health = Health::default();
        let mut now = 0;
        let times: Vec<u64> = (0..4)
            .map(|_| {
                let time = health.eject(&ejection(), at(now)).as_secs();
                now += time;
                assert!(health.settle(at(now)));
                time
            })
            .collect();
        assert_eq!(times, [10, 20, 35, 35]);
        assert_eq!(health.eject(&ejection(), at(now + 35)).as_secs(), 10);
    }

    #[test]
    fn good_checks_end_an_ejection_but_none_that_came_before_it() {
        let section = HealthChecks { healthy_after: 2, ..HealthChecks::default() };
        let mut health = Health::default();
        let checked = |health: &mut Health, is_well, secs| health.checked(is_well, &section, at(secs));
        assert!(!checked(&mut health, true, 0) && !checked(&mut health, true, 0));
        health.eject(&ejection(), at(1));
        let changes = [true, false, true, true].map(|is_well| checked(&mut health, is_well, 3));
        assert_eq!(changes, [false, false, false, true]);
        assert_eq!(health.standing(SLOW, at(3)), (Standing::SlowStart, None));
    }

    /// It answers its checks, and fails at what it is for.
    #[test]
    fn good_checks_do_not_bring_back_who_relapses() {
        let section = HealthChecks { healthy_after: 1, ..HealthChecks::default() };
        let mut health = Health::default();
        health.eject(&ejection(), at(0));
        assert!(health.checked(true, &section, at(1)));
        assert_eq!(health.eject(&ejection(), at(10)).as_secs(), 20, "not ten seconds after it had come back");
        assert!(!health.checked(true, &section, at(29)) && health.is_ejected());
        assert!(health.settle(at(30)));
        assert_eq!(health.eject(&ejection(), at(50)).as_secs(), 10);
        assert!(health.checked(true, &section, at(51)), "it has done well for long enough meanwhile");
    }

    #[test]
    fn an_ejection_ends_when_its_time_is_over_and_not_before() {
        let mut health = Health::default();
        health.eject(&ejection(), at(100));
        assert!(!health.settle(at(109)));
        assert_eq!(health.standing(SLOW, at(109)), (Standing::Ejected, Some(Duration::from_secs(1))));
        assert!(health.settle(at(110)) && !health.settle(at(110)));
        assert_eq!(health.standing(SLOW, at(110)), (Standing::SlowStart, None));
    }

    #[test]
    fn a_server_that_came_back_gets_its_share_little_by_little() {
        let mut health = Health::default();
        assert_eq!(health.share(SLOW, at(0)), WHOLE, "at the start nobody is slow");
        health.eject(&ejection(), at(0));
        assert_eq!(health.share(SLOW, at(9)), 0);
        health.settle(at(10));
        assert_eq!([10, 11, 15, 19, 20].map(|now| health.share(SLOW, at(now))), [100, 100, 500, 900, 1000]);
        assert_eq!([19, 20].map(|now| health.is_moving(SLOW, at(now))), [true, false]);
        assert_eq!(health.share(Duration::ZERO, at(10)), WHOLE);
    }
}
