//! What is counted of backends: what they have asked for, and what became of it.

use super::{Counter, TlsHandshakes};

/// What they can ask for. What is none of it counts as the last.
const PATHS: [&str; 6] = ["decrypt", "check_session", "reset_session_key", "profile", "access_token", "other"];

/// What can become of it, in the words of the answers; `ok` where it was answered, and `gone` where nobody waited for the
/// answer. What is none of these counts as the last.
const CODES: [&str; 24] = [
    "ok",
    "gone",
    "malformed",
    "host_not_allowed",
    "origin_not_allowed",
    "internal_token_missing",
    "internal_token_invalid",
    "not_found",
    "method_not_allowed",
    "bad_request",
    "body_too_large",
    "request_timeout",
    "unknown_app",
    "no_session",
    "no_session_key",
    "session_key_stale",
    "not_a_wechat_app",
    "rate_limited",
    "wechat_busy",
    "wechat_unreachable",
    "wechat_timeout",
    "app_misconfigured",
    "store_unavailable",
    "internal",
];

/// What is counted of backends.
#[derive(Debug, Default)]
pub struct InternalCounts {
    requests: [[Counter; CODES.len()]; PATHS.len()],
    /// Their handshakes over TLS.
    pub handshakes: TlsHandshakes,
}

impl InternalCounts {
    /// One more request for this, of which this became.
    pub fn count(&self, path: &str, code: &str) {
        let at = |words: &[&str], word| words.iter().position(|known| *known == word).unwrap_or(words.len() - 1);
        self.requests[at(&PATHS, path)][at(&CODES, code)].inc();
    }

    /// How many so far, by path and code: all that were answered, and of the rest what has happened.
    pub fn requests(&self) -> Vec<(&'static str, &'static str, u64)> {
        let of = |(path, counts): (&'static str, &[Counter; CODES.len()])| {
            let each = CODES.into_iter().zip(counts).map(move |(code, n)| (path, code, n.get()));
            each.filter(|(_, code, n)| *code == "ok" || *n > 0).collect::<Vec<_>>()
        };
        PATHS.into_iter().zip(&self.requests).flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_by_words_that_no_backend_can_choose() {
        let counts = InternalCounts::default();
        for (path, code) in [("decrypt", "ok"), ("decrypt", "ok"), ("profile", "a word"), ("a path", "not_found")] {
            counts.count(path, code);
        }
        let counted: Vec<_> = counts.requests().into_iter().filter(|(.., n)| *n > 0).collect();
        assert_eq!(counted, [("decrypt", "ok", 2), ("profile", "internal", 1), ("other", "not_found", 1)]);
    }
}
