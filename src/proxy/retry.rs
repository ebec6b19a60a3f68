//! Whether a request may be sent again.
//!
//! A request that was not written at all may always be. So may one of which a server says that it has done nothing with it
//! (HTTP/2), as long as the budget lasts and its body is still here. One that was written, at most once more, and only where asking twice is the
//! same as asking once: a GET, HEAD or OPTIONS without a body, not a byte of whose answer has come, as long as the budget
//! lasts. RFC 9110, 9.2.2, calls PUT and DELETE idempotent too, which says that the backend's state is the same after two as
//! after one; but the second DELETE is answered with a 404, and how many backends send a message with each PUT nobody
//! knows. A time that runs out is no reason either: the server may still be at it.

use std::error::Error as _;

use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body::Body;

use crate::{
    upstream::{Fault, Lease, NoAnswer, SendError},
    web::{BodyError, BodyProgress, RequestBody, headers::X_REQUEST_ID},
};

use super::{Error, attempt::Errand};

/// What it would take to send this request again, where there is a chance that it may be.
pub(super) fn spare(
    errand: &Errand<'_>,
    lease: &mut Lease<RequestBody>,
    request: &Request<RequestBody>,
) -> Option<Spare> {
    errand.upstream.could_retry(lease).then(|| Spare::of(lease, request))?
}

/// The request to send again, after a connection broke or what came was no answer.
pub(super) fn again(
    errand: &mut Errand<'_>,
    lease: &mut Lease<RequestBody>,
    why: NoAnswer<RequestBody>,
    spare: Option<Spare>,
    body: &BodyProgress,
    is_last: bool,
) -> Result<Box<Request<RequestBody>>, Error> {
    let (error, is_silent) = lease.failure(why);
    let is_unanswered = error.closed_before_answer() && is_silent;
    let SendError { unsent, is_refused, source } = error;
    let error = blame(source);
    // A server closes a kept connection at any moment, and nothing is wrong with it.
    let is_stale = lease.reused() && is_unanswered;
    // Nor with one that is leaving, or takes no more at the moment, and says so.
    let is_told = unsent.is_some() && is_refused;
    // Nor with one that breaks off a single answer: who asks for a broken page again and again must not take it from others.
    let is_there = matches!(&error, Error::Broken(Fault::Http2(error)) if error.is_reset() && error.is_remote());
    if !is_stale && !is_told && !is_there && matches!(error, Error::Broken(_)) {
        errand.upstream.failed(lease, &error);
    }
    match (unsent, spare) {
        _ if is_last => Err(error),
        (Some(request), _) if is_refused => {
            if errand.upstream.may_resend(&mut errand.course, lease) {
                Ok(request)
            } else {
                Err(error)
            }
        }
        (Some(request), _) => {
            errand.upstream.leave(&mut errand.course, lease);
            Ok(request)
        }
        (None, Some(spare)) if is_unanswered => match spare.into_request(lease, body) {
            Some(request) if errand.upstream.may_retry(&mut errand.course, lease) => Ok(request),
            _ => Err(error),
        },
        _ => Err(error),
    }
}

/// Whose fault a broken connection is: a client's body that breaks off breaks the upstream's connection too.
fn blame(fault: Fault) -> Error {
    match fault {
        Fault::Body(error) => match error.downcast::<BodyError>() {
            Ok(error) => Error::Body(*error),
            Err(error) => Error::Broken(Fault::Body(error)),
        },
        Fault::Http1(error) => match error.source().and_then(|source| source.downcast_ref()) {
            Some(BodyError::TooLarge) => Error::Body(BodyError::TooLarge),
            Some(BodyError::TimedOut) => Error::Body(BodyError::TimedOut),
            Some(BodyError::Broken(_)) => Error::Body(BodyError::Broken(error)),
            None => Error::Broken(Fault::Http1(error)),
        },
        Fault::NoHead => Error::BadTarget,
        other => Error::Broken(other),
    }
}

/// What is needed to send a request again: its head, where it has no body and asking twice is the same as asking once
/// (RFC 9110, 9.2.1).
pub(super) enum Spare {
    /// As the connection has written it. What is known of it beside that is to be the same.
    Written { method: Method, uri: Uri, id: Option<HeaderValue> },
    /// As it is, where the connection is others' too.
    Whole(Box<Request<()>>),
}

impl Spare {
    fn of(lease: &mut Lease<RequestBody>, request: &Request<RequestBody>) -> Option<Self> {
        let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if !safe || !request.body().is_end_stream() {
            return None;
        }
        if lease.keep_copy() {
            let id = request.headers().get(X_REQUEST_ID).cloned();
            return Some(Self::Written { method: request.method().clone(), uri: request.uri().clone(), id });
        }
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = request.method().clone();
        parts.uri = request.uri().clone();
        parts.headers = HeaderMap::clone(request.headers());
        Some(Self::Whole(Box::new(Request::from_parts(parts, ()))))
    }

    fn into_request(self, lease: &Lease<RequestBody>, body: &BodyProgress) -> Option<Box<Request<RequestBody>>> {
        let request = match self {
            Self::Written { method, uri, id } => lease.copy().filter(|copy| {
                *copy.method() == method && *copy.uri() == uri && copy.headers().get(X_REQUEST_ID) == id.as_ref()
            })?,
            Self::Whole(request) => *request,
        };
        Some(Box::new(request.map(|()| body.empty_again())))
    }
}
