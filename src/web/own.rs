//! Answers of the listeners that are not the public's: whole in memory, for no cache, with the request's id.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::{Problem, headers::X_REQUEST_ID};

/// What JSON is called.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// An answer with this in it.
pub fn respond(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// A 200 with JSON in it; an error where it can't be written as such.
pub fn json(value: &impl Serialize, id: &str) -> serde_json::Result<Response<Bytes>> {
    let mut response = respond(StatusCode::OK, JSON, serde_json::to_vec(value)?.into());
    mark(&mut response, id);
    Ok(response)
}

/// A 200 with this JSON.
pub fn json_text(text: String, id: &str) -> Response<Bytes> {
    let mut response = respond(StatusCode::OK, JSON, text.into());
    mark(&mut response, id);
    response
}

/// A no, in the shape of those of the public listener.
pub fn refusal(status: StatusCode, problem: Problem, id: &str) -> Response<Bytes> {
    let mut response = respond(status, JSON, problem.to_json(id));
    mark(&mut response, id);
    response
}

/// An id to find a request by in the log: 32 hex digits of 16 random bytes.
pub fn id_of(random: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(random))
}

fn mark(response: &mut Response<Bytes>, id: &str) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(X_REQUEST_ID, id);
    }
}

/// How documents list refusals, for the tests that hold them to it.
#[cfg(test)]
pub(crate) mod documents {
    use std::collections::BTreeSet;

    use super::{Bytes, Response};

    /// The status, the code and the headers of each.
    pub(crate) fn rows(document: &str) -> BTreeSet<Vec<String>> {
        let rows = document.lines().filter(|row| row.starts_with("| ") && row[2..].starts_with(['4', '5']));
        rows.map(|row| row.split('|').skip(1).take(3).map(|cell| cell.trim().replace('`', "")).collect()).collect()
    }

    /// What the row of this one has to be.
    pub(crate) fn row_of(refusal: &Response<Bytes>) -> Vec<String> {
        let names = [("www-authenticate", "WWW-Authenticate"), ("allow", "Allow"), ("retry-after", "Retry-After")];
        let headers = names.iter().filter(|(name, _)| refusal.headers().contains_key(*name)).map(|(_, shown)| *shown);
        let body: serde_json::Value = serde_json::from_slice(refusal.body()).expect("JSON");
        let code = body["code"].as_str().expect("a code").to_owned();
        vec![refusal.status().as_u16().to_string(), code, headers.collect::<String>()]
    }
}
