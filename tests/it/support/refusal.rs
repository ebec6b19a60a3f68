//! What an answer that says no looks like, whole: status, every header, the exact body, and the log line that goes with it.

use serde_json::{Value, json};

use super::{OTHER_APP, OTHER_SECRET, Reply, SECRET, TestGateway};

/// Headers beyond those that every refusal has, by their names in lower case.
pub type More<'a> = &'a [(&'a str, &'a str)];

impl TestGateway {
    /// Checks all that a client sees of a refusal, and that the log tells the same under the same id. Gives the log line.
    #[track_caller]
    pub fn says_no(&self, reply: &Reply, status: u16, code: &str, error: &str, more: More<'_>) -> Value {
        self.logs(&shows_no(reply, status, code, error, more))
    }

    /// Waits for the log line of a refusal and checks it. The log is written a few times a second: look for many lines
    /// only when all of the requests have been made.
    #[track_caller]
    pub fn logs(&self, no: &No) -> Value {
        let line: Value = serde_json::from_str(&self.log.line(&no.id)).expect("a JSON line");
        assert_eq!((&line["status"], &line["code"]), (&json!(no.status), &json!(no.code)), "{line}");
        line
    }
}

/// A refusal that a client has seen.
pub struct No {
    pub id: String,
    status: u16,
    code: String,
}

/// Checks all that a client sees of a refusal.
#[track_caller]
pub fn shows_no(reply: &Reply, status: u16, code: &str, error: &str, more: More<'_>) -> No {
    let id = reply.header("x-request-id").unwrap_or_else(|| panic!("no id in {reply:?}")).to_owned();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    let body = format!(r#"{{"error":{},"code":"{code}","requestId":"{id}"}}"#, json!(error));
    assert_eq!((reply.status, reply.text()), (status, body.clone()), "{reply:?}");

    let length = body.len().to_string();
    let mut expected = vec![
        ("cache-control", "no-store"),
        ("content-length", &length),
        ("content-type", "application/json; charset=utf-8"),
        ("x-request-id", &id),
    ];
    expected.extend_from_slice(more);
    expected.sort_unstable();
    let (date, mut headers): (Vec<_>, Vec<_>) =
        reply.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).partition(|(name, _)| *name == "date");
    headers.sort_unstable();
    assert_eq!(headers, expected, "{reply:?}");
    assert!(matches!(date[..], [(_, date)] if date.len() == 29 && date.ends_with(" GMT")), "{reply:?}");

    let all = format!("{reply:?}");
    for word in [SECRET, OTHER_SECRET, super::APP, OTHER_APP, "errmsg", "errcode", "rid:"] {
        assert!(!all.contains(word), "{word} in {all}");
    }
    No { id, status, code: code.to_owned() }
}
