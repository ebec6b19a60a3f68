//! `GET /v1/authorize`: yes, the request that another proxy holds may pass.
//!
//! What is special about it happens before and after: the rule is the original request's, and who calls is told in the
//! headers of the answer. A no looks like any other.

use bytes::Bytes;
use http::{HeaderValue, Response, header};

pub(super) fn answer() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
