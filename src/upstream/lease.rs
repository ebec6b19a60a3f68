//! A connection in use, or one stream of one.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, client::conn::TrySendError};
use pin_project_lite::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_local,
    time::timeout,
};

use crate::web::Resumed;

use super::{
    AnswerBody, NoAnswer, Payload, SendError,
    error::Why,
    http2::{Asked, Exchange},
    link::Task,
    pool::{Kept, Pool},
    socket::Socket,
};

/// A connection in use, or a stream of one that others use too. Dropping it closes or resets it;
/// [`give_back`](Self::give_back) keeps it.
pub struct Lease<B: Body + 'static> {
    line: Line<B>,
    busy: Busy<B>,
    reused: bool,
}

enum Line<B: Body + 'static> {
    /// Both boxed, so that a lease is moved by its pointers.
    Own(Box<Kept<B>>),
    Shared(Box<Exchange<B>>),
}

impl<B: Body + 'static> fmt::Debug for Lease<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({}, reused: {})", self.busy.0.server().name, self.reused)
    }
}

impl<B: Payload> Lease<B> {
    pub(super) fn own(kept: Box<Kept<B>>, pool: &Rc<Pool<B>>, reused: bool) -> Self {
        Self { line: Line::Own(kept), busy: Busy::begin(pool), reused }
    }

    pub(super) fn shared(exchange: Exchange<B>, pool: &Rc<Pool<B>>) -> Self {
        let reused = exchange.lay_unused();
        Self { line: Line::Shared(Box::new(exchange)), busy: Busy::begin(pool), reused }
    }

    /// Whether the connection has carried a request before, and was kept unused since.
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// Whether HTTP/2 is spoken on it.
    pub fn is_http2(&self) -> bool {
        matches!(self.line, Line::Shared(_))
    }

    /// Sends a request. The head of its answer comes from the future, while [`poll_with`](Self::poll_with) drives the
    /// connection.
    pub fn send(
        &mut self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, NoAnswer<B>>> + use<B> {
        match &mut self.line {
            Line::Own(kept) => {
                kept.link.heard.awaits_answer();
                Answering::Http1 { head: kept.link.sender.try_send_request(request) }
            }
            Line::Shared(exchange) => Answering::Http2 { head: exchange.send(request) },
        }
    }

    /// Keeps a copy of the request without a body that is sent next, until there is an answer. False where only the request
    /// itself can be kept.
    pub fn keep_copy(&mut self) -> bool {
        if let Line::Own(kept) = &self.line {
            kept.link.copy.begin();
        }
        !self.is_http2()
    }

    /// What was written of that request, to be sent again.
    pub fn copy(&self) -> Option<Request<()>> {
        match &self.line {
            Line::Own(kept) => kept.link.copy.request(),
            Line::Shared(_) => None,
        }
    }

    /// There is an answer.
    pub(super) fn answered(&mut self) {
        match &mut self.line {
            Line::Own(kept) => {
                kept.link.heard.has_answer();
                kept.link.copy.end();
            }
            Line::Shared(exchange) => exchange.answered(),
        }
    }

    /// There is no answer in time.
    pub(super) fn is_late(&self) {
        if let Line::Shared(exchange) = &self.line {
            exchange.is_late();
        }
    }

    /// Whether no other request has told of what this one failed for.
    pub(super) fn is_first_to_fail(&self) -> bool {
        match &self.line {
            Line::Own(_) => true,
            Line::Shared(exchange) => exchange.is_first_to_fail(),
        }
    }

    /// What there is instead of an answer, and whether it is all that came.
    pub fn failure(&mut self, why: NoAnswer<B>) -> (SendError<B>, bool) {
        match (&mut self.line, why.0) {
            (Line::Own(kept), Why::Http1(error)) => (SendError::of_http1(*error), !kept.link.heard.anything()),
            (Line::Shared(exchange), Why::Http2(why)) => {
                let (unsent, is_refused) = exchange.take_back(&why).unzip();
                let source = exchange.take_fault().unwrap_or(why.fault);
                let error = SendError { unsent: unsent.map(Box::new), is_refused: is_refused.unwrap_or(false), source };
                if error.closed_before_answer() {
                    exchange.lost();
                    self.busy.0.http2.let_unused_go();
                }
                (error, !why.has_heard)
            }
            (_, Why::Http1(error)) => (SendError::of_http1(*error), false),
            (_, Why::Http2(why)) => (SendError { unsent: None, is_refused: false, source: why.fault }, false),
        }
    }

    /// Drives the connection and then asks `consumer`, which waits for a part of the answer.
    pub fn poll_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut consumer: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match &mut self.line {
            Line::Own(kept) => kept.link.poll_with(cx, consumer),
            Line::Shared(exchange) => {
                exchange.poll_upload(cx);
                consumer(cx)
            }
        }
    }

    /// The same, where the part may be here already.
    pub fn poll_for_more<T>(
        &mut self,
        cx: &mut Context<'_>,
        consumer: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match &mut self.line {
            Line::Own(kept) => kept.link.poll_for_more(cx, consumer),
            Line::Shared(_) => self.poll_with(cx, consumer),
        }
    }

    /// Lets the connection go on whether or not anybody waits for the next part of its answer.
    pub fn set_going(&mut self) {
        match &mut self.line {
            Line::Own(kept) => kept.link.set_going(),
            Line::Shared(exchange) => exchange.set_going(),
        }
    }

    /// Whether a request whose body was read whole is on its way whole, as far as we have to do with it.
    pub fn has_sent(&self) -> bool {
        match &self.line {
            Line::Own(_) => true,
            Line::Shared(exchange) => exchange.is_sent(),
        }
    }

    /// Whether nothing of the last exchange is under way any more.
    pub fn is_ready(&self) -> bool {
        match &self.line {
            Line::Own(kept) => kept.link.is_ready(),
            Line::Shared(exchange) => exchange.is_sent(),
        }
    }

    /// Keeps the connection for the next request. Only for one whose request was sent and whose answer was read whole.
    pub fn give_back(self) {
        if let Line::Own(kept) = self.line {
            self.busy.0.keep(kept);
        }
    }

    /// Leaves the connection to itself until what is under way on it has ended; or until `goes_on`, asked every
    /// `response_timeout`, says that it does not.
    pub fn let_go(self, goes_on: impl FnMut() -> bool + 'static) {
        let patience = self.busy.0.group.section.response_timeout;
        match self.line {
            Line::Own(kept) => {
                if let Some(task) = kept.link.into_task() {
                    spawn_local(watch(task, (), patience, goes_on));
                }
            }
            Line::Shared(exchange) => {
                if let Some((task, slot)) = exchange.into_task() {
                    spawn_local(watch(task, slot, patience, goes_on));
                }
            }
        }
    }

    /// The next answer may be that the connection is to be something else than HTTP.
    pub fn let_switch(&mut self) {
        if let Line::Own(kept) = &mut self.line {
            kept.link.let_switch();
        }
    }

    /// Takes the connection out of HTTP for good. None where the answer was not a 101.
    pub fn into_switched(self) -> Option<Switched<B>> {
        let Line::Own(kept) = self.line else { return None };
        let (socket, read) = kept.link.into_socket()?;
        Some(Switched { stream: Resumed::new(read, socket), busy: self.busy })
    }

    /// The place of its server.
    pub(super) fn at(&self) -> usize {
        self.busy.0.at
    }
}

/// Waits for a task, which ends with this, and keeps `with` as long.
async fn watch(mut task: Task, with: impl Sized, patience: Duration, mut goes_on: impl FnMut() -> bool) {
    while timeout(patience, task.over()).await.is_err() && goes_on() {}
    drop(with);
}

pin_project! {
    /// The head of an answer, to come.
    #[project = AnsweringProject]
    enum Answering<H> {
        Http1 { #[pin] head: H },
        Http2 { head: Asked },
    }
}

impl<B, H> Future for Answering<H>
where
    H: Future<Output = Result<Response<Incoming>, TrySendError<Request<B>>>>,
{
    type Output = Result<Response<AnswerBody>, NoAnswer<B>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnsweringProject::Http1 { head } => Poll::Ready(match ready!(head.poll(cx)) {
                Ok(head) => Ok(head.map(AnswerBody::Http1)),
                Err(why) => Err(NoAnswer(Why::Http1(Box::new(why)))),
            }),
            AnsweringProject::Http2 { head } => Poll::Ready(match ready!(Pin::new(head).poll(cx)) {
                Ok(head) => Ok(head.map(AnswerBody::Http2)),
                Err(why) => Err(NoAnswer(Why::Http2(why))),
            }),
        }
    }
}

/// A connection that speaks HTTP no more. It counts among its server's connections, and as something that the server has to
/// do with, until it is dropped.
pub struct Switched<B: Body + 'static> {
    stream: Resumed<Socket>,
    busy: Busy<B>,
}

impl<B: Body + 'static> Switched<B> {
    /// What is said on it.
    pub fn stream(&mut self) -> &mut (impl AsyncRead + AsyncWrite + Unpin + use<B>) {
        &mut self.stream
    }
}

impl<B: Body + 'static> fmt::Debug for Switched<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Switched({})", self.busy.0.server().name)
    }
}

/// A request that its server has to do with, counted.
pub(super) struct Busy<B: Body + 'static>(Rc<Pool<B>>);

impl<B: Body + 'static> Busy<B> {
    pub(super) fn begin(pool: &Rc<Pool<B>>) -> Self {
        pool.outstanding.set(pool.outstanding.get() + 1);
        Self(Rc::clone(pool))
    }
}

impl<B: Body + 'static> Drop for Busy<B> {
    fn drop(&mut self) {
        self.0.outstanding.set(self.0.outstanding.get() - 1);
    }
}
