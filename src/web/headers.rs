//! The header names that the `http` crate does not know, each written once.

use http::HeaderName;

/// Names one request, in our log, upstream and in the answer.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
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
/// Of one hop, by custom.
pub const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// Of one hop, by mistake: what browsers once sent to proxies.
pub const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// Of one hop: goes with an upgrade to HTTP/2 in the clear.
pub const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// Another name for `X-Forwarded-Method`.
pub const X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
/// Another name for `X-Forwarded-Host`, where a proxy asks about a request.
pub const X_ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-original-host");
/// A claim about which path was asked for; some backends route by it.
pub const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
/// A claim about which path was asked for; some backends route by it.
pub const X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
