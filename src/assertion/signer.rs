//! What all workers share: the key that signs, and what is published of it.
//!
//! Only the joining of three texts is our own. A library for tokens would bring its claims, its verifier and its other
//! algorithms along, and reads the key anew for each signature, which makes one half as dear again at least.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::{
    Error,
    claims::{Claims, Head},
    jwks,
};
use crate::{
    config::{Config, sections},
    model::{Session, Timestamp},
};

/// Signs for the upstreams.
#[derive(Debug)]
pub struct Signer {
    section: sections::Assertion,
    /// The first part of every token, with its dot.
    head: String,
    /// Whom a token for each upstream is meant for.
    audiences: Vec<String>,
    jwks: Bytes,
}

impl Signer {
    /// For the upstreams of this configuration, where it has identity signed.
    pub fn of(config: &Config) -> Result<Option<Self>, Error> {
        config.assertion.as_ref().map(|section| Self::new(section, &config.upstreams)).transpose()
    }

    /// For these upstreams, whose places are their numbers.
    pub fn new(section: &sections::Assertion, upstreams: &[sections::Upstream]) -> Result<Self, Error> {
        let mut head = String::new();
        append(&Head::of(&section.key), &mut head)?;
        head.push('.');
        let audiences = upstreams.iter().map(|upstream| upstream.audience().to_owned()).collect();
        Ok(Self { section: section.clone(), head, audiences, jwks: jwks::set(section)? })
    }

    /// The public keys, as verifiers fetch them: the one that signs, then the others.
    pub fn jwks(&self) -> &Bytes {
        &self.jwks
    }

    /// The header that carries a token.
    pub(super) fn header(&self) -> &HeaderName {
        &self.section.header
    }

    /// A token that tells `upstream` whose `session` this is, and when the next one is due.
    pub(super) fn sign(
        &self,
        session: &Session,
        upstream: usize,
        now: Timestamp,
    ) -> Result<(HeaderValue, Timestamp), Error> {
        let audience = self.audiences.get(upstream).ok_or(Error::NoUpstream)?;
        let claims = Claims::of(session, &self.section, audience, now);
        let mut token = self.head.clone();
        append(&claims, &mut token)?;
        let signature = self.section.key.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        let mut value = HeaderValue::from_maybe_shared(Bytes::from(token)).map_err(|_| Error::Header)?;
        // Whoever has it can be its subject at one upstream for a while.
        value.set_sensitive(true);
        Ok((value, claims.renew_at(now)))
    }
}

/// Appends a part of a token.
fn append(part: &impl serde::Serialize, token: &mut String) -> Result<(), Error> {
    let json = serde_json::to_vec(part).map_err(Error::Encode)?;
    URL_SAFE_NO_PAD.encode_string(json, token);
    Ok(())
}
