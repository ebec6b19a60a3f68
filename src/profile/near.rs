//! Phone numbers in memory, for upstreams that are told them with each request: for a minute, and that somebody has none too.
//!
//! What is changed here is forgotten here. What another process has changed in the same store is heard of after the minute.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;

use crate::model::{Clock, PhoneNumber, UserKey};

/// How long a number is told before the store is asked again.
const LIFE: Duration = Duration::from_mins(1);

/// Users remembered at once.
const USERS: u64 = 100_000;

pub(super) struct NearPhones {
    known: Cache<UserKey, Known>,
    changes: AtomicU64,
    clock: Arc<dyn Clock>,
}

/// What the store said of a user.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) phone: Option<PhoneNumber>,
    since: Duration,
}

/// A question to the store. What has changed since it was asked makes its answer old.
#[derive(Clone, Copy)]
pub(super) struct Question {
    changes: u64,
    asked: Duration,
}

impl NearPhones {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        // Only gives memory back. The life is judged by `clock`, which moka does not know.
        let known = Cache::builder().max_capacity(USERS).time_to_live(LIFE).build();
        Self { known, changes: AtomicU64::new(0), clock }
    }

    /// What is known of a user: a number, or that there is none.
    pub(super) fn of(&self, user: &UserKey) -> Option<Known> {
        let known = self.known.get(user)?;
        (self.clock.steady().saturating_sub(known.since) < LIFE).then_some(known)
    }

    pub(super) fn asks(&self) -> Question {
        Question { changes: self.changes.load(Ordering::SeqCst), asked: self.clock.steady() }
    }

    /// Keeps an answer of the store, unless a change may have overtaken it.
    pub(super) fn learn(&self, user: &UserKey, phone: Option<PhoneNumber>, question: Question) {
        let is_old = || self.changes.load(Ordering::SeqCst) != question.changes;
        if is_old() {
            return;
        }
        self.known.insert(user.clone(), Known { phone, since: question.asked });
        // The change may have come between the look and the insertion.
        if is_old() {
            self.known.invalidate(user);
        }
    }

    /// A change begins. When it ends, however it ends, nothing is known of the user any more.
    pub(super) fn forgets<'a>(&'a self, user: &'a UserKey) -> Forgets<'a> {
        Forgets { near: self, user }
    }
}

/// A change under way.
#[must_use = "it forgets when it is dropped"]
pub(super) struct Forgets<'a> {
    near: &'a NearPhones,
    user: &'a UserKey,
}

impl Drop for Forgets<'_> {
    fn drop(&mut self) {
        self.near.changes.fetch_add(1, Ordering::SeqCst);
        self.near.known.invalidate(self.user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppId, ManualClock, OpenId, Timestamp};

    fn near() -> (NearPhones, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_000_000)));
        (NearPhones::new(clock.clone()), clock)
    }

    fn user(openid: &str) -> UserKey {
        UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse(openid).unwrap() }
    }

    fn number() -> Option<PhoneNumber> {
        PhoneNumber::parse("13800000000", "13800000000", "86").ok()
    }

    #[test]
    fn a_number_and_that_there_is_none_are_known_for_a_minute() {
        let (near, clock) = near();
        near.learn(&user("oAnna"), number(), near.asks());
        near.learn(&user("oBen"), None, near.asks());
        clock.advance(Duration::from_millis(59_999));
        let known = |openid: &str| near.of(&user(openid)).map(|known| known.phone);
        assert_eq!((known("oAnna"), known("oBen"), known("oCarol")), (Some(number()), Some(None), None));
        clock.advance(Duration::from_millis(1));
        assert_eq!((known("oAnna"), known("oBen")), (None, None));
    }

    #[test]
    fn an_answer_that_a_change_has_overtaken_is_not_kept() {
        let (near, _) = near();
        let asked = near.asks();
        drop(near.forgets(&user("oAnna")));
        near.learn(&user("oAnna"), number(), asked);
        assert!(near.of(&user("oAnna")).is_none());
        near.learn(&user("oAnna"), number(), near.asks());
        drop(near.forgets(&user("oAnna")));
        assert!(near.of(&user("oAnna")).is_none());
    }
}
