//! What a token says: of itself in its head, of the caller in its claims.

use std::time::Duration;

use serde::Serialize;

use crate::{
    config::sections,
    model::{Session, SigningKey, Timestamp, UnionId},
};

/// So long a token is told again before the next one is signed, if it is good for long enough.
const TOLD_AGAIN_FOR: Duration = Duration::from_mins(1);

/// The first part of a token (RFC 7515, 4.1).
#[derive(Serialize)]
pub(super) struct Head<'a> {
    alg: &'a str,
    // The common name, not one of our own, though that would be clearer: several libraries refuse what they don't know.
    typ: &'a str,
    kid: &'a str,
}

/// The second part (RFC 7519, 4.1).
#[derive(Serialize)]
pub(super) struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    app: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unionid: Option<&'a str>,
    iat: u64,
    exp: u64,
    #[serde(skip)]
    good_for: Duration,
}

impl<'a> Head<'a> {
    pub(super) fn of(key: &'a SigningKey) -> Self {
        Self { alg: key.algorithm(), typ: "JWT", kid: key.kid() }
    }
}

impl<'a> Claims<'a> {
    /// Of the session's owner, for one upstream. They end with the session at the latest: nobody can know yet whether it
    /// will be used again.
    pub(super) fn of(
        session: &'a Session,
        section: &'a sections::Assertion,
        audience: &'a str,
        now: Timestamp,
    ) -> Self {
        let identity = session.identity();
        let good_for = section.ttl.min(session.expires_in(now));
        Self {
            iss: &section.issuer,
            aud: audience,
            sub: identity.user.openid.as_str(),
            app: identity.user.app.as_str(),
            unionid: identity.unionid.as_ref().map(UnionId::as_str),
            iat: now.as_secs(),
            exp: (now + good_for).as_secs(),
            good_for,
        }
    }

    /// When they are to be signed anew, after half of their time at the latest, so that what an upstream receives is good
    /// for at least the other half.
    pub(super) fn renew_at(&self, now: Timestamp) -> Timestamp {
        now + TOLD_AGAIN_FOR.min(self.good_for / 2)
    }
}
