//! Which sessions a user has in an app, and the `session_key` that WeChat holds valid for them.
//!
//! Only logins, log-outs and departures come here, never a request. Two rules keep it true under threads:
//!
//! * Whatever leaves the index is ended first, under the same lock. So a session that can no longer be found by its
//!   user is dead for everybody who holds it, even if the cache gets it a moment later.
//! * No method calls the cache. Its listener takes the lock of this index while moka's own locks are held; the other
//!   order would be a deadlock. Methods hand back what the caller must remove from the cache.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use smallvec::{SmallVec, smallvec};

use crate::model::{Session, SessionKey, Timestamp, UserKey};

/// So many locks. With one, a map of a million users that grows would stop every login and every departure while it is
/// copied.
const SHARDS: usize = 64;

/// The index of sessions by (app, openid).
pub(super) struct Users {
    shards: Box<[Mutex<HashMap<UserKey, User>>]>,
    hasher: RandomState,
    /// Sessions in all shards.
    sessions: AtomicU64,
    per_user: usize,
}

struct User {
    /// Of the newest login. It goes with the last session: WeChat's copy may outlive that, but nobody is left to use it.
    session_key: SessionKey,
    /// Oldest first, in the order in which they came here. Most users have one.
    sessions: SmallVec<[Arc<Session>; 1]>,
}

/// What had to leave the index. Already ended; the caller removes it from the cache.
#[derive(Default)]
pub(super) struct Displaced {
    pub(super) sessions: Vec<Arc<Session>>,
    /// How many of them were live until now.
    pub(super) live: usize,
}

impl Displaced {
    fn end(&mut self, session: Arc<Session>, now: Timestamp) {
        let was_live = session.is_live(now);
        if session.end() && was_live {
            self.live += 1;
        }
        self.sessions.push(session);
    }
}

impl Users {
    /// An empty index in which the newest `per_user` sessions of a user stay, or all of them if that is 0.
    pub(super) fn new(per_user: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new(), sessions: AtomicU64::new(0), per_user }
    }

    /// Takes in a session as its user's newest, and `key` as the only `session_key` that still counts.
    pub(super) fn add(&self, session: &Arc<Session>, key: SessionKey, now: Timestamp) -> Displaced {
        let mut displaced = Displaced::default();
        let mut shard = self.shard(&session.identity().user);
        if let Some(user) = shard.get_mut(&session.identity().user) {
            user.session_key = key;
            user.sessions.push(Arc::clone(session));
            user.keep_newest(self.per_user, now, &mut displaced);
        } else {
            let user = User { session_key: key, sessions: smallvec![Arc::clone(session)] };
            shard.insert(session.identity().user.clone(), user);
        }
        self.sessions.fetch_add(1, Ordering::Relaxed);
        self.sessions.fetch_sub(displaced.sessions.len() as u64, Ordering::Relaxed);
        displaced
    }

    /// Ends a session and takes it out, if it is still in. True for the one call that ended it.
    pub(super) fn remove(&self, session: &Session) -> bool {
        let mut shard = self.shard(&session.identity().user);
        let ended_here = session.end();
        if let Some(user) = shard.get_mut(&session.identity().user)
            && let Some(at) = user.sessions.iter().position(|held| std::ptr::eq(&raw const **held, session))
        {
            user.sessions.remove(at);
            self.sessions.fetch_sub(1, Ordering::Relaxed);
            if user.sessions.is_empty() {
                shard.remove(&session.identity().user);
            }
        }
        ended_here
    }

    /// Ends all sessions of `user` and takes them out.
    pub(super) fn remove_all(&self, user: &UserKey, now: Timestamp) -> Displaced {
        let mut displaced = Displaced::default();
        let mut shard = self.shard(user);
        for session in shard.remove(user).map(|user| user.sessions).unwrap_or_default() {
            displaced.end(session, now);
        }
        self.sessions.fetch_sub(displaced.sessions.len() as u64, Ordering::Relaxed);
        displaced
    }

    /// The `session_key` of the user's newest login, as long as one of the user's sessions is live.
    pub(super) fn session_key(&self, user: &UserKey, now: Timestamp) -> Option<SessionKey> {
        let shard = self.shard(user);
        let user = shard.get(user)?;
        user.sessions.iter().any(|session| session.is_live(now)).then(|| user.session_key.clone())
    }

    /// How many sessions there are, those included that have run out and are not collected yet.
    pub(super) fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    fn shard(&self, user: &UserKey) -> MutexGuard<'_, HashMap<UserKey, User>> {
        let [low, ..] = self.hasher.hash_one(user).to_le_bytes();
        // No method leaves a map half changed, so what a panicking thread held is still good.
        self.shards[usize::from(low) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl User {
    /// Lets the oldest go until `limit` are left. Those that have run out go first: they must not cost a live one its
    /// place.
    fn keep_newest(&mut self, limit: usize, now: Timestamp, displaced: &mut Displaced) {
        if limit == 0 || self.sessions.len() <= limit {
            return;
        }
        let (live, over): (SmallVec<_>, SmallVec<[_; 1]>) =
            std::mem::take(&mut self.sessions).into_iter().partition(|session| session.is_live(now));
        self.sessions = live;
        for session in over {
            displaced.end(session, now);
        }
        let excess = self.sessions.len().saturating_sub(limit);
        for session in self.sessions.drain(..excess) {
            displaced.end(session, now);
        }
    }
}
