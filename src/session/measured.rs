//! A store with a clock beside it: each thing it is asked is counted and timed, and nothing else is changed.
//!
//! It stands here and not in `store/`, so that no store has to know that it is measured. A session in memory is answered
//! without a store, so the path of most requests does not come by.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    model::{Session, SessionKey, Timestamp, TokenDigest, UserKey},
    store::{Answer, Claim, Claimed, Fate, Posting, ProfileRecord, Removed, Seen, Store, Waiting, Watcher, Written},
    telemetry::{Counters, Operation, StoreCalls},
};

/// Counts and times what `behind` is asked.
///
/// Every method of [`Store`] has to be passed on, those with a default too: one that is missing here would be the
/// default's for every store.
#[derive(Debug)]
pub struct Measured {
    behind: Arc<dyn Store>,
    counters: Arc<Counters>,
}

impl Measured {
    /// The store `behind`, counted and timed in `counters`.
    pub fn new(behind: Arc<dyn Store>, counters: Arc<Counters>) -> Self {
        Self { behind, counters }
    }

    /// An answer that nobody waits for to its end is not counted: how long it would have taken is not known.
    fn time<'a, T: 'a>(&'a self, operation: fn(&StoreCalls) -> &Operation, answer: Answer<'a, T>) -> Answer<'a, T> {
        let operation = operation(&self.counters.store);
        Box::pin(async move {
            let began = Instant::now();
            let answer = answer.await;
            operation.took.observe(began.elapsed());
            if answer.is_err() {
                operation.errors.inc();
            }
            answer
        })
    }
}

impl Store for Measured {
    fn begin<'a>(
        &'a self,
        session: &'a Arc<Session>,
        key: &'a SessionKey,
        per_user: usize,
        now: Timestamp,
    ) -> Answer<'a, Vec<TokenDigest>> {
        self.time(|calls| &calls.begin, self.behind.begin(session, key, per_user, now))
    }

    fn load<'a>(&'a self, digest: &'a TokenDigest, now: Timestamp) -> Answer<'a, Option<Arc<Session>>> {
        self.time(|calls| &calls.load, self.behind.load(digest, now))
    }

    fn end<'a>(&'a self, user: &'a UserKey, digest: &'a TokenDigest, now: Timestamp) -> Answer<'a, bool> {
        self.time(|calls| &calls.end, self.behind.end(user, digest, now))
    }

    fn end_user<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Vec<TokenDigest>> {
        self.time(|calls| &calls.end_user, self.behind.end_user(user, now))
    }

    fn sessions_of<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Vec<Arc<Session>>> {
        self.time(|calls| &calls.sessions_of, self.behind.sessions_of(user, now))
    }

    fn session_key<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Option<SessionKey>> {
        self.time(|calls| &calls.session_key, self.behind.session_key(user, now))
    }

    fn replace_session_key<'a>(
        &'a self,
        user: &'a UserKey,
        old: &'a SessionKey,
        new: &'a SessionKey,
        now: Timestamp,
    ) -> Answer<'a, bool> {
        self.time(|calls| &calls.replace_session_key, self.behind.replace_session_key(user, old, new, now))
    }

    fn profile<'a>(&'a self, user: &'a UserKey) -> Answer<'a, Option<ProfileRecord>> {
        self.time(|calls| &calls.profile, self.behind.profile(user))
    }

    fn put_profile<'a>(
        &'a self,
        user: &'a UserKey,
        before: Option<u64>,
        profile: &'a ProfileRecord,
        posting: Option<&'a Posting>,
    ) -> Answer<'a, Written> {
        self.time(|calls| &calls.put_profile, self.behind.put_profile(user, before, profile, posting))
    }

    fn forget_profile<'a>(&'a self, user: &'a UserKey, posting: Option<&'a Posting>) -> Answer<'a, Option<Removed>> {
        self.time(|calls| &calls.forget_profile, self.behind.forget_profile(user, posting))
    }

    fn claim_notices(&self, claim: Claim, now: Timestamp, limit: usize) -> Answer<'_, Vec<Claimed>> {
        self.time(|calls| &calls.claim_notices, self.behind.claim_notices(claim, now, limit))
    }

    fn settle_notice<'a>(&'a self, user: &'a UserKey, by: [u8; 16], fate: Fate, now: Timestamp) -> Answer<'a, bool> {
        self.time(|calls| &calls.settle_notice, self.behind.settle_notice(user, by, fate, now))
    }

    fn waiting_notices(&self) -> Answer<'_, Waiting> {
        self.time(|calls| &calls.waiting_notices, self.behind.waiting_notices())
    }

    fn touch(&self, seen: Vec<Seen>) -> Answer<'_, ()> {
        self.time(|calls| &calls.touch, self.behind.touch(seen))
    }

    fn recent(&self, limit: usize, now: Timestamp) -> Answer<'_, Vec<Arc<Session>>> {
        self.time(|calls| &calls.recent, self.behind.recent(limit, now))
    }

    fn count(&self) -> Answer<'_, u64> {
        self.time(|calls| &calls.count, self.behind.count())
    }

    fn sweep(&self, now: Timestamp) -> Answer<'_, bool> {
        self.time(|calls| &calls.sweep, self.behind.sweep(now))
    }

    fn check(&self) -> Answer<'_, ()> {
        self.time(|calls| &calls.check, self.behind.check())
    }

    fn sees_use(&self) -> bool {
        self.behind.sees_use()
    }

    fn evicted(&self, session: &Session) -> bool {
        self.behind.evicted(session)
    }

    fn shard_of(&self, user: &UserKey) -> Option<u8> {
        self.behind.shard_of(user)
    }

    fn follow(&self, watcher: Arc<dyn Watcher>) {
        self.behind.follow(watcher);
    }

    fn stale_for(&self) -> Duration {
        self.behind.stale_for()
    }
}
