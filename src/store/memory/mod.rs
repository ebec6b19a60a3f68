//! The store that is only memory: the process's own, gone with it.
//!
//! It holds the very `Arc` that the cache in front holds, so a session costs one allocation, and its last use and its end
//! are known here the moment they happen. Two tables point at it: [`users`] by (app, openid), [`digests`] by token.
//! [`profiles`] stand apart from both.
//!
//! The lock of a user's shard is taken first, then that of a digest, never the other way round. Each change happens under
//! the lock of its user, which is its one moment. A session is ended before it leaves the tables, so who reads only the
//! digests sees a session that is over rather than one that should be.

mod digests;
mod kept_key;
mod outbox;
mod profiles;
mod users;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use self::{
    digests::Digests,
    outbox::Outbox,
    profiles::Profiles,
    users::{SHARDS, Users},
};
use super::{Answer, Claim, Claimed, Fate, Posting, ProfileRecord, Removed, Seen, Store, Waiting, Written};
use crate::model::{Session, SessionKey, Timestamp, TokenDigest, UserKey};

/// Sessions and profiles that rest nowhere but in this process.
pub struct Memory {
    users: Users,
    digests: Digests,
    profiles: Profiles,
    outbox: Outbox,
    /// The shard of users that is swept next.
    next_sweep: AtomicUsize,
}

impl Memory {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            users: Users::new(),
            digests: Digests::new(),
            profiles: Profiles::new(),
            outbox: Outbox::default(),
            next_sweep: AtomicUsize::new(0),
        }
    }
}

impl Memory {
    fn post(&self, user: &UserKey, posting: Option<&Posting>) -> Written {
        posting.map_or(Written::Yes, |posting| self.outbox.post(user, posting))
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("sessions", &self.digests.len()).finish_non_exhaustive()
    }
}

impl Store for Memory {
    fn begin<'a>(
        &'a self,
        session: &'a Arc<Session>,
        key: &'a SessionKey,
        per_user: usize,
        now: Timestamp,
    ) -> Answer<'a, Vec<TokenDigest>> {
        Box::pin(async move { Ok(self.users.add(session, key, per_user, now, &self.digests)) })
    }

    fn load<'a>(&'a self, digest: &'a TokenDigest, now: Timestamp) -> Answer<'a, Option<Arc<Session>>> {
        Box::pin(async move {
            let found = self.digests.find(digest);
            let dead = found.as_ref().filter(|session| !session.is_live(now));
            // Whoever finds it dead clears it away. Not under the lock of the digests: the user's comes first.
            if let Some(dead) = dead {
                self.users.remove(&dead.identity().user, digest, now, &self.digests);
                return Ok(None);
            }
            Ok(found)
        })
    }

    fn end<'a>(&'a self, user: &'a UserKey, digest: &'a TokenDigest, now: Timestamp) -> Answer<'a, bool> {
        Box::pin(async move { Ok(self.users.remove(user, digest, now, &self.digests)) })
    }

    fn end_user<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Vec<TokenDigest>> {
        Box::pin(async move { Ok(self.users.remove_all(user, now, &self.digests)) })
    }

    fn sessions_of<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Vec<Arc<Session>>> {
        Box::pin(async move { Ok(self.users.sessions_of(user, now)) })
    }

    fn session_key<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Option<SessionKey>> {
        Box::pin(async move { Ok(self.users.session_key(user, now)) })
    }

    fn replace_session_key<'a>(
        &'a self,
        user: &'a UserKey,
        old: &'a SessionKey,
        new: &'a SessionKey,
        now: Timestamp,
    ) -> Answer<'a, bool> {
        Box::pin(async move { Ok(self.users.replace_session_key(user, old, new, now)) })
    }

    fn profile<'a>(&'a self, user: &'a UserKey) -> Answer<'a, Option<ProfileRecord>> {
        Box::pin(async move { Ok(self.profiles.get(user)) })
    }

    fn put_profile<'a>(
        &'a self,
        user: &'a UserKey,
        before: Option<u64>,
        profile: &'a ProfileRecord,
        posting: Option<&'a Posting>,
    ) -> Answer<'a, Written> {
        Box::pin(async move { Ok(self.profiles.put(user, before, profile, || self.post(user, posting))) })
    }

    fn forget_profile<'a>(&'a self, user: &'a UserKey, posting: Option<&'a Posting>) -> Answer<'a, Option<Removed>> {
        Box::pin(async move { Ok(self.profiles.remove(user, || self.post(user, posting))) })
    }

    fn claim_notices(&self, claim: Claim, now: Timestamp, limit: usize) -> Answer<'_, Vec<Claimed>> {
        Box::pin(async move { Ok(self.outbox.claim(claim, now, limit)) })
    }

    fn settle_notice<'a>(&'a self, user: &'a UserKey, by: [u8; 16], fate: Fate, now: Timestamp) -> Answer<'a, bool> {
        Box::pin(async move { Ok(self.outbox.settle(user, by, fate, now)) })
    }

    fn waiting_notices(&self) -> Answer<'_, Waiting> {
        Box::pin(async move { Ok(self.outbox.waiting()) })
    }

    fn touch(&self, seen: Vec<Seen>) -> Answer<'_, ()> {
        Box::pin(async move {
            for seen in seen {
                if let Some(session) = self.digests.find(&seen.digest) {
                    session.touch(seen.at);
                }
            }
            Ok(())
        })
    }

    fn recent(&self, limit: usize, now: Timestamp) -> Answer<'_, Vec<Arc<Session>>> {
        Box::pin(async move { Ok(self.digests.recent(limit, now)) })
    }

    fn count(&self) -> Answer<'_, u64> {
        Box::pin(async move { Ok(self.digests.len()) })
    }

    /// One shard of users at a time.
    fn sweep(&self, now: Timestamp) -> Answer<'_, bool> {
        Box::pin(async move {
            let shard = self.next_sweep.fetch_add(1, Ordering::Relaxed) % SHARDS;
            self.users.sweep(shard, now, &self.digests);
            Ok(shard + 1 < SHARDS)
        })
    }

    fn check(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn sees_use(&self) -> bool {
        true
    }

    /// There is no other place: it goes from here as well.
    fn evicted(&self, session: &Session) -> bool {
        self.users.evict(session, &self.digests)
    }
}
