//! One session: whose it is, when it was last used, and whether it still counts.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{Identity, Timestamp};

/// The SHA-256 of a token. It opens nothing, but it does name one session, so it isn't printed either.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest that these bytes are.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Hash for TokenDigest {
    /// The first eight bytes as they are: they are as evenly spread as any hash of them, and a client can't choose
    /// under which digest something is kept.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_le_bytes(self.0.first_chunk().copied().unwrap_or_default()));
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

/// What stands for one user of one app in a log line: 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserTag([u8; 8]);

impl UserTag {
    /// The tag that these bytes are.
    pub const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The tag's bytes, for whoever writes them out as hex digits without the formatting machinery.
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for UserTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for UserTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserTag({self})")
    }
}

/// How long a session lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// It ends when unused this long.
    pub idle: Duration,
    /// It ends this long after its login, used or not.
    pub lifetime: Duration,
}

/// One login of one user. A million of these are kept, so its size is held by a test.
///
/// An `Arc` of one is good for the request that it was found for. Whoever keeps it longer, as a tunnel does, watches it with
/// `Sessions::watch`: a session may be ended or used by somebody who has another copy of it.
#[derive(Debug)]
pub struct Session {
    identity: Identity,
    digest: TokenDigest,
    created_at: Timestamp,
    tag: UserTag,
    lifetime_secs: u32,
    idle_secs: u32,
    /// When it was last used, in whole seconds after `created_at`.
    seen_secs: AtomicU32,
    /// The use that was written down last, like `seen_secs`; and the bit [`ENDED`]. Together, since a byte more would cost
    /// sixteen.
    written: AtomicU32,
}

/// The bit of `written` that is set once the session was ended. The other 31 count the seconds of 68 years.
const ENDED: u32 = 1 << 31;

/// A use is written down at most so many times in the idle time.
const WRITES_PER_IDLE: u32 = 20;

impl Session {
    /// A session that begins `now`.
    pub fn begin(identity: Identity, digest: TokenDigest, tag: UserTag, terms: Terms, now: Timestamp) -> Self {
        Self {
            identity,
            digest,
            created_at: now,
            tag,
            lifetime_secs: whole_secs(terms.lifetime),
            idle_secs: whole_secs(terms.idle),
            seen_secs: AtomicU32::new(0),
            written: AtomicU32::new(0),
        }
    }

    /// A session that began at `created_at` and was last used at `last_seen`, as a store kept it.
    pub fn restore(
        identity: Identity,
        digest: TokenDigest,
        tag: UserTag,
        terms: Terms,
        created_at: Timestamp,
        last_seen: Timestamp,
    ) -> Self {
        let session = Self::begin(identity, digest, tag, terms, created_at);
        session.touch(last_seen);
        session.claim_writing();
        session
    }

    /// Whose it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What stands for the user in a log line.
    pub fn tag(&self) -> UserTag {
        self.tag
    }

    /// The tag changes with the key that it is made with, which is another one after each start where none is configured.
    pub fn set_tag(&mut self, tag: UserTag) {
        self.tag = tag;
    }

    /// When the login was.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// When it was last used, at most a second too early.
    pub fn last_seen(&self) -> Timestamp {
        self.created_at + Duration::from_secs(self.seen_secs.load(Ordering::Relaxed).into())
    }

    /// How long it still lasts if it is not used again: the sooner of idle and lifetime, zero once it is over.
    pub fn expires_in(&self, now: Timestamp) -> Duration {
        if self.is_ended() {
            return Duration::ZERO;
        }
        let idle = self.idle().saturating_sub(now.since(self.last_seen()));
        let lifetime = self.lifetime().saturating_sub(now.since(self.created_at));
        idle.min(lifetime)
    }

    /// Whether it is over, however recently it was used without our knowing: it was ended, or its lifetime is.
    pub fn is_over_for_good(&self, now: Timestamp) -> bool {
        self.is_ended() || now.since(self.created_at) >= self.lifetime()
    }

    /// Whether it still counts.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.expires_in(now).is_zero()
    }

    /// Notes that it was used. Written only when a new second has begun, so that the workers that serve one user
    /// don't pass a cache line to and fro on every request.
    pub fn touch(&self, now: Timestamp) {
        let secs = u32::try_from(now.since(self.created_at).as_secs()).unwrap_or(u32::MAX);
        if secs > self.seen_secs.load(Ordering::Relaxed) {
            self.seen_secs.fetch_max(secs, Ordering::Relaxed);
        }
    }

    /// Whether the last use is due to be written down: a twentieth of the idle time has passed since the one that was written
    /// before. True for one caller, who then writes it.
    pub fn claim_writing_when_due(&self) -> bool {
        self.claim_writing_after((self.idle_secs / WRITES_PER_IDLE).max(1))
    }

    /// Whether the last use is not written down yet. True for one caller, who then writes it.
    pub fn claim_writing(&self) -> bool {
        self.claim_writing_after(1)
    }

    /// What was claimed was not written: the next use is due at once.
    pub fn give_writing_back(&self) {
        self.written.fetch_and(ENDED, Ordering::AcqRel);
    }

    fn claim_writing_after(&self, secs: u32) -> bool {
        let (seen, written) = (self.seen_secs.load(Ordering::Relaxed) & !ENDED, self.written.load(Ordering::Relaxed));
        // An ended session's number is larger than any use.
        seen >= written.saturating_add(secs)
            && self.written.compare_exchange(written, seen, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Whether it was ended, as opposed to having run out.
    pub fn is_ended(&self) -> bool {
        self.written.load(Ordering::Acquire) & ENDED != 0
    }

    /// Ends it for everybody who holds it. True for the one call that did.
    pub fn end(&self) -> bool {
        self.written.fetch_or(ENDED, Ordering::AcqRel) & ENDED == 0
    }

    /// Under which name it is kept.
    pub fn digest(&self) -> &TokenDigest {
        &self.digest
    }

    /// How long it may be unused.
    pub fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_secs.into())
    }

    /// How long it may last at most.
    pub fn lifetime(&self) -> Duration {
        Duration::from_secs(self.lifetime_secs.into())
    }
}

/// A begun second counts as a whole one; 136 years is for ever.
fn whole_secs(duration: Duration) -> u32 {
    let secs = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    u32::try_from(secs).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppId, OpenId, UserKey};

    const HOUR: Duration = Duration::from_hours(1);
    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn session() -> Session {
        let user = UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse("o1").unwrap() };
        let terms = Terms { idle: HOUR, lifetime: 10 * HOUR };
        let (digest, tag) = (TokenDigest::new([7; 32]), UserTag::new([0; 8]));
        Session::begin(Identity { user, unionid: None }, digest, tag, terms, START)
    }

    #[test]
    fn a_session_stays_small() {
        // With the two counts of its Arc this fills a 160-byte size class of the allocator to the last byte.
        assert_eq!(size_of::<Session>(), 144);
    }

    #[test]
    fn it_ends_when_unused_for_the_idle_time() {
        let session = session();
        assert_eq!(session.expires_in(START), HOUR);
        assert!(session.is_live(START + Duration::from_millis(3_599_999)));
        assert!(!session.is_live(START + HOUR));
        assert_eq!(session.expires_in(START + 2 * HOUR), Duration::ZERO);
    }

    #[test]
    fn use_puts_the_end_off_but_not_beyond_the_lifetime() {
        let session = session();
        for half_hours in 1..20 {
            let now = START + HOUR / 2 * half_hours;
            assert!(session.is_live(now), "after {half_hours} half hours");
            session.touch(now);
            assert_eq!(session.expires_in(now), HOUR.min(HOUR / 2 * (20 - half_hours)));
        }
        assert!(!session.is_live(START + 10 * HOUR));
    }

    #[test]
    fn last_seen_moves_by_whole_seconds_and_never_back() {
        let session = session();
        session.touch(START + Duration::from_millis(999));
        assert_eq!(session.last_seen(), START);
        session.touch(START + Duration::from_millis(5_700));
        session.touch(START + Duration::from_secs(3));
        assert_eq!(session.last_seen(), START + Duration::from_secs(5));
    }

    #[test]
    fn a_restored_session_was_used_when_the_store_says() {
        let fresh = session();
        let (identity, digest, tag) = (fresh.identity().clone(), *fresh.digest(), fresh.tag());
        let terms = Terms { idle: fresh.idle(), lifetime: fresh.lifetime() };
        let restored = Session::restore(identity, digest, tag, terms, START, START + HOUR / 2);
        assert_eq!(restored.last_seen(), START + HOUR / 2);
        assert!(restored.is_live(START + HOUR));
        assert!(!restored.is_live(START + HOUR / 2 * 3));
    }

    #[test]
    fn a_clock_that_steps_back_ends_nothing() {
        let session = session();
        session.touch(START + HOUR / 2);
        assert_eq!(session.expires_in(START), HOUR);
    }

    #[test]
    fn an_ended_session_is_dead_and_no_use_revives_it() {
        let session = session();
        assert!(session.end(), "the first call ends it");
        assert!(!session.end(), "there is nothing left for a second");
        session.touch(START + Duration::from_secs(30));
        assert!(!session.is_live(START));
        assert_eq!(session.expires_in(START), Duration::ZERO);
    }

    #[test]
    fn a_use_is_due_to_be_written_once_per_twentieth_of_the_idle_time() {
        let (session, twentieth) = (session(), HOUR / 20);
        session.touch(START + twentieth.checked_sub(Duration::from_secs(1)).unwrap());
        assert!(!session.claim_writing_when_due(), "too soon");
        session.touch(START + twentieth);
        assert!(session.claim_writing_when_due() && !session.claim_writing_when_due(), "one does it");
        session.touch(START + twentieth + Duration::from_secs(1));
        assert!(!session.claim_writing_when_due());
        assert!(session.claim_writing() && !session.claim_writing(), "who asks for less gets less");
        session.give_writing_back();
        assert!(session.claim_writing_when_due(), "it was not written after all");
    }

    #[test]
    fn nothing_is_written_of_an_ended_session_and_giving_back_does_not_revive_it() {
        let session = session();
        session.touch(START + HOUR / 2);
        session.end();
        assert!(!session.claim_writing_when_due() && !session.claim_writing());
        session.give_writing_back();
        assert!(session.is_ended());
    }

    #[test]
    fn what_a_store_kept_is_written_already() {
        let fresh = session();
        let terms = Terms { idle: fresh.idle(), lifetime: fresh.lifetime() };
        let (identity, tag) = (fresh.identity().clone(), fresh.tag());
        let restored = Session::restore(identity, *fresh.digest(), tag, terms, START, START + HOUR / 2);
        assert!(!restored.claim_writing());
    }

    #[test]
    fn a_session_that_was_ended_or_outlived_its_lifetime_is_over_for_good_and_an_unused_one_is_not() {
        let (unused, ended) = (session(), session());
        ended.end();
        assert!(ended.is_over_for_good(START));
        assert!(!unused.is_live(START + 9 * HOUR) && !unused.is_over_for_good(START + 9 * HOUR));
        assert!(unused.is_over_for_good(START + 10 * HOUR));
    }

    #[test]
    fn times_are_rounded_up_to_seconds_and_huge_ones_last_for_ever() {
        assert_eq!(whole_secs(Duration::from_millis(1)), 1);
        assert_eq!(whole_secs(Duration::from_secs(7)), 7);
        assert_eq!(whole_secs(Duration::MAX), u32::MAX);
    }
}
