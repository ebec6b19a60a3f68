//! `GET /.well-known/jwks.json`: the public keys that a backend verifies signed identity with.

use bytes::Bytes;
use http::{HeaderValue, Response, header};

use super::Api;

/// How long a verifier may keep them. So long before it signs, a new key has to be published.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

pub(super) fn answer(api: &Api) -> Response<Bytes> {
    let mut response = Response::new(api.jwks.clone().unwrap_or_default());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    headers.insert(header::CACHE_CONTROL, CACHE);
    response
}
