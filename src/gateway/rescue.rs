//! Failure → answer. The only place that picks an error's status, its machine word and whether the connection survives.
//!
//! Two audiences: the client gets a status, a stable `code`, a sentence for people and the request's id; the log gets
//! the whole chain of causes. WeChat's own words reach neither.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::{
    api::{self, LoginFailure, PhoneFailure},
    auth::{BadCredentials, Denial},
    avatar,
    limit::{RouteLimited, Whose},
    profile, proxy,
    web::{BodyError, Problem, Refusal, RequestId, headers::X_REQUEST_ID},
};

use super::failure::Failure;

/// When a client may try again after a fault of the store or of WeChat. Long enough for a hiccup to pass.
const SOON: Duration = Duration::from_secs(1);

/// WeChat counts logins per user and minute.
const NEXT_MINUTE: Duration = Duration::from_mins(1);

/// What is forwarded at all, for `Allow`.
const FORWARDED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The seed's own words for a login that failed. Clients compare them.
const VALIDATION_FAILED: &str = "Validation failed";

/// The answer to a failure, before it is written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescue {
    /// The status.
    pub status: StatusCode,
    /// The stable machine word.
    pub code: &'static str,
    /// The sentence for people.
    pub message: &'static str,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// `Allow`.
    pub allow: Option<&'static str>,
    /// Whether `WWW-Authenticate: Bearer` is due.
    pub bearer: bool,
    /// Whether the connection is closed, because where the next request begins is in doubt.
    pub close: bool,
}

impl Rescue {
    const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message, retry_after: None, allow: None, bearer: false, close: false }
    }

    fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    fn allow(self, methods: &'static str) -> Self {
        Self { allow: Some(methods), ..self }
    }

    fn bearer(self) -> Self {
        Self { bearer: true, ..self }
    }

    fn close(self) -> Self {
        Self { close: true, ..self }
    }

    /// Writes the answer out.
    pub fn into_response(self, request_id: RequestId) -> Response<Bytes> {
        let problem = Problem { code: self.code, message: self.message };
        let mut response = Response::new(problem.to_json(request_id.as_str()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_REQUEST_ID, request_id.to_value());
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if let Some(allow) = self.allow.map(HeaderValue::from_static) {
            headers.insert(header::ALLOW, allow);
        }
        if self.bearer {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Seconds, rounded up, at least one: a client that comes back too early is refused once more.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0 || duration.is_zero())
}

/// The answer to a failure.
pub fn rescue(failure: &Failure) -> Rescue {
    match failure {
        Failure::Refused(why) => refused(*why),
        Failure::Target(_) => bad_request("The request target or Host could be read in more than one way."),
        Failure::Stranger => Rescue::new(
            StatusCode::FORBIDDEN,
            "proxy_not_trusted",
            "Only a proxy that this gateway trusts may ask whether a request may pass.",
        ),
        // The question itself is well-formed, so the proxy may keep its connection.
        Failure::Original(_) => Rescue::new(
            StatusCode::BAD_REQUEST,
            "bad_request",
            "The original request is not told, is told in two ways, or could be read in more than one way.",
        ),
        Failure::Credentials(BadCredentials::TwoLines) => {
            bad_request("There must be at most one Authorization header.")
        }
        Failure::Credentials(BadCredentials::Several) => bad_request("There must be at most one session token."),
        Failure::Misdirected => Rescue::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected_request",
            "This connection is not for the host that the request names.",
        )
        .close(),
        Failure::Method => {
            Rescue::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This method is not forwarded.")
                .allow(FORWARDED_METHODS)
                .close()
        }
        Failure::NoRoute => nothing_here(),
        Failure::WrongMethod(allowed) => wrong_method(allowed),
        Failure::Limited(limited) => limited_by(*limited),
        Failure::Denied(why) => denied(*why),
        Failure::Sessions(_) => store_unavailable(),
        Failure::Phone(error) => failed_profile(error),
        Failure::Api(error) => endpoint(error),
        Failure::Proxy(error) => forwarding(error),
    }
}

/// The connection goes with it: what follows may not be what it seems.
fn bad_request(message: &'static str) -> Rescue {
    Rescue::new(StatusCode::BAD_REQUEST, "bad_request", message).close()
}

fn wrong_method(allowed: &'static str) -> Rescue {
    Rescue::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This endpoint has another method.")
        .allow(allowed)
}

fn store_unavailable() -> Rescue {
    Rescue::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "Sessions can't be looked up at the moment.")
        .retry_after(SOON)
}

fn ours() -> Rescue {
    Rescue::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side.")
}

fn refused(why: Refusal) -> Rescue {
    match why {
        Refusal::Overloaded => return overloaded(),
        Refusal::HeadTooLarge | Refusal::TooManyHeaders => Rescue::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            "The request's headers are larger than allowed.",
        ),
        Refusal::TargetTooLong => {
            Rescue::new(StatusCode::URI_TOO_LONG, "uri_too_long", "The request target is longer than allowed.")
        }
        Refusal::HeadTimeout => request_timeout(),
        Refusal::NotEncrypted => bad_request("This port speaks TLS; the address begins with https."),
        Refusal::Fragment => bad_request("A request target has no fragment."),
        Refusal::BareLineFeed | Refusal::Malformed => bad_request("The request is not well-formed."),
        Refusal::Framing => bad_request("Where the request's body ends could be read in more than one way."),
    }
    .close()
}

fn nothing_here() -> Rescue {
    Rescue::new(StatusCode::NOT_FOUND, "no_route", "There is nothing at this path.")
}

fn overloaded() -> Rescue {
    Rescue::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "This gateway has too much to do.").retry_after(SOON)
}

fn request_timeout() -> Rescue {
    Rescue::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "The request did not come whole in time.").close()
}

fn denied(why: Denial) -> Rescue {
    match why {
        Denial::TokenMissing => {
            Rescue::new(StatusCode::UNAUTHORIZED, "token_missing", "A session token is needed.").bearer()
        }
        Denial::TokenInvalid => {
            Rescue::new(StatusCode::UNAUTHORIZED, "token_invalid", "The session token is not valid, or no longer.")
                .bearer()
        }
        Denial::AppNotAllowed => {
            Rescue::new(StatusCode::FORBIDDEN, "app_not_allowed", "Sessions of this app may not come here.")
        }
    }
}

fn body(error: &BodyError) -> Rescue {
    match error {
        BodyError::TooLarge => {
            Rescue::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The request body is larger than allowed.")
                .close()
        }
        BodyError::TimedOut => request_timeout(),
        BodyError::Broken(_) => bad_request("The request body broke off or is not well-formed."),
    }
}

fn endpoint(error: &api::Error) -> Rescue {
    match error {
        // The body was read whole, so the connection is fine.
        api::Error::BadInput(expected) => Rescue::new(StatusCode::BAD_REQUEST, "bad_request", expected),
        api::Error::Body(error) => body(error),
        api::Error::UnknownApp => {
            Rescue::new(StatusCode::BAD_REQUEST, "unknown_app", "This appId is not configured here.")
        }
        api::Error::Limited { retry_after } => rate_limited(*retry_after),
        api::Error::ProfileLimited { retry_after } => {
            too_many("Too many changes of this profile. Try again a little later.", *retry_after)
        }
        api::Error::UploadLimited { retry_after } => {
            too_many("Too many uploads of yours at once. Try again when one of them is over.", *retry_after)
        }
        api::Error::PhoneLimited { retry_after } => {
            too_many("Too many phone codes wait for WeChat. Try again a little later.", *retry_after)
        }
        api::Error::Phone { why, .. } => failed_phone(*why),
        api::Error::Login { why, .. } => failed_login(*why),
        api::Error::Profile(error) => failed_profile(error),
        api::Error::Avatar(error) => failed_avatar(error),
        api::Error::NothingHere => nothing_here(),
        api::Error::Session(_) => store_unavailable(),
        api::Error::NoSession | api::Error::Encode(_) => ours(),
    }
}

fn failed_login(why: LoginFailure) -> Rescue {
    match why {
        LoginFailure::CodeInvalid => Rescue::new(StatusCode::UNAUTHORIZED, "code_invalid", VALIDATION_FAILED),
        LoginFailure::CodeUsed => Rescue::new(StatusCode::UNAUTHORIZED, "code_used", VALIDATION_FAILED),
        LoginFailure::UserBlocked => {
            Rescue::new(StatusCode::FORBIDDEN, "user_blocked", "WeChat does not let this user log in.")
        }
        LoginFailure::RateLimited => rate_limited(NEXT_MINUTE),
        LoginFailure::Busy => {
            Rescue::new(StatusCode::SERVICE_UNAVAILABLE, "wechat_busy", "WeChat is busy. Try again with a new code.")
                .retry_after(SOON)
        }
        LoginFailure::Unreachable => {
            Rescue::new(StatusCode::BAD_GATEWAY, "wechat_unreachable", "WeChat could not be asked.")
        }
        LoginFailure::Timeout => {
            Rescue::new(StatusCode::GATEWAY_TIMEOUT, "wechat_timeout", "WeChat took too long to answer.")
        }
        LoginFailure::Misconfigured(_) => Rescue::new(
            StatusCode::BAD_GATEWAY,
            "app_misconfigured",
            "This app is not set up correctly on the server. Its operators have been told.",
        ),
        LoginFailure::Store => store_unavailable(),
        LoginFailure::Internal => ours(),
    }
}

/// Nothing of this is a 401: the session is fine, and a client that is told otherwise throws it away.
fn failed_phone(why: PhoneFailure) -> Rescue {
    match why {
        PhoneFailure::CodeInvalid => Rescue::new(
            StatusCode::BAD_REQUEST,
            "phone_code_invalid",
            "WeChat does not take this phone code, or not any more. Let the user tap the phone button again.",
        ),
        PhoneFailure::WrongKind => Rescue::new(
            StatusCode::BAD_REQUEST,
            "wrong_code_kind",
            "This looks like the code of wx.login. Send the code of the phone button, e.detail.code.",
        ),
        PhoneFailure::NotOffered => nothing_here(),
        PhoneFailure::Store => profiles_unavailable(),
        PhoneFailure::WeChat(LoginFailure::RateLimited) => {
            too_many("WeChat tells no more phone numbers at the moment. Try again later.", NEXT_MINUTE)
        }
        PhoneFailure::WeChat(why) => failed_login(why),
    }
}

fn profiles_unavailable() -> Rescue {
    Rescue::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "store_unavailable",
        "Profiles can't be looked up or kept at the moment.",
    )
    .retry_after(SOON)
}

fn failed_profile(error: &profile::Error) -> Rescue {
    match error {
        profile::Error::Invalid(expected) => Rescue::new(StatusCode::BAD_REQUEST, "bad_request", expected),
        // One answer for all that can be wrong with such data: more would help to read what was encrypted for others.
        profile::Error::Stale(_) => Rescue::new(
            StatusCode::CONFLICT,
            "session_key_stale",
            "WeChat's data does not fit the newest login. Log in again, then ask WeChat for it again.",
        ),
        profile::Error::Changed => {
            Rescue::new(StatusCode::PRECONDITION_FAILED, "profile_changed", "The profile has changed meanwhile.")
        }
        profile::Error::Crowded | profile::Error::Store(_) => profiles_unavailable(),
    }
}

fn failed_avatar(error: &avatar::Error) -> Rescue {
    match error {
        avatar::Error::Picture(avatar::Flaw::TooLarge) => {
            Rescue::new(StatusCode::PAYLOAD_TOO_LARGE, "image_too_large", "The picture has too many pixels.")
        }
        avatar::Error::Picture(avatar::Flaw::Unknown | avatar::Flaw::Broken) => Rescue::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_image",
            "The file is no PNG, JPEG, WebP or GIF that can be read.",
        ),
        avatar::Error::Overloaded => overloaded(),
        avatar::Error::Profile(error) => failed_profile(error),
        avatar::Error::Storage(_) => Rescue::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_unavailable",
            "Pictures can't be read or kept at the moment.",
        )
        .retry_after(SOON),
        avatar::Error::Address | avatar::Error::Interrupted => ours(),
    }
}

fn rate_limited(retry_after: Duration) -> Rescue {
    too_many("Too many logins. Try again a little later.", retry_after)
}

fn too_many(message: &'static str, retry_after: Duration) -> Rescue {
    Rescue::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message).retry_after(retry_after)
}

fn limited_by(RouteLimited { whose, retry_after }: RouteLimited) -> Rescue {
    match whose {
        Whose::Address | Whose::User => too_many("Too many requests. Try again a little later.", retry_after),
        Whose::WebSockets => {
            let message = "This user has as many WebSockets open here as there may be. Close one of them first.";
            Rescue::new(StatusCode::TOO_MANY_REQUESTS, "too_many_websockets", message).retry_after(retry_after)
        }
    }
}

fn forwarding(error: &proxy::Error) -> Rescue {
    match error {
        proxy::Error::NoUpstream | proxy::Error::BadTarget | proxy::Error::Identity(_) | proxy::Error::NoSwitch => {
            ours()
        }
        proxy::Error::UnderscoreHeader => bad_request("Header names with an underscore are not taken here."),
        proxy::Error::NoHandshake => bad_request("This is not the opening of a WebSocket of version 13."),
        proxy::Error::Body(error) => body(error),
        proxy::Error::Overloaded(_) => Rescue::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "upstream_overloaded",
            "The service behind this gateway has too much to do.",
        )
        .retry_after(SOON),
        proxy::Error::Connect(_) | proxy::Error::Broken(_) | proxy::Error::Switched | proxy::Error::WrongHandshake => {
            Rescue::new(
                StatusCode::BAD_GATEWAY,
                "upstream_unreachable",
                "The service behind this gateway can't be reached.",
            )
        }
        proxy::Error::Timeout => Rescue::new(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream_timeout",
            "The service behind this gateway took too long.",
        ),
    }
}

#[cfg(test)]
mod tests;
