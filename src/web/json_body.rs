//! A small JSON object as the body of a request.

use bytes::Bytes;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use super::{BodyError, RequestBody};

/// Reads the whole body, which may have so many bytes.
pub async fn read(mut body: RequestBody, max: u64) -> Result<Bytes, BodyError> {
    body.limit(max)?;
    Ok(body.collect().await?.to_bytes())
}

/// What an object says. What the parser would say of another is not told: it may quote what was sent.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    // serde would take an array for an object, its items in the order of the fields.
    if bytes.trim_ascii_start().starts_with(b"{") { serde_json::from_slice(bytes).ok() } else { None }
}
