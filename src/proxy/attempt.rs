//! Sending a prepared request: on a kept connection if there is one, and once more where that is safe.

use std::{
    error::Error as _,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Method, Request, Response, StatusCode, request::Parts};
use http_body::Body;
use hyper::{body::Incoming, client::conn::TrySendError};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::{
    telemetry::Counters,
    upstream::{Lease, Reuse, SendError, Upstream},
    web::{BodyError, BodyProgress, RequestBody, RequestTimer},
};

use super::{
    Error,
    response::{self, Forwarded},
};

/// Where a request goes, and what watches over it.
#[derive(Clone)]
pub(super) struct Errand<'a> {
    pub(super) upstream: &'a Upstream<RequestBody>,
    pub(super) counters: &'a Counters,
    pub(super) timer: RequestTimer,
}

/// What the head of an answer comes as.
type Head = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

/// What a request comes to.
type Outcome = Result<Response<Forwarded>, Error>;

/// Sends the request, at once where there is a kept connection. The head of the answer comes from the future.
pub(super) fn send(
    errand: Errand<'_>,
    request: Request<RequestBody>,
    now: Instant,
) -> Sending<'_, impl Future<Output = Head> + use<'_>> {
    match errand.upstream.kept_now(now) {
        Some(lease) => start(errand, lease, request, Tries::Two, now),
        None => Sending::Slow { outcome: Box::pin(connect(errand, request, Reuse::Allowed, Tries::Two)) },
    }
}

/// Sends the request on a connection that may have to be made first.
async fn connect(errand: Errand<'_>, request: Request<RequestBody>, reuse: Reuse, tries: Tries) -> Outcome {
    let lease = errand.upstream.lease(reuse).await.map_err(Error::Connect)?;
    start(errand, lease, request, tries, Instant::now()).await
}

fn start(
    errand: Errand<'_>,
    mut lease: Lease<RequestBody>,
    request: Request<RequestBody>,
    tries: Tries,
    now: Instant,
) -> Sending<'_, impl Future<Output = Head> + use<'_>> {
    errand.timer.set(now + errand.upstream.section().response_timeout);
    let progress = request.body().progress();
    let spare = if lease.reused() && tries == Tries::Two { Spare::of(&request) } else { None };
    let answer = lease.send(request);
    Sending::Sent { answer, waiting: Waiting { errand, lease: Some(lease), progress, spare, tries, since: now } }
}

/// How often a request may still be sent, counting the present time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tries {
    One,
    Two,
}

pin_project! {
    /// A request under way, as a future.
    ///
    /// Written out, since an `async` block keeps several copies of what goes through it: one such future lives for each
    /// request that waits, and with many of them their memory is what a request costs.
    #[project = Project]
    pub(super) enum Sending<'a, A> {
        /// Sent, on the connection that we hold.
        Sent { #[pin] answer: A, waiting: Waiting<'a> },
        /// A connection has to be made, for the first or the second try. Boxed, since that is rare and large.
        Slow { outcome: Pin<Box<dyn Future<Output = Outcome> + 'a>> },
    }
}

impl<A: Future<Output = Head>> Future for Sending<'_, A> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        if let Project::Sent { answer, waiting } = self.as_mut().project() {
            match ready!(waiting.poll(cx, answer)) {
                Ok(outcome) => return Poll::Ready(outcome),
                Err(again) => {
                    waiting.errand.counters.upstream_retries.inc();
                    let outcome = Box::pin(connect(waiting.errand.clone(), *again, Reuse::Forbidden, Tries::One));
                    self.set(Sending::Slow { outcome });
                }
            }
        }
        match self.project() {
            Project::Slow { outcome } => outcome.as_mut().poll(cx),
            Project::Sent { .. } => Poll::Ready(Err(Error::NoUpstream)),
        }
    }
}

/// What it takes to wait for an answer.
pub(super) struct Waiting<'a> {
    errand: Errand<'a>,
    lease: Option<Lease<RequestBody>>,
    progress: BodyProgress,
    spare: Option<Spare>,
    tries: Tries,
    /// Since when the upstream is to do something. The clock begins anew with each part of the body that the upstream
    /// takes, and stands while the client is to send the next, for which the body has a deadline of its own.
    since: Instant,
}

impl Waiting<'_> {
    /// The outcome; or the request, to be sent once more.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut answer: Pin<&mut impl Future<Output = Head>>,
    ) -> Poll<Result<Outcome, Box<Request<RequestBody>>>> {
        let Some(lease) = &mut self.lease else { return Poll::Pending };
        let Poll::Ready(head) = lease.poll_with(cx, |cx| answer.as_mut().poll(cx)) else {
            return self.has_patience().map(Ok);
        };
        self.errand.timer.clear();
        let Some(lease) = self.lease.take() else { return Poll::Pending };
        Poll::Ready(match head {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                Ok(Err(self.refuse(Error::Switched)))
            }
            Ok(response) if response::is_coded(response.headers()) => Ok(Err(self.refuse(Error::Coded))),
            Ok(response) => Ok(Ok(response.map(|body| Forwarded::new(body, lease, self.progress.clone())))),
            Err(error) if self.tries == Tries::One => Ok(Err(blame(error.into_error()))),
            Err(error) => again(&lease, error.into(), self.spare.take()).map_or_else(|error| Ok(Err(error)), Err),
        })
    }

    /// No answer that could be passed on: nobody wants the rest of the request either.
    fn refuse(&self, error: Error) -> Error {
        self.progress.give_up();
        error
    }

    fn has_patience(&mut self) -> Poll<Outcome> {
        if !self.errand.timer.has_passed() {
            return Poll::Pending;
        }
        self.since = match self.progress.last_read() {
            _ if self.progress.is_awaited() => Instant::now(),
            Some(read) if read > self.since => read,
            _ => {
                self.progress.give_up();
                self.lease = None;
                return Poll::Ready(Err(Error::Timeout));
            }
        };
        self.errand.timer.set(self.since + self.errand.upstream.section().response_timeout);
        Poll::Pending
    }
}

/// The request to send again, if that can't make anything happen twice.
fn again(
    lease: &Lease<RequestBody>,
    error: SendError<RequestBody>,
    spare: Option<Spare>,
) -> Result<Box<Request<RequestBody>>, Error> {
    let stale = lease.reused() && error.closed_before_answer();
    match (error.unsent, spare) {
        // Not a byte of it was written.
        (Some(request), _) => Ok(request),
        // It was written into a connection that the server was closing: an idle one is closed at any moment.
        (None, Some(spare)) if stale => Ok(Box::new(spare.into_request())),
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
