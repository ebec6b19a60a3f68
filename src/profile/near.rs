//! Phone numbers in memory, for upstreams that are told them with each request: for a minute, and that somebody has none too.
//!
//! What is changed here is forgotten here. What another process has changed in the same store is heard of after the minute.

use std::{
    hash::{BuildHasher, RandomState},
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

/// Users share a count of changes with one in so many others: whoever changes something makes few look again.
const COUNTS: usize = 256;

pub(super) struct NearPhones {
    known: Cache<UserKey, Known>,
    /// Users of whom a change may yet come to be, though nobody waits for it any more, and since when.
    unsure: Cache<UserKey, Duration>,
    changes: Box<[AtomicU64]>,
    hasher: RandomState,
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
        let unsure = Cache::builder().max_capacity(USERS).time_to_live(LIFE).build();
        let changes = (0..COUNTS).map(|_| AtomicU64::new(0)).collect();
        Self { known, unsure, changes, hasher: RandomState::new(), clock }
    }

    /// What is known of a user: a number, or that there is none.
    pub(super) fn of(&self, user: &UserKey) -> Option<Known> {
        let known = self.known.get(user)?;
        (self.clock.steady().saturating_sub(known.since) < LIFE).then_some(known)
    }

    pub(super) fn asks(&self, user: &UserKey) -> Question {
        Question { changes: self.changes_of(user).load(Ordering::SeqCst), asked: self.clock.steady() }
    }

    /// Keeps an answer of the store, unless a change may have overtaken it.
    pub(super) fn learn(&self, user: &UserKey, phone: Option<PhoneNumber>, question: Question) {
        let is_old = || self.changes_of(user).load(Ordering::SeqCst) != question.changes || self.is_unsure(user);
        if is_old() {
            return;
        }
        self.known.insert(user.clone(), Known { phone, since: question.asked });
        // The change may have come between the look and the insertion.
        if is_old() {
            self.known.invalidate(user);
        }
    }

    /// A change begins. When it ends, however it ends, nothing is known of the user any more. Where nobody has heard how it
    /// ended, it may still be on its way to the store: nothing is learnt of the user for as long as something is known.
    pub(super) fn forgets<'a>(&'a self, user: &'a UserKey) -> Forgets<'a> {
        Forgets { near: self, user, is_over: false }
    }

    fn is_unsure(&self, user: &UserKey) -> bool {
        self.unsure.get(user).is_some_and(|since| self.clock.steady().saturating_sub(since) < LIFE)
    }

    fn changes_of(&self, user: &UserKey) -> &AtomicU64 {
        // The remainder is below the length, which is no zero.
        let at = self.hasher.hash_one(user) % self.changes.len() as u64;
        &self.changes[usize::try_from(at).unwrap_or_default()]
    }
}

/// A change under way.
#[must_use = "it forgets when it is dropped"]
pub(super) struct Forgets<'a> {
    near: &'a NearPhones,
    user: &'a UserKey,
    is_over: bool,
}

impl Forgets<'_> {
    /// How the change ended is known.
    pub(super) fn is_over(mut self) {
        self.is_over = true;
    }
}

impl Drop for Forgets<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.near.unsure.insert(self.user.clone(), self.near.clock.steady());
        }
        self.near.changes_of(self.user).fetch_add(1, Ordering::SeqCst);
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
        near.learn(&user("oAnna"), number(), near.asks(&user("oAnna")));
        near.learn(&user("oBen"), None, near.asks(&user("oBen")));
        clock.advance(Duration::from_millis(59_999));
        let known = |openid: &str| near.of(&user(openid)).map(|known| known.phone);
        assert_eq!((known("oAnna"), known("oBen"), known("oCarol")), (Some(number()), Some(None), None));
        clock.advance(Duration::from_millis(1));
        assert_eq!((known("oAnna"), known("oBen")), (None, None));
    }

    #[test]
    fn an_answer_that_a_change_has_overtaken_is_not_kept() {
        let (near, _) = near();
        let asked = near.asks(&user("oAnna"));
        near.forgets(&user("oAnna")).is_over();
        near.learn(&user("oAnna"), number(), asked);
        assert!(near.of(&user("oAnna")).is_none());
        near.learn(&user("oAnna"), number(), near.asks(&user("oAnna")));
        near.forgets(&user("oAnna")).is_over();
        assert!(near.of(&user("oAnna")).is_none());
    }
    #[test]
    fn while_a_change_may_yet_come_to_be_nothing_is_learnt_of_its_user() {
        let (near, clock) = near();
        drop(near.forgets(&user("oAnna")));
        let learn = |openid: &str| near.learn(&user(openid), number(), near.asks(&user(openid)));
        learn("oAnna");
        learn("oBen");
        assert!(near.of(&user("oAnna")).is_none() && near.of(&user("oBen")).is_some());
        clock.advance(LIFE);
        learn("oAnna");
        assert!(near.of(&user("oAnna")).is_some());
    }
}
