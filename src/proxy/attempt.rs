//! Sending a prepared request: on a kept connection if there is one, and once more where [`retry`] says so.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::StatusCode;
use tokio::time::Instant;

use crate::{
    upstream::{Course, Lease, Outgoing, Reuse, Upstream},
    web::{Answer, BodyProgress, RequestBody, RequestTimer},
};

use super::{
    Error,
    response::Forwarded,
    retry::{self, Spare},
    trailers::Trailers,
};

/// Where a request goes, and what watches over it.
#[derive(Clone)]
pub(super) struct Errand<'a> {
    pub(super) upstream: &'a Upstream<RequestBody>,
    pub(super) course: Course,
    pub(super) timer: RequestTimer,
    /// For a connection to come about.
    pub(super) connect_timeout: Duration,
    /// For the head of the answer.
    pub(super) response_timeout: Duration,
    /// Whether the answer may be a 101.
    pub(super) may_switch: bool,
    /// What is to become of the answer's trailers.
    pub(super) trailers: Trailers,
}

/// What a request comes to.
type Outcome = Result<Answer<Forwarded>, Error>;

/// Sends the request, at once where there is a kept connection. The head of the answer comes from the future.
pub(super) fn send(mut errand: Errand<'_>, request: Box<Outgoing<RequestBody>>, now: Instant) -> Sending<'_> {
    match errand.upstream.kept_now(&mut errand.course, now) {
        Some(lease) => start(errand, lease, request, Tries::Two, now),
        None => Sending::Slow { outcome: Box::pin(connect(errand, request, Reuse::Allowed, Tries::Two)) },
    }
}

/// Sends the request on a connection that may have to be made first.
async fn connect(mut errand: Errand<'_>, request: Box<Outgoing<RequestBody>>, reuse: Reuse, tries: Tries) -> Outcome {
    let lease = errand.upstream.lease(&mut errand.course, reuse, errand.connect_timeout).await.map_err(Error::from)?;
    start(errand, lease, request, tries, Instant::now()).await
}

fn start(
    errand: Errand<'_>,
    mut lease: Lease<RequestBody>,
    mut request: Box<Outgoing<RequestBody>>,
    tries: Tries,
    now: Instant,
) -> Sending<'_> {
    errand.timer.set(now + errand.response_timeout);
    let progress = request.body.progress();
    let spare = if tries == Tries::Two { retry::spare(&errand, &lease, &request) } else { None };
    errand.trailers.ask(&lease, &mut request);
    lease.send(request);
    Sending::Sent(Waiting { errand, lease: Some(lease), progress, spare, tries, since: now })
}

/// How often a request may still be sent, counting the present time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tries {
    One,
    Two,
}

/// A request under way, as a future.
///
/// Written out, since an `async` block keeps several copies of what goes through it: one such future lives for each
/// request that waits, and with many of them their memory is what a request costs.
pub(super) enum Sending<'a> {
    /// Sent, on the connection that we hold.
    Sent(Waiting<'a>),
    /// A connection has to be made, for the first or the second try. Boxed, since that is rare and large.
    Slow { outcome: Pin<Box<dyn Future<Output = Outcome> + 'a>> },
}

impl Future for Sending<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            match &mut *self {
                Self::Slow { outcome } => return outcome.as_mut().poll(cx),
                Self::Sent(waiting) => match ready!(waiting.poll(cx)) {
                    Ok(outcome) => return Poll::Ready(outcome),
                    Err(again) => {
                        let outcome = connect(waiting.errand.clone(), again, Reuse::Forbidden, Tries::One);
                        *self = Self::Slow { outcome: Box::pin(outcome) };
                    }
                },
            }
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
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome, Box<Outgoing<RequestBody>>>> {
        let Some(lease) = &mut self.lease else { return Poll::Pending };
        let Poll::Ready(head) = lease.poll_answer(cx) else {
            return self.has_patience().map(Ok);
        };
        self.errand.timer.clear();
        let Some(mut lease) = self.lease.take() else { return Poll::Pending };
        if head.is_ok() {
            self.errand.upstream.answered(&mut lease);
        }
        Poll::Ready(match head {
            Ok(answer) if answer.status == StatusCode::SWITCHING_PROTOCOLS => {
                if self.errand.may_switch {
                    Ok(Ok(answer.map(|body| Forwarded::switching(body, lease, self.progress.clone()))))
                } else {
                    Ok(Err(self.refuse(Error::Switched)))
                }
            }
            Ok(answer) => {
                let trailers = self.errand.trailers;
                Ok(Ok(answer.map(|body| Forwarded::new(body, lease, self.progress.clone(), trailers))))
            }
            Err(why) => {
                let is_last = self.tries == Tries::One;
                let spare = self.spare.take();
                let again = retry::again(&mut self.errand, &mut lease, why, spare, &self.progress, is_last);
                again.map_or_else(|error| Ok(Err(error)), Err)
            }
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
                if let Some(lease) = self.lease.take() {
                    self.errand.upstream.late(&lease, &Error::Timeout);
                }
                return Poll::Ready(Err(Error::Timeout));
            }
        };
        self.errand.timer.set(self.since + self.errand.response_timeout);
        Poll::Pending
    }
}
