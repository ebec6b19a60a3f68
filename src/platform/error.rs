//! What can go wrong when a platform is asked, sorted by who has to act on it. Nothing in here holds a URL, a body or
//! the platform's own words: the first two may have the AppSecret in them, and the last may repeat what we sent.

use std::{fmt, io};

use crate::model::InvalidId;

/// Longest trace id that is kept. WeChat's are about 26 bytes, Douyin's about 32.
const MAX_RID: usize = 64;

/// Why a platform did not give what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The code is wrong, expired, or of another app than the one it was presented for.
    #[error("the code is not valid ({0})")]
    CodeInvalid(Refusal),
    /// The code was spent before.
    #[error("the code was used before ({0})")]
    CodeUsed(Refusal),
    /// The platform takes the user for a risk; asking again does not help.
    #[error("the platform blocks this user ({0})")]
    UserBlocked(Refusal),
    /// A quota is used up: a user's of this minute or, where no login is asked for, the app's.
    #[error("the platform wants fewer calls ({0})")]
    RateLimited(Refusal),
    /// The platform was too busy, twice.
    #[error("the platform is busy ({0})")]
    Busy(Refusal),
    /// The platform does not take the access token, or not any more. Another one may do.
    #[error("the platform refuses the access token ({0})")]
    TokenRefused(Refusal),
    /// No call for this app can work until somebody mends the set-up.
    #[error("the platform refuses our set-up ({refusal}): {mend}")]
    Misconfigured {
        /// What the platform said.
        refusal: Refusal,
        /// What to mend, by its configuration key where there is one.
        mend: &'static str,
    },
    /// The platform answered with something that can't be used.
    #[error("the platform's answer can't be used: {0}")]
    BrokenAnswer(Flaw),
    /// No connection, or it broke.
    #[error("the platform was not reached: {0}")]
    Unreachable(Trouble),
    /// `wechat.timeout` went by.
    #[error("the platform did not answer within wechat.timeout")]
    Timeout,
    /// The app has no entry in `[[apps]]`.
    #[error("the app is not configured")]
    UnknownApp,
    /// Somebody else had asked, and that ended without an outcome: it panicked, or the process is stopping.
    #[error("the call was cut short")]
    Interrupted,
}

impl Error {
    /// What the platform said, where it said a non-zero number.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::CodeInvalid(refusal)
            | Self::CodeUsed(refusal)
            | Self::UserBlocked(refusal)
            | Self::RateLimited(refusal)
            | Self::Busy(refusal)
            | Self::TokenRefused(refusal)
            | Self::Misconfigured { refusal, .. }
            | Self::BrokenAnswer(Flaw::UnknownErrcode(refusal)) => Some(refusal),
            Self::BrokenAnswer(_) | Self::Unreachable(_) | Self::Timeout | Self::UnknownApp | Self::Interrupted => None,
        }
    }

    /// The platform's trace id of the call: what its support asks for. WeChat's can be looked up for seven days.
    pub fn rid(&self) -> Option<&str> {
        self.refusal()?.rid.as_deref()
    }

    /// Whether the request certainly never left, so that the code is still good.
    pub(crate) fn nothing_was_sent(&self) -> bool {
        matches!(self, Self::Unreachable(Trouble { stage: Stage::Resolve | Stage::Connect | Stage::Tls, .. }))
    }
}

/// A non-zero number of a failure: WeChat's errcode, Douyin's `err_no`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The platform's number for it; each platform's table has the names.
    pub errcode: i64,
    /// The platform's trace id: at most 64 bytes of ASCII letters, digits and `-_.!`.
    pub rid: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "errcode {}", self.errcode)?;
        match &self.rid {
            Some(rid) => write!(f, ", rid {rid}"),
            None => Ok(()),
        }
    }
}

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Not HTTP 200, and no errcode in the body that would say more.
    #[error("HTTP status {0}")]
    Status(u16),
    /// More than 64 KiB.
    #[error("it is larger than 64 KiB")]
    TooLarge,
    /// Not one JSON object with each field at most once.
    #[error("it is not a JSON object")]
    NotJson,
    /// A field that has another type than it always had.
    #[error("`{0}` has a wrong type")]
    WrongType(&'static str),
    /// A field that the caller can't do without.
    #[error("`{0}` is missing or empty")]
    Missing(&'static str),
    /// An identifier that could not stand in a header.
    #[error("`{field}` {why}")]
    BadId {
        /// `openid` or `unionid`.
        field: &'static str,
        /// What is wrong with it.
        why: InvalidId,
    },
    /// A session_key that is too long or not visible ASCII.
    #[error("`session_key` is not a key")]
    BadSessionKey,
    /// An access token that is too long or not visible ASCII.
    #[error("`access_token` is not a token")]
    BadAccessToken,
    /// A phone number that has something else in it than digits.
    #[error("it has a phone number that is none")]
    BadPhoneNumber,
    /// Something that WeChat marked as meant for another app.
    #[error("its watermark is another app's")]
    ForeignWatermark,
    /// Something of another user than the one who was asked for.
    #[error("it is of another user")]
    ForeignUser,
    /// A number that is not in our table.
    #[error("it has an unknown {0}")]
    UnknownErrcode(Refusal),
}

/// How the connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// How far the call had come.
    pub stage: Stage,
    /// The operating system's word for it, where there was one.
    pub kind: Option<io::ErrorKind>,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.stage {
            Stage::Resolve => "its name was not resolved",
            Stage::Connect => "no connection",
            Stage::Tls => "TLS was not agreed on, the certificate may not be trusted",
            Stage::Request => "the connection broke before the answer",
            Stage::Answer => "the connection broke within the answer",
        })?;
        match self.kind {
            Some(kind) => write!(f, " ({kind})"),
            None => Ok(()),
        }
    }
}

/// How far a call had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Looking up the host name.
    Resolve,
    /// Connecting.
    Connect,
    /// Agreeing on TLS.
    Tls,
    /// The request may have been sent, and the code spent.
    Request,
    /// The answer had begun, and the code is spent.
    Answer,
}

/// A trace id, if the text is one.
pub(crate) fn trace_id(text: &str) -> Option<String> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.!".contains(&b));
    (plain && (1..=MAX_RID).contains(&text.len())).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plain_trace_id_is_not_kept() {
        assert_eq!(trace_id("652d44d0-1d0af18b-5b069232").as_deref(), Some("652d44d0-1d0af18b-5b069232"));
        for text in ["", "a\u{1b}[31mred", "a b", "编号"] {
            assert_eq!(trace_id(text), None, "{text}");
        }
        assert_eq!(trace_id(&"a".repeat(65)), None);
        assert_eq!(trace_id(&"a".repeat(64)).map(|id| id.len()), Some(64));
    }

    #[test]
    fn an_error_names_the_errcode_and_the_trace_id() {
        let refusal = Refusal { errcode: 40029, rid: Some("652d-1d".into()) };
        let error = Error::CodeInvalid(refusal);
        assert_eq!(error.to_string(), "the code is not valid (errcode 40029, rid 652d-1d)");
        assert_eq!(error.rid(), Some("652d-1d"));
        assert_eq!(Error::Timeout.rid(), None);
    }

    #[test]
    fn only_what_failed_before_the_request_left_counts_as_not_sent() {
        let at = |stage| Error::Unreachable(Trouble { stage, kind: None }).nothing_was_sent();
        assert_eq!([Stage::Resolve, Stage::Connect, Stage::Tls].map(at), [true; 3]);
        assert_eq!([Stage::Request, Stage::Answer].map(at), [false; 2]);
        assert!(!Error::Timeout.nothing_was_sent());
    }
}
