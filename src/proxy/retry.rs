//! Whether a request may be sent again.
//!
//! A request that was not written at all may always be. So may one of which a server says that it has done nothing with it
//! (HTTP/2), as long as the budget lasts and its body is still here. One that was written, at most once more, and only where asking twice is the
//! same as asking once: a GET, HEAD or OPTIONS without a body, not a byte of whose answer has come, as long as the budget
//! lasts. RFC 9110, 9.2.2, calls PUT and DELETE idempotent too, which says that the backend's state is the same after two as
//! after one; but the second DELETE is answered with a 404, and how many backends send a message with each PUT nobody
//! knows. A time that runs out is no reason either: the server may still be at it.

use http::Method;
use http_body::Body;

use crate::{
    upstream::{Fault, Lease, NoAnswer, Outgoing, SendError},
    web::{BodyError, BodyProgress, RequestBody},
};

use super::{Error, attempt::Errand};

/// What it would take to send this request again, where there is a chance that it may be.
pub(super) fn spare(errand: &Errand<'_>, lease: &Lease<RequestBody>, request: &Outgoing<RequestBody>) -> Option<Spare> {
    errand.upstream.could_retry(lease).then(|| Spare::of(lease, request))?
}

/// The request to send again, after a connection broke or what came was no answer.
pub(super) fn again(
    errand: &mut Errand<'_>,
    lease: &mut Lease<RequestBody>,
    why: NoAnswer,
    spare: Option<Spare>,
    body: &BodyProgress,
    is_last: bool,
) -> Result<Box<Outgoing<RequestBody>>, Error> {
    let (error, is_silent) = lease.failure(why);
    if error.source.is_an_answer() {
        errand.upstream.answered(lease);
    }
    let is_unanswered = error.closed_before_answer() && is_silent;
    let SendError { unsent, is_refused, source } = error;
    let error = blame(source);
    // A server closes a kept connection at any moment, and nothing is wrong with it.
    let is_stale = lease.reused() && is_unanswered;
    // Nor with one that is leaving, or takes no more at the moment, and says so.
    let is_told = unsent.is_some() && is_refused;
    // Nor where a single exchange breaks off.
    let is_there = matches!(&error, Error::Broken(fault) if fault.is_of_one_exchange());
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
        Fault::NoHead => Error::BadTarget,
        other => Error::Broken(other),
    }
}

/// What is needed to send a request again: its head, where it has no body and asking twice is the same as asking once
/// (RFC 9110, 9.2.1).
pub(super) enum Spare {
    /// The connection has it until there is an answer.
    Kept,
    /// A copy, where the connection is others' too.
    Whole(Box<Outgoing<()>>),
}

impl Spare {
    fn of(lease: &Lease<RequestBody>, request: &Outgoing<RequestBody>) -> Option<Self> {
        let safe = matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
        if !safe || !request.body.is_end_stream() {
            return None;
        }
        if !lease.is_http2() {
            return Some(Self::Kept);
        }
        Some(Self::Whole(Box::new(request.head())))
    }

    fn into_request(self, lease: &mut Lease<RequestBody>, body: &BodyProgress) -> Option<Box<Outgoing<RequestBody>>> {
        match self {
            Self::Kept => lease.take_request(),
            Self::Whole(request) => Some(Box::new(request.map(|()| body.empty_again()))),
        }
    }
}
