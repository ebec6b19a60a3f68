//! What all of WeChat's answers have in common: JSON, and an errcode in it where there is nothing else to tell.
//!
//! WeChat says failures with HTTP 200 as well, and labels its JSON as text, so the body alone decides.

use serde::Deserialize;
use serde_json::Value;

use crate::platform::{Error, Refusal, error::trace_id, fields};

/// What an errcode means, which depends on the call.
pub(super) type Sort = fn(Refusal) -> Error;

/// Reads an answer's body, where it has no errcode other than 0.
///
/// `errcode` may be absent, null, a number or a number in quotes; fields that `T` does not have are passed over.
pub(super) fn decode<'b, T: Deserialize<'b>>(body: &'b [u8], sort: Sort) -> Result<T, Error> {
    let verdict: Verdict = fields::object(body)?;
    match fields::number("errcode", &verdict.errcode)? {
        0 => fields::object(body),
        errcode => Err(sort(Refusal { errcode, rid: verdict.errmsg.as_str().and_then(rid_of) })),
    }
}

/// Whether there is anything else to read.
#[derive(Deserialize)]
struct Verdict {
    #[serde(default)]
    errcode: Value,
    #[serde(default)]
    errmsg: Value,
}

/// Finds the trace id in WeChat's errmsg: `…, rid: 652d44d0-1d0af18b-5b069232`, formerly `…, hints: [ req_id: … ]`.
fn rid_of(errmsg: &str) -> Option<String> {
    let (_, tail) = ["rid:", "req_id:"].into_iter().find_map(|label| {
        let (head, tail) = errmsg.split_once(label)?;
        // Inside a longer word ("grid:") it is no label.
        let stands_alone = !head.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        stands_alone.then_some((head, tail))
    })?;
    let rid = tail.trim_start().split(|c: char| c.is_whitespace() || c == ']' || c == ',').next()?;
    trace_id(rid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_id_is_found_in_both_its_forms() {
        let now = "invalid code, rid: 652d44d0-1d0af18b-5b069232";
        assert_eq!(rid_of(now).as_deref(), Some("652d44d0-1d0af18b-5b069232"));
        let formerly = "code been used, hints: [ req_id: .OjDA05ce-iDHGna ]";
        assert_eq!(rid_of(formerly).as_deref(), Some(".OjDA05ce-iDHGna"));
        assert_eq!(rid_of("hints: [req_id:abc]").as_deref(), Some("abc"));
    }

    #[test]
    fn what_is_no_plain_trace_id_is_not_kept() {
        assert_eq!(rid_of("invalid code"), None);
        assert_eq!(rid_of("rid: "), None);
        assert_eq!(rid_of("rid: a\u{1b}[31mred"), None);
        assert_eq!(rid_of("no such grid: 12"), None);
        assert_eq!(rid_of(&format!("rid: {}", "a".repeat(65))), None);
        assert_eq!(rid_of(&format!("rid: {}", "a".repeat(64))).map(|rid| rid.len()), Some(64));
    }
}
