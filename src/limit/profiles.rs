//! How often one user may change a profile, and how many pictures the user may be sending for it at once.
//!
//! A change is written to the disk before it is answered. And where it brings data that WeChat has encrypted, each try is
//! a question about the session_key: nothing of the answer tells anything, and few are asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    Limited,
    budgets::Budgets,
    forward::Forward,
    places::{Places, UserPlace},
};
use crate::{
    config::sections::Limits,
    model::{Clock, UserKey},
};

/// Users remembered at once. One is forgotten when the budget is whole again.
const MAX_USERS: usize = 100_000;

/// After so many changes, users whose budget is whole again are forgotten.
const SWEEP_EVERY: usize = 1024;

/// Uploads of one user at once. A phone sends one, and a second where it has given up the first; whoever sends slowly holds no
/// more of the room that all share than these may have.
const UPLOADS_AT_ONCE: usize = 2;

/// When to come back if that many are under way. It can't be known when one will end.
const WHEN_FULL: Duration = Duration::from_secs(1);

/// The limit on changes of profiles. One for the process.
#[derive(Debug)]
pub struct ProfileLimits {
    section: Limits,
    users: Arc<Budgets<UserKey>>,
    uploads: Arc<Places>,
    attempts: AtomicUsize,
}

impl ProfileLimits {
    /// Whole budgets for everybody.
    pub fn new(section: &Limits, clock: Arc<dyn Clock>) -> Self {
        let users = Arc::new(Budgets::new(section.profile_per_user, Forward::new(clock), MAX_USERS));
        Self { section: section.clone(), users, uploads: Arc::default(), attempts: AtomicUsize::new(0) }
    }

    /// The limit of another section. Budgets go on where the rule is the same; what is under way counts whatever the rule.
    #[must_use]
    pub fn changed_to(&self, section: &Limits, clock: Arc<dyn Clock>) -> Self {
        let new = Self { uploads: Arc::clone(&self.uploads), ..Self::new(section, clock) };
        if section.profile_per_user == self.section.profile_per_user {
            Self { users: Arc::clone(&self.users), ..new }
        } else {
            new
        }
    }

    /// Lets one change by `user` through, or says when to come back.
    pub fn enter(&self, user: &UserKey) -> Result<(), Limited> {
        if self.attempts.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.users.sweep();
        }
        self.users.take(user).map_err(|retry_after| Limited { retry_after })
    }

    /// A place for one upload by `user`, for as long as it is under way.
    pub fn enter_upload(&self, user: &UserKey) -> Result<UserPlace, Limited> {
        self.uploads.take(user, UPLOADS_AT_ONCE).ok_or(Limited { retry_after: WHEN_FULL })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{
        config::sections::Rate,
        model::{AppId, ManualClock, OpenId, Timestamp},
    };

    fn section(per_minute: u32) -> Limits {
        let profile_per_user = Rate { count: NonZeroU32::new(per_minute).unwrap(), per: Duration::from_mins(1) };
        Limits { profile_per_user, ..Limits::default() }
    }

    fn user(app: &str, openid: &str) -> UserKey {
        UserKey { app: AppId::parse(app).unwrap(), openid: OpenId::parse(openid).unwrap() }
    }

    fn let_through(limits: &ProfileLimits, user: &UserKey) -> usize {
        (0..9).filter(|_| limits.enter(user).is_ok()).count()
    }

    #[test]
    fn each_user_of_each_app_has_a_budget() {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000)));
        let limits = ProfileLimits::new(&section(2), clock.clone());
        for user in [user("wx1", "o1"), user("wx2", "o1"), user("wx1", "o2")] {
            assert_eq!(let_through(&limits, &user), 2, "{user:?}");
        }
        assert_eq!(limits.enter(&user("wx1", "o1")).unwrap_err().retry_after, Duration::from_secs(30));
        clock.advance(Duration::from_secs(30));
        assert_eq!(let_through(&limits, &user("wx1", "o1")), 1);
    }

    #[test]
    fn a_budget_goes_on_where_its_rule_is_the_same() {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000)));
        let limits = ProfileLimits::new(&section(2), clock.clone());
        assert_eq!(let_through(&limits, &user("wx1", "o1")), 2);
        assert_eq!(let_through(&limits.changed_to(&section(2), clock.clone()), &user("wx1", "o1")), 0);
        assert_eq!(let_through(&limits.changed_to(&section(3), clock), &user("wx1", "o1")), 3);
    }

    #[test]
    fn uploads_under_way_count_whatever_becomes_of_the_rule() {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000)));
        let limits = ProfileLimits::new(&section(2), clock.clone());
        let alice = user("wx1", "o1");
        let (one, two) = (limits.enter_upload(&alice).unwrap(), limits.enter_upload(&alice).unwrap());
        let changed = limits.changed_to(&section(3), clock);
        for limits in [&limits, &changed] {
            assert_eq!(limits.enter_upload(&alice).unwrap_err().retry_after, Duration::from_secs(1));
            assert!(limits.enter_upload(&user("wx2", "o1")).is_ok());
        }
        drop(one);
        assert!(changed.enter_upload(&alice).is_ok());
        drop(two);
    }
}
