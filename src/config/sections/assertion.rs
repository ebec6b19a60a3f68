//! `[identity.assertion]`: who calls, signed.

use std::time::Duration;

use http::HeaderName;

use crate::model::SigningKey;

/// How identity is signed for the upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// Who signs, as verifiers know it: `iss`.
    pub issuer: String,
    /// Signs.
    pub key: SigningKey,
    /// Are published beside it and sign nothing: the next one, and the last.
    pub other_keys: Vec<SigningKey>,
    /// How long an assertion is good for.
    pub ttl: Duration,
    /// Carries it.
    pub header: HeaderName,
}

impl Assertion {
    /// A section with every optional key at its default.
    pub fn new(issuer: impl Into<String>, key: SigningKey) -> Self {
        Self {
            issuer: issuer.into(),
            key,
            other_keys: Vec::new(),
            ttl: Self::TTL,
            header: HeaderName::from_static(Self::HEADER),
        }
    }

    /// The default of `ttl`.
    pub const TTL: Duration = Duration::from_mins(2);

    /// The default of `header`.
    pub const HEADER: &str = "x-wx-assertion";
}
