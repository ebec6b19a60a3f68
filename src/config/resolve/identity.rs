//! `[identity]`: header names that nothing else in HTTP, and nothing else of ours, has a use for.

use http::HeaderName;

use super::assertion;
use crate::config::{
    fields::Fields,
    sections::{Assertion, IdentityHeaders},
};

/// Headers whose meaning is taken: by HTTP, by proxies, by browsers, or by wxgate.
const TAKEN: [&str; 57] = [
    "accept",
    "age",
    "allow",
    "alt-svc",
    "authorization",
    "cache-control",
    "connection",
    "cookie",
    "date",
    "dnt",
    "early-data",
    "etag",
    "expect",
    "expires",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "keep-alive",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "te",
    "trailer",
    "traceparent",
    "tracestate",
    "baggage",
    "transfer-encoding",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "client-ip",
    "true-client-ip",
    "x-client-ip",
    "x-real-ip",
    "x-request-id",
    "x-correlation-id",
    "x-http-method-override",
    "x-rewrite-url",
    "x-requested-with",
    "x-wx-source",
    "idempotency-key",
];

const TAKEN_FAMILIES: [&str; 9] =
    ["accept-", "access-control-", "content-", "if-", "proxy-", "sec-", "x-forwarded-", "x-original-", "x-accel-"];

pub(super) fn identity(mut fields: Fields<'_, '_>) -> (IdentityHeaders, Option<Assertion>) {
    let default = IdentityHeaders::default();
    let names = IdentityHeaders {
        openid: fields.parsed("openid", default.openid, header),
        app_id: fields.parsed("app_id", default.app_id, header),
        unionid: fields.parsed("unionid", default.unionid, header),
    };
    let pairs = [
        ("app_id", "openid", names.app_id == names.openid),
        ("unionid", "openid", names.unionid == names.openid),
        ("unionid", "app_id", names.unionid == names.app_id),
    ];
    for (later, earlier, same) in pairs {
        if same {
            // The fault lies with a key that the file has, not with a default.
            let (key, other) = if fields.has(later) { (later, earlier) } else { (earlier, later) };
            let line = fields.line_of(key).unwrap_or(fields.line);
            fields.error(line, key, format!("is the same header as identity.{other}"));
        }
    }
    let section = fields.section("assertion");
    let line = section.line_of("header").unwrap_or(section.line);
    let assertion = assertion::assertion(section);
    if let Some(assertion) = &assertion
        && let Some((_, key)) = [(&names.openid, "openid"), (&names.app_id, "app_id"), (&names.unionid, "unionid")]
            .into_iter()
            .find(|(name, _)| **name == assertion.header)
    {
        fields.error(line, "assertion.header", format!("is the same header as identity.{key}"));
    }
    fields.finish();
    (names, assertion)
}

pub(super) fn header(text: &str) -> Result<HeaderName, String> {
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        return Err("is not a header name".to_owned());
    };
    // CGI and WSGI read _ and - as one, and many servers drop headers with _ altogether.
    if text.contains('_') {
        return Err("must do without _; write -".to_owned());
    }
    let lower = name.as_str();
    if TAKEN.contains(&lower) || TAKEN_FAMILIES.iter().any(|family| lower.starts_with(family)) {
        return Err("has another meaning already; choose a name of your own".to_owned());
    }
    Ok(name)
}
