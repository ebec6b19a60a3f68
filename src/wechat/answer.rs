//! What all of WeChat's answers have in common: JSON, and an errcode in it where there is nothing else to tell.
//!
//! An answer is read leniently where WeChat and its kin are known to vary. WeChat says failures with HTTP 200 as well, and
//! labels its JSON as text, so the body alone decides.

use serde::Deserialize;
use serde_json::Value;

use super::error::{Error, Flaw, Refusal, rid_of};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// What an errcode means, which depends on the call.
pub(super) type Sort = fn(Refusal) -> Error;

/// Reads an answer's body, where it has no errcode other than 0.
///
/// `errcode` may be absent, null, a number or a number in quotes; fields that `T` does not have are passed over.
pub(super) fn decode<'b, T: Deserialize<'b>>(body: &'b [u8], sort: Sort) -> Result<T, Error> {
    let verdict: Verdict = object(body)?;
    match verdict.errcode()? {
        0 => object(body),
        errcode => Err(sort(Refusal { errcode, rid: verdict.errmsg.as_str().and_then(rid_of) })),
    }
}

/// An answer as a whole: another status than 200 is believed only where the body has an errcode to say.
pub(super) fn under<T>(status: u16, read: Result<T, Error>) -> Result<T, Error> {
    match read {
        read if status == 200 => read,
        Err(error) if error.refusal().is_some() => Err(error),
        Ok(_) | Err(_) => Err(Error::BrokenAnswer(Flaw::Status(status))),
    }
}

/// A text that may be left out. Empty counts as that.
pub(super) fn optional(field: &'static str, value: Value) -> Result<Option<String>, Flaw> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(Flaw::WrongType(field)),
    }
}

/// A text that has to be there.
pub(super) fn required(field: &'static str, value: Value) -> Result<String, Flaw> {
    optional(field, value)?.ok_or(Flaw::Missing(field))
}

/// A number, which may stand in quotes. Absent or empty is none.
pub(super) fn whole_number(field: &'static str, value: &Value) -> Result<Option<i64>, Flaw> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.map(Some).ok_or(Flaw::WrongType(field))
}

/// The derived readers refuse a field that comes twice, which is wanted: two openids in one answer would leave it to
/// chance who logs in. They would take an array's elements for the fields in order, which is not. The parser's own error
/// is dropped, because it may quote the text it failed on.
fn object<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Error> {
    let body = body.strip_prefix(BOM).unwrap_or(body);
    let looks_like_object = body.trim_ascii_start().starts_with(b"{");
    let read = looks_like_object.then(|| serde_json::from_slice(body).ok()).flatten();
    read.ok_or(Error::BrokenAnswer(Flaw::NotJson))
}

/// Whether there is anything else to read.
#[derive(Deserialize)]
struct Verdict {
    #[serde(default)]
    errcode: Value,
    #[serde(default)]
    errmsg: Value,
}

impl Verdict {
    fn errcode(&self) -> Result<i64, Error> {
        whole_number("errcode", &self.errcode).map(Option::unwrap_or_default).map_err(Error::BrokenAnswer)
    }
}
