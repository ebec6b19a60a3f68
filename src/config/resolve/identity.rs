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
        phone: fields.parsed("phone", default.phone, header),
    };
    let pairs = [
        ("app_id", &names.app_id, "openid", &names.openid),
        ("unionid", &names.unionid, "openid", &names.openid),
        ("unionid", &names.unionid, "app_id", &names.app_id),
        ("phone", &names.phone, "openid", &names.openid),
        ("phone", &names.phone, "app_id", &names.app_id),
        ("phone", &names.phone, "unionid", &names.unionid),
    ];
    for (later, name, earlier, before) in pairs {
        // The fault lies with a key that the file has, not with a default.
        let (key, other) = if fields.has(later) { (later, earlier) } else { (earlier, later) };
        if let Some(fault) = taken_for(name, before, other) {
            let line = fields.line_of(key).unwrap_or(fields.line);
            fields.error(line, key, fault);
        }
    }
    let section = fields.section("assertion");
    let line = section.line_of("header").unwrap_or(section.line);
    let assertion = assertion::assertion(section);
    if let Some(assertion) = &assertion {
        let all = [
            (&names.openid, "openid"),
            (&names.app_id, "app_id"),
            (&names.unionid, "unionid"),
            (&names.phone, "phone"),
        ];
        if let Some(fault) = all.into_iter().find_map(|(name, key)| taken_for(&assertion.header, name, key)) {
            fields.error(line, "assertion.header", fault);
        }
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
    let read = as_read(&name);
    if TAKEN.contains(&read.as_str()) || TAKEN_FAMILIES.iter().any(|family| read.starts_with(family)) {
        return Err("has another meaning already; choose a name of your own".to_owned());
    }
    Ok(name)
}

/// What is wrong with a name that could be taken for that of another key.
fn taken_for(name: &HeaderName, other: &HeaderName, key: &str) -> Option<String> {
    if name == other {
        return Some(format!("is the same header as identity.{key}"));
    }
    let same = as_read(name) == as_read(other);
    same.then(|| {
        format!("is the same header as identity.{key} to backends that read all marks as one, as CGI and WSGI do")
    })
}

/// A name as backends read it that can't tell one mark from another. What clients send is compared in the same way.
fn as_read(name: &HeaderName) -> String {
    name.as_str().replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}
