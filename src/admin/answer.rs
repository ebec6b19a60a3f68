//! How the operators' listener says yes and no. A refusal has the shape of the public ones: a sentence, a code word, an id.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde::Serialize;

pub(super) use crate::web::own::respond;
use crate::{
    model::Entropy,
    web::{Closed, Problem, own},
};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// When it makes sense to ask again while the store is away, in seconds.
const SOON: HeaderValue = HeaderValue::from_static("1");

/// Why an operator is not answered. `docs/ADMIN.md` lists the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request came under a name that is not this listener's.
    Host,
    /// A page of another origin asks.
    Origin,
    /// No admin token is configured, so nobody can have it.
    TokenUnset,
    /// No token came.
    TokenMissing,
    /// Another token came.
    TokenInvalid,
    /// There is nothing at this path.
    NotFound,
    /// Another method than these.
    Method(&'static str),
    /// No app of this AppID is configured, and the user has nothing in it either.
    UnknownApp,
    /// The path has something in it that can't be an openid.
    BadOpenId,
    /// The user has no live session of this id.
    NoSession,
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
            Closed::TokenUnset => Self::TokenUnset,
            Closed::TokenMissing => Self::TokenMissing,
            Closed::TokenInvalid => Self::TokenInvalid,
        }
    }
}

impl Refusal {
    pub(super) fn into_response(self, id: &str) -> Response<Bytes> {
        let (status, problem) = self.told();
        let mut response = own::refusal(status, problem, id);
        let more = match self {
            Self::TokenUnset | Self::TokenMissing | Self::TokenInvalid => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
            }
            Self::Method(methods) => Some((header::ALLOW, HeaderValue::from_static(methods))),
            Self::StoreUnavailable => Some((header::RETRY_AFTER, SOON)),
            _ => None,
        };
        response.headers_mut().extend(more);
        response
    }

    fn told(self) -> (StatusCode, Problem) {
        let (status, code, message) = match self {
            Self::Host => (
                StatusCode::FORBIDDEN,
                "host_not_allowed",
                "This Host is not one of the operators' listener; admin.hosts lists more names for it.",
            ),
            Self::Origin => (StatusCode::FORBIDDEN, "origin_not_allowed", "Pages of another origin get nothing here."),
            Self::TokenUnset => (
                StatusCode::UNAUTHORIZED,
                "admin_token_unset",
                "No admin.token is configured, so this is closed to everybody.",
            ),
            Self::TokenMissing => (
                StatusCode::UNAUTHORIZED,
                "admin_token_missing",
                "The admin token is needed, as Authorization: Bearer.",
            ),
            Self::TokenInvalid => (StatusCode::UNAUTHORIZED, "admin_token_invalid", "This is not the admin token."),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "There is nothing at this path."),
            Self::Method(_) => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This path is for other methods.")
            }
            Self::UnknownApp => (
                StatusCode::NOT_FOUND,
                "unknown_app",
                "No app of this AppID is configured here, and nothing is kept of the user in it.",
            ),
            Self::BadOpenId => (StatusCode::BAD_REQUEST, "bad_request", "This can't be an openid."),
            Self::NoSession => {
                (StatusCode::NOT_FOUND, "no_session", "This user has no live session of this id, or no longer.")
            }
            Self::StoreUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "The session store does not answer.")
            }
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side."),
        };
        (status, Problem { code, message })
    }
}

/// The methods of what can only be looked at.
const ONLY_GET: &str = "GET, HEAD";

pub(super) fn only_get(method: &Method) -> Result<(), Refusal> {
    if matches!(*method, Method::GET | Method::HEAD) { Ok(()) } else { Err(Refusal::Method(ONLY_GET)) }
}

/// A page of text.
pub(super) fn text(status: StatusCode, body: &'static str) -> Response<Bytes> {
    respond(status, TEXT, Bytes::from_static(body.as_bytes()))
}

/// A 200 with JSON in it.
pub(super) fn json(value: &impl Serialize, id: &str) -> Result<Response<Bytes>, Refusal> {
    own::json(value, id).map_err(|_| Refusal::Internal)
}

/// The answer to what never became a request: it has no id, since nothing is logged of it.
pub(super) fn malformed() -> Response<Bytes> {
    text(StatusCode::BAD_REQUEST, "the request is not well-formed\n")
}

/// An id to find a request by in the log. Nothing rests on its being hard to guess.
pub(super) fn new_id(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 16];
    match entropy.fill(&mut bytes) {
        Ok(()) => own::id_of(bytes),
        Err(_) => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each refusal. It has no arm for the rest, so that who adds one comes by here.
    fn all() -> Vec<Refusal> {
        use Refusal::{
            BadOpenId, Host, Internal, Method, NoSession, NotFound, Origin, StoreUnavailable, TokenInvalid,
            TokenMissing, TokenUnset, UnknownApp,
        };
        let next = |refusal| match refusal {
            Host => Some(Origin),
            Origin => Some(TokenUnset),
            TokenUnset => Some(TokenMissing),
            TokenMissing => Some(TokenInvalid),
            TokenInvalid => Some(NotFound),
            NotFound => Some(Method(ONLY_GET)),
            Method(_) => Some(UnknownApp),
            UnknownApp => Some(BadOpenId),
            BadOpenId => Some(NoSession),
            NoSession => Some(StoreUnavailable),
            StoreUnavailable => Some(Internal),
            Internal => None,
        };
        std::iter::successors(Some(Host), |refusal| next(*refusal)).collect()
    }

    #[test]
    fn the_document_lists_what_is_refused_and_nothing_else() {
        let told = |refusal: Refusal| own::documents::row_of(&refusal.into_response("id1"));
        let documented = own::documents::rows(include_str!("../../docs/ADMIN.md"));
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
