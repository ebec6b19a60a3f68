//! The public keys, as verifiers fetch them (RFC 7517).

use bytes::Bytes;
use serde::Serialize;

use super::Error;
use crate::{
    config::sections,
    model::{PublicKey, SigningKey},
};

#[derive(Serialize)]
struct Set<'a> {
    keys: Vec<Jwk<'a>>,
}

#[derive(Serialize)]
struct Jwk<'a> {
    kty: &'a str,
    crv: &'a str,
    x: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<&'a str>,
    kid: &'a str,
    alg: &'a str,
    r#use: &'a str,
}

/// The set of them: the key that signs, and those that signed before or will next.
pub(super) fn set(section: &sections::Assertion) -> Result<Bytes, Error> {
    let keys = std::iter::once(&section.key).chain(&section.other_keys).map(Jwk::of).collect();
    serde_json::to_vec(&Set { keys }).map(Bytes::from).map_err(Error::Encode)
}

impl<'a> Jwk<'a> {
    fn of(key: &'a SigningKey) -> Self {
        let (kty, crv, x, y) = match key.public() {
            PublicKey::Ed25519 { x } => ("OKP", "Ed25519", x, None),
            PublicKey::P256 { x, y } => ("EC", "P-256", x, Some(y.as_str())),
        };
        Self { kty, crv, x, y, kid: key.kid(), alg: key.algorithm(), r#use: "sig" }
    }
}
