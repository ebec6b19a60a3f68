//! Where sessions are looked up: moka, by digest, with what has to happen when it lets one go.
//!
//! Two clocks judge a session, and both are needed. [`Session::is_live`] decides, by our own clock, to the second, and
//! in tests by hand. moka can't be given a clock; its expiry collects garbage, so that what nobody asks for any more
//! doesn't stay. moka therefore waits [`SLACK`] longer than the judge, and never removes what the judge calls live.
//!
//! Memory is the only place a session has. When moka has no room, the session that was unused longest goes and its user
//! is logged out: that is counted and logged, and a crash loses all of them. The policy is LRU since moka's own default
//! would rather refuse the newcomer, which is somebody who has just logged in.
//!
//! A look-up takes no lock and allocates nothing. Now and then one of them does moka's upkeep as it passes, and may meet
//! the locks of moka and of the user index there; nothing is awaited under them.

use std::{
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use moka::{Expiry, notification::RemovalCause, policy::EvictionPolicy};

use super::users::Users;
use crate::{
    model::{Clock, Session, Timestamp, TokenDigest},
    telemetry::Counters,
};

/// How much longer than the judge moka waits. Who keeps a session between requests, and so doesn't look it up each time,
/// must do so at least this often.
const SLACK: Duration = Duration::from_mins(1);

/// At most so often an eviction is worth a line.
const BETWEEN_WARNINGS: Duration = Duration::from_mins(1);

/// Sessions by digest.
pub(super) struct Cache(moka::sync::Cache<TokenDigest, Arc<Session>, BuildHasherDefault<DigestHasher>>);

impl Cache {
    /// Room for `capacity` sessions. What leaves the cache, for whichever reason, leaves `users` too.
    pub(super) fn new(capacity: u64, users: Arc<Users>, counters: Arc<Counters>, clock: Arc<dyn Clock>) -> Self {
        let departures = Departures { users, counters, clock, capacity, warned_at: AtomicU64::new(NEVER) };
        let moka = moka::sync::Cache::builder()
            .name("sessions")
            .max_capacity(capacity)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(GarbageAfter)
            .eviction_listener(move |_, session: Arc<Session>, cause| departures.note(&session, cause))
            .build_with_hasher(BuildHasherDefault::default());
        Self(moka)
    }

    pub(super) fn get(&self, digest: &TokenDigest) -> Option<Arc<Session>> {
        self.0.get(digest)
    }

    pub(super) fn insert(&self, session: Arc<Session>) {
        self.0.insert(*session.digest(), session);
    }

    pub(super) fn remove(&self, digest: &TokenDigest) {
        self.0.invalidate(digest);
    }

    /// Does all upkeep that is due and says how many sessions are left.
    #[cfg(test)]
    pub(super) fn settle(&self) -> u64 {
        self.0.run_pending_tasks();
        self.0.entry_count()
    }
}

/// What happens when moka lets a session go.
struct Departures {
    users: Arc<Users>,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    capacity: u64,
    /// Milliseconds since the epoch, or [`NEVER`].
    warned_at: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Departures {
    /// Runs inside moka, on whatever thread does its upkeep. The index lock is taken here, so nobody may call moka
    /// while holding it.
    fn note(&self, session: &Session, cause: RemovalCause) {
        let now = self.clock.now();
        let was_live = session.is_live(now);
        let ended_here = self.users.remove(session);
        if cause == RemovalCause::Size && was_live && ended_here {
            self.counters.sessions_evicted.inc();
            self.warn(now);
        }
    }

    /// The first time, then at most once a minute: a full cache evicts somebody at every login.
    fn warn(&self, now: Timestamp) {
        let last = self.warned_at.load(Ordering::Relaxed);
        if last != NEVER && now.since(Timestamp::from_millis(last)) < BETWEEN_WARNINGS {
            return;
        }
        let mine = self.warned_at.compare_exchange(last, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed);
        if mine.is_ok() {
            tracing::warn!(
                evicted = self.counters.sessions_evicted.get(),
                capacity = self.capacity,
                "no room for all sessions: users were logged out; raise sessions.capacity"
            );
        }
    }
}

/// When moka may collect a session. It is never told "never": that is the answer which its timers handled badly before.
struct GarbageAfter;

impl GarbageAfter {
    fn allowance(session: &Session, age: Duration) -> Duration {
        let idle = session.idle() + SLACK;
        idle.min((session.lifetime() + SLACK).saturating_sub(age))
    }
}

impl Expiry<TokenDigest, Arc<Session>> for GarbageAfter {
    fn expire_after_create(&self, _: &TokenDigest, session: &Arc<Session>, _: Instant) -> Option<Duration> {
        Some(Self::allowance(session, Duration::ZERO))
    }

    /// Puts the end off, but only once half the slack is used up: each change sets a timer, and this is every request.
    fn expire_after_read(
        &self,
        _: &TokenDigest,
        session: &Arc<Session>,
        read_at: Instant,
        left: Option<Duration>,
        created_at: Instant,
    ) -> Option<Duration> {
        let allowance = Self::allowance(session, read_at.saturating_duration_since(created_at));
        left.filter(|left| allowance.saturating_sub(*left) < SLACK / 2).or(Some(allowance))
    }

    fn expire_after_update(
        &self,
        _: &TokenDigest,
        session: &Arc<Session>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(Self::allowance(session, Duration::ZERO))
    }
}

/// Passes on the eight bytes of a digest, which are a hash already.
#[derive(Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write_u64(&mut self, head: u64) {
        self.0 = head;
    }

    /// Digests don't come this way; whatever does is hashed decently enough.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppId, Identity, OpenId, Terms, UserKey, UserTag};

    const HOUR: Duration = Duration::from_hours(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn session() -> Arc<Session> {
        let user = UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse("o1").unwrap() };
        let terms = Terms { idle: HOUR, lifetime: 10 * HOUR };
        let (digest, tag) = (TokenDigest::new([7; 32]), UserTag::new([0; 8]));
        Arc::new(Session::begin(Identity { user, unionid: None }, digest, tag, terms, Timestamp::from_millis(0)))
    }

    /// When moka may collect a session of this age that is read now, if so far it might in `left`.
    #[expect(clippy::disallowed_methods, reason = "moka speaks in instants, and only their distance counts here")]
    fn after_read(age: Duration, left: Duration) -> Option<Duration> {
        let (session, created_at) = (session(), Instant::now());
        GarbageAfter.expire_after_read(session.digest(), &session, created_at + age, Some(left), created_at)
    }

    #[test]
    fn moka_waits_longer_than_the_judge() {
        assert_eq!(GarbageAfter::allowance(&session(), Duration::ZERO), HOUR + SLACK);
        assert_eq!(GarbageAfter::allowance(&session(), 9 * HOUR + HOUR / 2), HOUR / 2 + SLACK);
        assert_eq!(GarbageAfter::allowance(&session(), 11 * HOUR), Duration::ZERO);
    }

    #[test]
    fn a_read_sets_a_new_timer_only_when_half_the_slack_is_used_up() {
        assert_eq!(after_read(HOUR, HOUR + 31 * SECOND), Some(HOUR + 31 * SECOND));
        assert_eq!(after_read(HOUR, HOUR + 30 * SECOND), Some(HOUR + SLACK));
        assert_eq!(after_read(HOUR, HOUR), Some(HOUR + SLACK));
    }

    #[test]
    fn no_read_puts_the_collection_off_beyond_the_lifetime() {
        assert_eq!(after_read(10 * HOUR, SLACK), Some(SLACK));
        assert_eq!(after_read(10 * HOUR + SLACK / 2, SLACK / 2), Some(SLACK / 2));
    }
}
