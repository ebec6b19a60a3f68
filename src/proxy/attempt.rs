//! Sending a prepared request: on a kept connection if there is one, and once more where that is safe.

use std::error::Error as _;

use http::{HeaderMap, Method, Request, Response, StatusCode, request::Parts};
use http_body::Body;
use tokio::time::Instant;

use crate::{
    telemetry::Counters,
    upstream::{Lease, Reuse, SendError, Upstream},
    web::{BodyError, BodyProgress, RequestBody, RequestTimer},
};

use super::{Error, response::Forwarded};

/// Sends the request and waits for the head of the answer.
pub(super) async fn send(
    upstream: &Upstream<RequestBody>,
    request: Request<RequestBody>,
    timer: &RequestTimer,
    counters: &Counters,
) -> Result<Response<Forwarded>, Error> {
    let progress = request.body().progress();
    let mut lease = upstream.lease(Reuse::Allowed).await.map_err(Error::Connect)?;
    let spare = lease.reused().then(|| Spare::of(&request)).flatten();
    let response = match attempt(&mut lease, request, &progress, timer, upstream).await {
        Ok(response) => response,
        Err(Failed::Late) => return Err(Error::Timeout),
        Err(Failed::Broke(error)) => {
            let again = again(&lease, error, spare)?;
            counters.upstream_retries.inc();
            lease = upstream.lease(Reuse::Forbidden).await.map_err(Error::Connect)?;
            match attempt(&mut lease, again, &progress, timer, upstream).await {
                Ok(response) => response,
                Err(Failed::Late) => return Err(Error::Timeout),
                Err(Failed::Broke(error)) => return Err(blame(error.source)),
            }
        }
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::Switched);
    }
    Ok(response.map(|body| Forwarded::new(body, lease, progress)))
}

enum Failed {
    Late,
    Broke(SendError<RequestBody>),
}

/// One try. The clock runs while the upstream is to do something: it begins anew with each part of the body that the
/// upstream takes, and stands while the client is to send the next, for which the body has a deadline of its own.
async fn attempt(
    lease: &mut Lease<RequestBody>,
    request: Request<RequestBody>,
    progress: &BodyProgress,
    timer: &RequestTimer,
    upstream: &Upstream<RequestBody>,
) -> Result<Response<hyper::body::Incoming>, Failed> {
    let mut sending = std::pin::pin!(lease.send(request));
    let limit = upstream.section().response_timeout;
    let mut since = Instant::now();
    loop {
        match timer.within(limit.saturating_sub(since.elapsed()), sending.as_mut()).await {
            Ok(result) => return result.map_err(Failed::Broke),
            Err(_) if progress.is_awaited() => since = Instant::now(),
            Err(_) => match progress.last_read() {
                Some(read) if read > since => since = read,
                _ => {
                    progress.give_up();
                    return Err(Failed::Late);
                }
            },
        }
    }
}

/// The request to send again, if that can't make anything happen twice.
fn again(
    lease: &Lease<RequestBody>,
    error: SendError<RequestBody>,
    spare: Option<Spare>,
) -> Result<Request<RequestBody>, Error> {
    let stale = lease.reused() && error.closed_before_answer();
    match (error.unsent, spare) {
        // Not a byte of it was written.
        (Some(request), _) => Ok(*request),
        // It was written into a connection that the server was closing: an idle one is closed at any moment.
        (None, Some(spare)) if stale => Ok(spare.into_request()),
        _ => Err(blame(error.source)),
    }
}

/// Whose fault a broken connection is: a client's body that breaks off breaks the upstream's connection too.
fn blame(error: hyper::Error) -> Error {
    let body = error.source().and_then(|source| source.downcast_ref::<BodyError>());
    match body {
        Some(BodyError::TooLarge) => Error::Body(BodyError::TooLarge),
        Some(BodyError::TimedOut) => Error::Body(BodyError::TimedOut),
        Some(BodyError::Broken(_)) => Error::Body(BodyError::Broken(error)),
        None => Error::Broken(error),
    }
}

/// What is needed to send a request again: its head, where it has no body and asking twice is the same as asking once
/// (RFC 9110, 9.2.1).
struct Spare {
    parts: Parts,
    body: RequestBody,
}

impl Spare {
    fn of(request: &Request<RequestBody>) -> Option<Self> {
        let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if !safe || !request.body().is_end_stream() {
            return None;
        }
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = request.method().clone();
        parts.uri = request.uri().clone();
        parts.headers = HeaderMap::clone(request.headers());
        Some(Self { parts, body: request.body().empty_again() })
    }

    fn into_request(self) -> Request<RequestBody> {
        Request::from_parts(self.parts, self.body)
    }
}
