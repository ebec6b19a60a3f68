//! The sessions in memory: moka, by digest, in front of the store.
//!
//! Two clocks judge a session, and both are needed. [`Session::is_live`] decides, by our own clock, to the second, and
//! in tests by hand. moka can't be given a clock; its expiry collects garbage, so that what nobody asks for any more
//! doesn't stay. moka therefore waits [`SLACK`] longer than the judge, and never removes what the judge calls live.
//!
//! The policy is LRU since moka's own default would rather refuse the newcomer, which is somebody who has just logged in.
//! What happens to a session that there is no room for is the matter of [`departures`](super::departures).
//!
//! A look-up takes no lock and allocates nothing. Now and then one of them does moka's upkeep as it passes, and may meet
//! the locks of moka and of the memory store there; nothing is awaited under them.

use std::{
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{Expiry, policy::EvictionPolicy};

use super::{
    departures::Departures,
    generations::{Generation, Generations},
};
use crate::model::{Session, TokenDigest};

/// How much longer than the judge moka waits. Who keeps a session between requests, and so doesn't look it up each time,
/// must do so at least this often.
const SLACK: Duration = Duration::from_mins(1);

/// Sessions by digest.
pub(super) struct Cache {
    moka: moka::sync::Cache<TokenDigest, Arc<Session>, BuildHasherDefault<DigestHasher>>,
    pub(super) generations: Generations,
}

impl Cache {
    /// Room for `capacity` sessions. What leaves for want of room is told to `departures`.
    pub(super) fn new(capacity: u64, departures: Departures) -> Self {
        let moka = moka::sync::Cache::builder()
            .name("sessions")
            .max_capacity(capacity)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(GarbageAfter)
            .eviction_listener(move |_, session: Arc<Session>, cause| departures.note(&session, cause))
            .build_with_hasher(BuildHasherDefault::default());
        Self { moka, generations: Generations::new() }
    }

    pub(super) fn get(&self, digest: &TokenDigest) -> Option<Arc<Session>> {
        self.moka.get(digest)
    }

    /// Whether it is here; asking is no use of it.
    pub(super) fn holds(&self, digest: &TokenDigest) -> bool {
        self.moka.contains_key(digest)
    }

    /// Takes in what the store answered, unless it was changed since its generation was `asked_at`. Whether it is in.
    pub(super) fn insert(&self, session: &Arc<Session>, asked_at: Generation) -> bool {
        let digest = session.digest();
        if self.generations.of(digest) != asked_at {
            return false;
        }
        self.moka.insert(*digest, Arc::clone(session));
        let unchanged = self.generations.of(digest) == asked_at;
        if !unchanged {
            self.take_back(digest);
        }
        unchanged
    }

    /// Removes what should not have come in. Who has found it meanwhile is not to find it again.
    pub(super) fn take_back(&self, digest: &TokenDigest) {
        self.moka.invalidate(digest);
        self.generations.raise(digest);
    }

    /// Removes what is over, or doubtful. The store says the same.
    pub(super) fn remove(&self, digest: &TokenDigest) {
        self.moka.invalidate(digest);
    }

    /// Removes what was changed in the store, and sees to it that no answer under way brings it back.
    pub(super) fn drop_changed(&self, digest: &TokenDigest) -> Option<Arc<Session>> {
        self.generations.raise(digest);
        let removed = self.moka.remove(digest);
        self.generations.raise(digest);
        removed
    }

    /// The same for all.
    pub(super) fn drop_all(&self) {
        self.generations.raise_all();
        self.moka.invalidate_all();
        self.generations.raise_all();
    }

    /// Does all upkeep that is due and says how many sessions are left.
    #[cfg(test)]
    pub(super) fn settle(&self) -> u64 {
        self.moka.run_pending_tasks();
        self.moka.entry_count()
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

    /// Puts the end off, but only once half the slack is used up: each change sets a timer, and this is nearly every request.
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
    use crate::model::{AppId, Identity, OpenId, Terms, Timestamp, UserKey, UserTag};

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
