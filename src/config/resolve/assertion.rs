//! `[identity.assertion]`: who signs, with which keys, and for how long.

use std::time::Duration;

use http::HeaderName;

use super::identity::header;
use crate::{
    config::{
        fields::{At, Fields},
        sections::Assertion,
        units,
    },
    model::{Secret, SigningKey},
};

/// What is shorter is over before it has been used; what is longer could be used for long by whoever got hold of it.
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_mins(5);

/// `iss` and `aud` are compared letter by letter, so they are letters that can be told apart.
const LONGEST_NAME: usize = 256;

/// The section, where the file has it.
pub(super) fn assertion(mut fields: Fields<'_, '_>) -> Option<Assertion> {
    let issuer = issuer(&mut fields);
    let key = key(&mut fields);
    let other_keys = other_keys(&mut fields, key.as_ref());
    let ttl = fields.parsed("ttl", Assertion::TTL, ttl);
    let header = fields.parsed("header", HeaderName::from_static(Assertion::HEADER), header);
    fields.finish();
    Some(Assertion { other_keys, ttl, header, ..Assertion::new(issuer?, key?) })
}

/// What verifiers compare: some visible characters.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > LONGEST_NAME || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("is not 1 to {LONGEST_NAME} visible ASCII characters without a space"));
    }
    Ok(text.to_owned())
}

fn issuer(fields: &mut Fields<'_, '_>) -> Option<String> {
    if fields.given() && !fields.has("issuer") {
        fields.error(fields.line, "issuer", "missing; write issuer = \"https://api.example.com\"");
    }
    fields.parsed("issuer", None, |text| name(text).map(Some))
}

fn key(fields: &mut Fields<'_, '_>) -> Option<SigningKey> {
    if fields.given() && !fields.has("key") {
        let words =
            "missing; write key = { file = \"assertion.pem\" } with what `openssl genpkey -algorithm ed25519` makes";
        fields.error(fields.line, "key", words);
    }
    let text = fields.pem("key")?;
    parsed(fields, "key", &text)
}

/// A key that stands twice was meant to be two.
fn other_keys(fields: &mut Fields<'_, '_>, key: Option<&SigningKey>) -> Vec<SigningKey> {
    let mut keys: Vec<SigningKey> = Vec::new();
    for text in fields.pems("other_keys") {
        let Some(other) = parsed(fields, "other_keys", &text) else { continue };
        if key == Some(&other) || keys.contains(&other) {
            fields.error(text.line, "other_keys", format!("has the key {} that stands here twice", other.kid()));
        }
        keys.push(other);
    }
    keys
}

fn parsed(fields: &mut Fields<'_, '_>, key: &'static str, text: &At<Secret>) -> Option<SigningKey> {
    match SigningKey::parse(&text.value) {
        Ok(key) => Some(key),
        Err(why) => {
            fields.error(text.line, key, why.to_string());
            None
        }
    }
}

fn ttl(text: &str) -> Result<Duration, String> {
    match units::duration(text)? {
        ttl if (SHORTEST..=LONGEST).contains(&ttl) => Ok(ttl),
        _ => Err("is not between 10s and 5m".to_owned()),
    }
}
