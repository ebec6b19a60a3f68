//! `[webhook]`: who is told of changes, and with what proof that it is told by us.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use url::{Host, Url};

use super::upstreams;
use crate::{
    config::{
        fields::{At, Fields},
        sections::Webhook,
    },
    model::Secret,
};

/// What the Standard Webhooks take as a key, in bytes.
const KEY: std::ops::RangeInclusive<usize> = 24..=64;

/// What is due later, the stores take for due now: somebody has moved the clock back.
const LONGEST_RETRY: Duration = Duration::from_hours(24);

const FORM: &str = "must be whsec_ and the base64 of 24 to 64 random bytes, as `openssl rand -base64 32` makes them";

pub(super) fn webhook(mut fields: Fields<'_, '_>) -> Option<Webhook> {
    let given = fields.given();
    if given && !fields.has("url") {
        fields.error(fields.line, "url", "missing; write url = \"https://app.internal/hooks/wxgate\"");
    }
    if given && !fields.has("secret") {
        fields.error(fields.line, "secret", "missing; write secret = { env = \"NAME\" } or { file = \"path\" }");
    }
    let url = url(&mut fields);
    let secret = fields.secret("secret").and_then(|secret| checked(&mut fields, "secret", secret));
    let old = fields.secrets("old_secrets");
    let old_secrets = old.into_iter().filter_map(|secret| checked(&mut fields, "old_secrets", secret)).collect();
    let ca = upstreams::pem(&mut fields, "ca", "CERTIFICATE");
    let default = Webhook::new(Url::parse("https://localhost").ok()?, Secret::new(""));
    let first_retry = fields.duration_up_to("first_retry", default.first_retry, LONGEST_RETRY);
    let longest_retry = fields.duration_up_to("longest_retry", default.longest_retry.max(first_retry), LONGEST_RETRY);
    if longest_retry < first_retry {
        let line = fields.line_of("longest_retry").unwrap_or(fields.line);
        fields.error(line, "longest_retry", "is shorter than first_retry, which is where it begins");
    }
    let rest = Webhook {
        old_secrets,
        ca,
        timeout: fields.duration_up_to("timeout", default.timeout, Duration::from_mins(1)),
        first_retry,
        longest_retry,
        max_age: fields.duration("max_age", default.max_age),
        max_waiting: fields.whole("max_waiting", default.max_waiting, 1..=10_000_000),
        max_per_user: fields.whole("max_per_user", default.max_per_user, 2..=1000),
        in_flight: fields.whole("in_flight", default.in_flight, 1..=1000),
        ..default
    };
    fields.finish();
    Some(Webhook { url: url?, secret: secret?, ..rest })
}

/// The address is not shown where it is refused: it may have a secret in it.
fn url(fields: &mut Fields<'_, '_>) -> Option<Url> {
    let At { line, value } = fields.text("url")?;
    let refused = match Url::parse(value) {
        Ok(url) if !matches!(url.scheme(), "https" | "http") => "must start with https://",
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "must not have a user or password in it; what is sent is signed"
        }
        Ok(url) if url.fragment().is_some() => "must not have a # in it",
        Ok(url) => {
            if url.scheme() == "http" && !is_here(&url) {
                fields.warn(line, "url", "whoever is on the way reads profiles; better https://");
            }
            return Some(url);
        }
        Err(_) => "is not a URL (write https://app.internal/hooks/wxgate)",
    };
    fields.error(line, "url", refused);
    None
}

/// Whether what is sent there never leaves this machine.
pub(super) fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn checked(fields: &mut Fields<'_, '_>, key: &str, At { line, value }: At<Secret>) -> Option<Secret> {
    let bytes = value.expose().strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
    if bytes.is_some_and(|bytes| KEY.contains(&bytes.len())) {
        return Some(value);
    }
    fields.error(line, key, FORM);
    None
}
