//! The header names that the `http` crate does not know, each written once.

use http::HeaderName;

/// Names one request, in our log, upstream and in the answer.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static(REQUEST_ID);
/// The same as text.
pub const REQUEST_ID: &str = "x-request-id";
/// The addresses a request came through, the client's first.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme that the client used.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The host that the client asked for.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The port that the client asked for.
pub const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// The method of the request that a proxy asks about.
pub const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
/// The target of the request that a proxy asks about.
pub const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
/// Sender, scheme and host in one, RFC 7239.
pub const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
/// nginx's way of naming the client.
pub const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// `CloudRun`'s word for where a call came from.
pub const X_WX_SOURCE: HeaderName = HeaderName::from_static("x-wx-source");
/// Another name for `X-Forwarded-Method`.
pub const X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
/// Another name for `X-Forwarded-Host`, where a proxy asks about a request.
pub const X_ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-original-host");
/// A claim about which path was asked for; some backends route by it.
pub const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
/// A claim about which path was asked for; some backends route by it.
pub const X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");

/// Headers that concern one connection and no other (RFC 9110, 7.6.1). `Expect` is among them because it is for us to answer: the
/// client's body is asked for when the upstream takes it, not before. Over HTTP/2 hyper has no way to ask, and a client sends its
/// body without being asked, after a while (RFC 9110, 10.1.1).
pub const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-authorization",
    "proxy-authenticate",
    "keep-alive",
    // By mistake: what browsers once sent to proxies.
    "proxy-connection",
    // Goes with an upgrade to HTTP/2 in the clear.
    "http2-settings",
];
