//! The fields of an answer. They are read leniently where platforms and their kin are known to vary, and strictly where
//! something of it goes on into the house: a session exists only with an openid and a session_key that are what they claim
//! to be.

use serde::Deserialize;
use serde_json::Value;

use super::{CodeSession, Error, Flaw};
use crate::model::{InvalidId, OpenId, SessionKey, UnionId};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Longest session_key that is taken. WeChat's have 24 bytes.
const MAX_SESSION_KEY: usize = 256;

/// A body that is one object. The parser's own error is dropped, because it may quote the text it failed on.
///
/// A derived reader refuses a field that comes twice, which is wanted: two openids in one answer would leave it to chance
/// who logs in.
pub(crate) fn object<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Error> {
    let body = body.strip_prefix(BOM).unwrap_or(body);
    // The derived reader would take an array's elements for the fields in order.
    let looks_like_object = body.trim_ascii_start().starts_with(b"{");
    let answer = looks_like_object.then(|| serde_json::from_slice(body).ok()).flatten();
    answer.ok_or(Error::BrokenAnswer(Flaw::NotJson))
}

/// The number that says what failed; 0 is nothing. It may be absent, null, a number or a number in quotes.
pub(crate) fn number(field: &'static str, value: &Value) -> Result<i64, Error> {
    whole_number(field, value).map(Option::unwrap_or_default).map_err(Error::BrokenAnswer)
}

/// A number, which may stand in quotes. Absent or empty is none.
pub(crate) fn whole_number(field: &'static str, value: &Value) -> Result<Option<i64>, Flaw> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.map(Some).ok_or(Flaw::WrongType(field))
}

/// A login, if its fields are what they claim to be. Empty texts count as absent.
pub(crate) fn session(openid: Value, unionid: Value, session_key: Value) -> Result<CodeSession, Flaw> {
    let openid = required("openid", openid)?;
    let session_key = self::session_key(session_key)?;
    let unionid = optional("unionid", unionid)?;
    Ok(CodeSession {
        openid: OpenId::parse(&openid).map_err(bad_id("openid"))?,
        unionid: unionid.map(|id| UnionId::parse(&id).map_err(bad_id("unionid"))).transpose()?,
        session_key,
    })
}

/// A session_key that looks like one.
pub(crate) fn session_key(value: Value) -> Result<SessionKey, Flaw> {
    let key = required("session_key", value)?;
    let is_one = key.len() <= MAX_SESSION_KEY && key.bytes().all(|b| b.is_ascii_graphic());
    if is_one { Ok(SessionKey::new(key)) } else { Err(Flaw::BadSessionKey) }
}

/// An answer as a whole: another status than 200 is believed only where the body has a number that says what failed.
pub(crate) fn under_status<T>(status: u16, answer: Result<T, Error>) -> Result<T, Error> {
    match answer {
        answer if status == 200 => answer,
        Err(error) if error.refusal().is_some() => Err(error),
        Ok(_) | Err(_) => Err(Error::BrokenAnswer(Flaw::Status(status))),
    }
}

/// A text that may be left out. Empty counts as that.
pub(crate) fn optional(field: &'static str, value: Value) -> Result<Option<String>, Flaw> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(Flaw::WrongType(field)),
    }
}

/// A text that has to be there.
pub(crate) fn required(field: &'static str, value: Value) -> Result<String, Flaw> {
    optional(field, value)?.ok_or(Flaw::Missing(field))
}

fn bad_id(field: &'static str) -> impl Fn(InvalidId) -> Flaw {
    move |why| Flaw::BadId { field, why }
}
