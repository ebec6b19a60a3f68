//! The small JSON bodies that our endpoints take.

use bytes::Bytes;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use crate::web::RequestBody;

use super::Error;

/// The most that an endpoint of ours reads. The largest request we know is a tenth of it.
const MAX_BYTES: u64 = 4 * 1024;

/// Reads the whole body.
pub(super) async fn read(mut body: RequestBody) -> Result<Bytes, Error> {
    body.limit(MAX_BYTES).map_err(Error::Body)?;
    Ok(body.collect().await.map_err(Error::Body)?.to_bytes())
}

/// Decodes JSON. The parser's own message stays inside: it may quote what was sent.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], expected: &'static str) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|_| Error::BadInput(expected))
}
