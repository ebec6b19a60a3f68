//! Which sessions a user has in an app, and the `session_key` that WeChat holds valid for them.
//!
//! Only logins, log-outs and departures come here, never a request. Whatever leaves is ended first, under the same lock: so
//! a session that can no longer be found by its user is dead for everybody who holds it.
//!
//! The cache in front calls [`Users::evict`] while its own locks are held; so nothing in here may ever call the cache.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hashbrown::HashTable;
use smallvec::{SmallVec, smallvec};

use super::{digests::Digests, kept_key::KeptKey};
use crate::model::{Session, SessionKey, Timestamp, TokenDigest, UserKey};

/// So many tables with a lock each. With few, a table of many users that grows or is swept would hold up every login and
/// every departure for as long.
pub(super) const SHARDS: usize = 1024;

/// The index of sessions by (app, openid).
pub(super) struct Users {
    shards: Box<[Shard]>,
    hasher: RandomState,
}

/// A slot is one pointer, so that the empty ones cost little and no copy of a key is left behind when a table moves.
type Table = HashTable<Box<User>>;
type Shard = Mutex<Table>;

struct User {
    /// Of the newest login, or what has taken its place since. It goes with the last session: WeChat's copy may outlive that,
    /// but nobody is left to use it.
    key: KeptKey,
    /// Oldest first, in the order in which they came here, never none. Most users have one. Whose they are stands in each.
    sessions: SmallVec<[Arc<Session>; 1]>,
}

impl Users {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    /// Takes in a session as its user's newest, and `key` as the only `session_key` that still counts. The digests of live
    /// sessions that had to make room.
    pub(super) fn add(
        &self,
        session: &Arc<Session>,
        key: &SessionKey,
        per_user: usize,
        now: Timestamp,
        digests: &Digests,
    ) -> Vec<TokenDigest> {
        let key = KeptKey::new(key);
        let user = &session.identity().user;
        let hash = self.hash(user);
        let mut shard = self.shard(hash);
        let Some(known) = shard.find_mut(hash, |held| held.is(user)) else {
            let new = Box::new(User { key, sessions: smallvec![Arc::clone(session)] });
            digests.insert(session);
            shard.insert_unique(hash, new, |held| self.hash_of(held));
            return Vec::new();
        };
        known.key = key;
        if known.sessions.iter().any(|held| held.digest() == session.digest()) {
            return Vec::new();
        }
        known.sessions.push(Arc::clone(session));
        digests.insert(session);
        known.keep_newest(per_user, now, digests)
    }

    /// Ends a session and takes it out. Whether it was live until now.
    pub(super) fn remove(&self, user: &UserKey, digest: &TokenDigest, now: Timestamp, digests: &Digests) -> bool {
        self.take_out(user, digest, digests, |session| session.is_live(now))
    }

    /// Ends a session that was pushed out of the cache and takes it out. Whether that ended it.
    pub(super) fn evict(&self, session: &Session, digests: &Digests) -> bool {
        self.take_out(&session.identity().user, session.digest(), digests, |_| true)
    }

    /// Ends all sessions of `user` and takes them out. The digests of those that were live until now.
    pub(super) fn remove_all(&self, user: &UserKey, now: Timestamp, digests: &Digests) -> Vec<TokenDigest> {
        let hash = self.hash(user);
        let mut shard = self.shard(hash);
        let Ok(entry) = shard.find_entry(hash, |held| held.is(user)) else { return Vec::new() };
        let (gone, _) = entry.remove();
        let live = gone.sessions.iter().filter(|session| end(session, now, digests));
        live.map(|session| *session.digest()).collect()
    }

    /// The live ones, oldest first.
    pub(super) fn sessions_of(&self, user: &UserKey, now: Timestamp) -> Vec<Arc<Session>> {
        let hash = self.hash(user);
        let shard = self.shard(hash);
        let sessions = shard.find(hash, |held| held.is(user)).into_iter().flat_map(|found| &found.sessions);
        sessions.filter(|session| session.is_live(now)).cloned().collect()
    }

    /// The `session_key` of the user, the newest login's or what has taken its place, as long as one of the user's sessions is live.
    pub(super) fn session_key(&self, user: &UserKey, now: Timestamp) -> Option<SessionKey> {
        let hash = self.hash(user);
        let shard = self.shard(hash);
        let found = shard.find(hash, |held| held.is(user))?;
        found.sessions.iter().any(|session| session.is_live(now)).then(|| found.key.unpack())
    }

    /// Puts a `session_key` in the place of `old`, if that is what [`session_key`](Self::session_key) would say. Whether `new` is
    /// there now.
    pub(super) fn replace_session_key(
        &self,
        user: &UserKey,
        old: &SessionKey,
        new: &SessionKey,
        now: Timestamp,
    ) -> bool {
        let hash = self.hash(user);
        let mut shard = self.shard(hash);
        let found = shard.find_mut(hash, |held| held.is(user));
        let Some(found) = found.filter(|found| found.sessions.iter().any(|session| session.is_live(now))) else {
            return false;
        };
        let kept = found.key.unpack();
        if kept == *old {
            found.key = KeptKey::new(new);
        }
        kept == *old || kept == *new
    }

    /// Takes out what has run out in one of the [`SHARDS`].
    pub(super) fn sweep(&self, shard: usize, now: Timestamp, digests: &Digests) {
        let mut shard = lock(&self.shards[shard]);
        shard.retain(|user| {
            // A user without sessions must not stay in the table: nothing would say whose it was.
            if user.sessions.iter().any(|session| session.is_live(now)) {
                user.drop_dead(now, digests);
                return true;
            }
            for session in &user.sessions {
                end(session, now, digests);
            }
            false
        });
        if shard.len() < shard.capacity() / 4 {
            let twice = shard.len() * 2;
            shard.shrink_to(twice, |held| self.hash_of(held));
        }
    }

    /// Ends a session and takes it out. True where this ended it and it `counts`, which is asked just before.
    fn take_out(
        &self,
        user: &UserKey,
        digest: &TokenDigest,
        digests: &Digests,
        counts: impl FnOnce(&Session) -> bool,
    ) -> bool {
        let hash = self.hash(user);
        let mut shard = self.shard(hash);
        let Ok(mut entry) = shard.find_entry(hash, |held| held.is(user)) else { return false };
        let known = entry.get_mut();
        let Some(at) = known.sessions.iter().position(|held| held.digest() == digest) else { return false };
        let counted = counts(&known.sessions[at]);
        let ended_here = known.sessions[at].end();
        digests.remove(digest);
        if known.sessions.len() == 1 {
            entry.remove();
        } else {
            known.sessions.remove(at);
        }
        ended_here && counted
    }

    fn hash(&self, user: &UserKey) -> u64 {
        self.hasher.hash_one(user)
    }

    fn hash_of(&self, user: &User) -> u64 {
        user.key_of().map_or(0, |user| self.hash(user))
    }

    /// Chosen by bits in the middle of the hash: the table itself goes by those at its two ends.
    fn shard(&self, hash: u64) -> MutexGuard<'_, Table> {
        let [.., high, low, _, _, _, _] = hash.to_be_bytes();
        lock(&self.shards[usize::from(u16::from_be_bytes([high, low])) % SHARDS])
    }
}

impl User {
    fn key_of(&self) -> Option<&UserKey> {
        self.sessions.first().map(|session| &session.identity().user)
    }

    fn is(&self, user: &UserKey) -> bool {
        self.key_of() == Some(user)
    }

    fn drop_dead(&mut self, now: Timestamp, digests: &Digests) {
        self.sessions.retain(|session| {
            let live = session.is_live(now);
            if !live {
                end(session, now, digests);
            }
            live
        });
    }

    /// Lets the oldest go until `limit` are left. Those that have run out go first: they must not cost a live one its
    /// place.
    fn keep_newest(&mut self, limit: usize, now: Timestamp, digests: &Digests) -> Vec<TokenDigest> {
        if limit == 0 || self.sessions.len() <= limit {
            return Vec::new();
        }
        self.drop_dead(now, digests);
        let excess = self.sessions.len().saturating_sub(limit);
        let displaced = self.sessions.drain(..excess).filter(|session| end(session, now, digests));
        displaced.map(|session| *session.digest()).collect()
    }
}

/// Ends it and removes it from the digests. Whether it was live until now.
fn end(session: &Session, now: Timestamp, digests: &Digests) -> bool {
    let live = session.is_live(now);
    let ended_here = session.end();
    digests.remove(session.digest());
    ended_here && live
}

/// No method leaves a table half changed, so what a panicking thread held is still good.
fn lock(shard: &Shard) -> MutexGuard<'_, Table> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
