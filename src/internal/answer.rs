//! How the backends' listener says no. A refusal has the shape of the public ones: a sentence, a code word, an id.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::{
    platform, profile, session,
    web::{BodyError, Closed, Problem, own},
};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// When it makes sense to ask again while something is away, in seconds.
const SOON: HeaderValue = HeaderValue::from_static("1");

/// When a quota of WeChat's is a new one.
const NEXT_MINUTE: HeaderValue = HeaderValue::from_static("60");

/// Why a backend is not answered. `docs/INTERNAL.md` lists the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request came under a name that is not this listener's.
    Host,
    /// A page of another origin asks.
    Origin,
    /// No token came.
    TokenMissing,
    /// Another token came.
    TokenInvalid,
    /// There is nothing at this path.
    NotFound,
    /// Another method than these.
    Method(&'static str),
    /// The body is not what the path takes; the text says what that is.
    BadInput(&'static str),
    /// More bytes than any request needs.
    TooLarge,
    /// The body did not come in time, or not whole.
    TooSlow,
    /// No app of this AppID is configured.
    UnknownApp,
    /// The token is no live session's.
    NoSession,
    /// The user has no live session, and so no key.
    NoKey,
    /// The data is not what WeChat made for this user with the newest key, or not lately.
    Stale,
    /// The app is not WeChat's, which alone is asked.
    NotWeChat,
    /// The user's key was used so often that it is not for so long.
    Limited(Duration),
    /// WeChat wants fewer calls.
    RateLimited,
    /// WeChat was too busy.
    Busy,
    /// WeChat was not reached, or gave no answer that can be used.
    Unreachable,
    /// WeChat took too long.
    Timeout,
    /// WeChat refuses the app's set-up.
    Misconfigured,
    /// The store has no answer.
    StoreUnavailable,
    /// A fault of ours.
    Internal,
}

impl From<Closed> for Refusal {
    fn from(why: Closed) -> Self {
        match why {
            Closed::Host => Self::Host,
            Closed::Origin => Self::Origin,
            Closed::TokenMissing => Self::TokenMissing,
            Closed::TokenUnset | Closed::TokenInvalid => Self::TokenInvalid,
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(why: BodyError) -> Self {
        match why {
            BodyError::TooLarge => Self::TooLarge,
            BodyError::TimedOut | BodyError::Broken(_) => Self::TooSlow,
        }
    }
}

/// A backend is told that there is no answer, never that there is nothing.
impl From<session::Error> for Refusal {
    fn from(error: session::Error) -> Self {
        match error {
            session::Error::StoreUnavailable(_) => Self::StoreUnavailable,
            session::Error::Entropy(_) => Self::Internal,
        }
    }
}

impl From<profile::Error> for Refusal {
    fn from(_: profile::Error) -> Self {
        // To read one is all that is asked here, and nothing else can go wrong with that.
        Self::StoreUnavailable
    }
}

/// What WeChat is asked here spends no code.
impl From<platform::Error> for Refusal {
    fn from(error: platform::Error) -> Self {
        match error {
            platform::Error::RateLimited(_) => Self::RateLimited,
            platform::Error::Busy(_) => Self::Busy,
            platform::Error::Timeout => Self::Timeout,
            platform::Error::Misconfigured { .. } => Self::Misconfigured,
            platform::Error::UnknownApp => Self::NotWeChat,
            platform::Error::Interrupted => Self::Internal,
            platform::Error::CodeInvalid(_)
            | platform::Error::CodeUsed(_)
            | platform::Error::UserBlocked(_)
            | platform::Error::TokenRefused(_)
            | platform::Error::BrokenAnswer(_)
            | platform::Error::Unreachable(_) => Self::Unreachable,
        }
    }
}

impl Refusal {
    pub(super) fn into_response(self, id: &str) -> Response<Bytes> {
        let (status, code, message) = self.told();
        let mut response = own::refusal(status, Problem { code, message }, id);
        let more = match self {
            Self::TokenMissing | Self::TokenInvalid => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
            }
            Self::Method(methods) => Some((header::ALLOW, HeaderValue::from_static(methods))),
            Self::StoreUnavailable | Self::Busy => Some((header::RETRY_AFTER, SOON)),
            Self::RateLimited => Some((header::RETRY_AFTER, NEXT_MINUTE)),
            Self::Limited(after) => Some((
                header::RETRY_AFTER,
                HeaderValue::from(after.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)),
            )),
            _ => None,
        };
        response.headers_mut().extend(more);
        response
    }

    /// The word for it.
    pub(super) fn code(self) -> &'static str {
        self.told().1
    }

    fn told(self) -> (StatusCode, &'static str, &'static str) {
        let known = "No app of this AppID is configured here.";
        match self {
            Self::Host => (
                StatusCode::FORBIDDEN,
                "host_not_allowed",
                "This Host is not one of the backends' listener; internal.hosts lists more names for it.",
            ),
            Self::Origin => (StatusCode::FORBIDDEN, "origin_not_allowed", "Pages of another origin get nothing here."),
            Self::TokenMissing => (
                StatusCode::UNAUTHORIZED,
                "internal_token_missing",
                "The token of internal.token is needed, as Authorization: Bearer.",
            ),
            Self::TokenInvalid => {
                (StatusCode::UNAUTHORIZED, "internal_token_invalid", "This is not the token of internal.token.")
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "There is nothing at this path."),
            Self::Method(_) => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This path is for other methods.")
            }
            Self::BadInput(expected) => (StatusCode::BAD_REQUEST, "bad_request", expected),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The body is larger than 16 KiB."),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "request_timeout", "The body did not come whole in time."),
            Self::UnknownApp => (StatusCode::NOT_FOUND, "unknown_app", known),
            Self::NoSession => (StatusCode::NOT_FOUND, "no_session", "This token is no live session's, or no longer."),
            Self::NoKey => (
                StatusCode::NOT_FOUND,
                "no_session_key",
                "No key of this user is known: the user has no live session here.",
            ),
            Self::Stale => (
                StatusCode::CONFLICT,
                "session_key_stale",
                "The data is not what WeChat made for this user with the newest key, or not lately; the Mini Program logs in \
                 again and gets it anew.",
            ),
            Self::Limited(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "The key of this user was used too often. Try again a little later.",
            ),
            Self::NotWeChat
            | Self::RateLimited
            | Self::Busy
            | Self::Unreachable
            | Self::Timeout
            | Self::Misconfigured => self.told_of_wechat(),
            Self::StoreUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "The session store does not answer.")
            }
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side."),
        }
    }

    fn told_of_wechat(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::NotWeChat => {
                (StatusCode::NOT_FOUND, "not_a_wechat_app", "This app is of another platform than WeChat.")
            }
            Self::RateLimited => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "WeChat wants fewer calls for this app at the moment.")
            }
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "wechat_busy", "WeChat is busy."),
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "wechat_timeout", "WeChat took too long to answer."),
            Self::Misconfigured => (
                StatusCode::BAD_GATEWAY,
                "app_misconfigured",
                "WeChat refuses the set-up of this app; the log says which key to mend.",
            ),
            _ => (StatusCode::BAD_GATEWAY, "wechat_unreachable", "WeChat could not be asked."),
        }
    }
}

/// The methods of what changes something, and of what only tells.
pub(super) const ONLY_POST: &str = "POST";
pub(super) const ONLY_GET: &str = "GET, HEAD";

pub(super) fn only_get(method: &Method) -> Result<(), Refusal> {
    if matches!(*method, Method::GET | Method::HEAD) { Ok(()) } else { Err(Refusal::Method(ONLY_GET)) }
}

pub(super) fn only_post(method: &Method) -> Result<(), Refusal> {
    if *method == Method::POST { Ok(()) } else { Err(Refusal::Method(ONLY_POST)) }
}

/// The answer to what never became a request: it has no id, since nothing is logged of it.
pub(super) fn malformed() -> Response<Bytes> {
    own::respond(StatusCode::BAD_REQUEST, TEXT, Bytes::from_static(b"the request is not well-formed\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each refusal. It has no arm for the rest, so that who adds one comes by here.
    fn all() -> Vec<Refusal> {
        use Refusal::{
            BadInput, Busy, Host, Internal, Limited, Method, Misconfigured, NoKey, NoSession, NotFound, NotWeChat,
            Origin, RateLimited, Stale, StoreUnavailable, Timeout, TokenInvalid, TokenMissing, TooLarge, TooSlow,
            UnknownApp, Unreachable,
        };
        let next = |refusal| match refusal {
            Host => Some(Origin),
            Origin => Some(TokenMissing),
            TokenMissing => Some(TokenInvalid),
            TokenInvalid => Some(NotFound),
            NotFound => Some(Method(ONLY_GET)),
            Method(_) => Some(BadInput("what it takes")),
            BadInput(_) => Some(TooLarge),
            TooLarge => Some(TooSlow),
            TooSlow => Some(UnknownApp),
            UnknownApp => Some(NoSession),
            NoSession => Some(NoKey),
            NoKey => Some(Stale),
            Stale => Some(NotWeChat),
            NotWeChat => Some(Limited(Duration::from_secs(20))),
            Limited(_) => Some(RateLimited),
            RateLimited => Some(Busy),
            Busy => Some(Unreachable),
            Unreachable => Some(Timeout),
            Timeout => Some(Misconfigured),
            Misconfigured => Some(StoreUnavailable),
            StoreUnavailable => Some(Internal),
            Internal => None,
        };
        std::iter::successors(Some(Host), |refusal| next(*refusal)).collect()
    }

    #[test]
    fn the_document_lists_what_is_refused_and_nothing_else() {
        let told = |refusal: Refusal| own::documents::row_of(&refusal.into_response("id1"));
        let documented = own::documents::rows(include_str!("../../docs/INTERNAL.md"));
        assert_eq!(documented, all().into_iter().map(told).collect());
    }

    #[test]
    fn a_refusal_has_the_shape_of_the_public_ones() {
        for refusal in all() {
            let response = refusal.into_response("id1");
            let body = String::from_utf8_lossy(response.body()).into_owned();
            assert!(body.starts_with(r#"{"error":""#) && body.ends_with(r#"","requestId":"id1"}"#), "{body}");
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert_eq!(response.headers()["x-request-id"], "id1");
        }
    }
}
