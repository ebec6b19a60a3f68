//! One session: whose it is, when it was last used, and whether it still counts.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use super::TokenDigest;
use crate::{
    config::sections,
    model::{Identity, Timestamp},
    telemetry::UserTag,
};

/// One login of one user. A million of these are kept, so its size is held by a test.
///
/// Whoever keeps the `Arc` of one, as a connection does between two requests, asks [`Session::is_live`] each time: a
/// session that was revoked, evicted or has run out says so at once.
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
    ended: AtomicBool,
}

impl Session {
    pub(super) fn begin(
        identity: Identity,
        digest: TokenDigest,
        tag: UserTag,
        section: &sections::Sessions,
        now: Timestamp,
    ) -> Self {
        Self {
            identity,
            digest,
            created_at: now,
            tag,
            lifetime_secs: whole_secs(section.lifetime),
            idle_secs: whole_secs(section.idle),
            seen_secs: AtomicU32::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// Whose it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What stands for the user in a log line.
    pub fn tag(&self) -> UserTag {
        self.tag
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
        if self.ended.load(Ordering::Acquire) {
            return Duration::ZERO;
        }
        let idle = self.idle().saturating_sub(now.since(self.last_seen()));
        let lifetime = self.lifetime().saturating_sub(now.since(self.created_at));
        idle.min(lifetime)
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

    /// Ends it for everybody who holds it. True for the one call that did.
    pub(super) fn end(&self) -> bool {
        !self.ended.swap(true, Ordering::AcqRel)
    }

    pub(super) fn digest(&self) -> &TokenDigest {
        &self.digest
    }

    pub(super) fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_secs.into())
    }

    pub(super) fn lifetime(&self) -> Duration {
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
    use crate::{
        model::{AppId, OpenId, SystemEntropy, UserKey},
        session::SessionToken,
        telemetry::UserTagger,
    };

    const HOUR: Duration = Duration::from_hours(1);
    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn session() -> Session {
        let user = UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse("o1").unwrap() };
        let tag = UserTagger::new(None, &SystemEntropy).unwrap().tag(&user);
        let digest = SessionToken::mint(&SystemEntropy).unwrap().digest();
        let section = sections::Sessions { idle: HOUR, lifetime: 10 * HOUR, ..Default::default() };
        Session::begin(Identity { user, unionid: None }, digest, tag, &section, START)
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
    fn times_are_rounded_up_to_seconds_and_huge_ones_last_for_ever() {
        assert_eq!(whole_secs(Duration::from_millis(1)), 1);
        assert_eq!(whole_secs(Duration::from_secs(7)), 7);
        assert_eq!(whole_secs(Duration::MAX), u32::MAX);
    }
}
