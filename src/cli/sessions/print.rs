//! How the answers look on a terminal.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::Context;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

#[derive(Deserialize)]
struct Listed {
    sessions: Vec<Shown>,
    total: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: String,
    created_at: String,
    last_seen_at: String,
    expires_in: u64,
}

#[derive(Deserialize)]
struct Ended {
    ended: usize,
}

#[derive(Deserialize)]
struct Count {
    sessions: u64,
}

/// The answer as it came.
pub(super) fn json(out: &mut dyn Write, answer: &Value) -> anyhow::Result<()> {
    Ok(writeln!(out, "{answer}")?)
}

/// A line per session.
pub(super) fn list(out: &mut dyn Write, answer: &Value) -> anyhow::Result<()> {
    let Listed { sessions, total } = read(answer)?;
    if sessions.is_empty() {
        return Ok(writeln!(out, "no live sessions")?);
    }
    row(out, "session", "logged in", "last seen", "ends, if unused, in")?;
    for session in &sessions {
        let left = humantime::format_duration(Duration::from_secs(session.expires_in)).to_string();
        row(out, &session.id, &session.created_at, &session.last_seen_at, &left)?;
    }
    if total > sessions.len() {
        writeln!(out, "and {} older ones", total - sessions.len())?;
    }
    Ok(())
}

/// How many ended.
pub(super) fn ended(out: &mut dyn Write, answer: &Value) -> anyhow::Result<()> {
    let Ended { ended } = read(answer)?;
    Ok(writeln!(out, "ended {}", sessions(ended as u64))?)
}

/// How many there are.
pub(super) fn count(out: &mut dyn Write, answer: &Value) -> anyhow::Result<()> {
    let Count { sessions: n } = read(answer)?;
    Ok(writeln!(out, "{}", sessions(n))?)
}

fn row(out: &mut dyn Write, id: &str, created: &str, seen: &str, left: &str) -> io::Result<()> {
    writeln!(out, "{id:<32}  {created:<20}  {seen:<20}  {left}")
}

fn sessions(n: u64) -> String {
    if n == 1 { "1 session".to_owned() } else { format!("{n} sessions") }
}

fn read<T: DeserializeOwned>(answer: &Value) -> anyhow::Result<T> {
    T::deserialize(answer).context("the gateway's answer is not understood; is it of another version?")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printed(print: fn(&mut dyn Write, &Value) -> anyhow::Result<()>, answer: &Value) -> String {
        let mut out = Vec::new();
        print(&mut out, answer).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_list_is_a_table() {
        let session = json!({
            "id": "0123456789abcdef0123456789abcdef", "createdAt": "2026-11-23T08:00:00Z",
            "lastSeenAt": "2026-11-23T09:00:00Z", "expiresIn": 86_400,
        });
        assert_eq!(
            printed(list, &json!({ "sessions": [session], "total": 3 })),
            "session                           logged in             last seen             ends, if unused, in\n\
             0123456789abcdef0123456789abcdef  2026-11-23T08:00:00Z  2026-11-23T09:00:00Z  1day\n\
             and 2 older ones\n"
        );
        assert_eq!(printed(list, &json!({ "sessions": [], "total": 0 })), "no live sessions\n");
    }

    #[test]
    fn numbers_are_sentences() {
        assert_eq!(printed(ended, &json!({ "ended": 1 })), "ended 1 session\n");
        assert_eq!(printed(ended, &json!({ "ended": 0 })), "ended 0 sessions\n");
        assert_eq!(printed(count, &json!({ "sessions": 1_000_000 })), "1000000 sessions\n");
    }

    #[test]
    fn what_is_no_answer_of_ours_is_said_so() {
        assert!(list(&mut Vec::new(), &json!({ "sessions": 1 })).is_err());
    }
}
