//! A connection in use, or one stream of one.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::{task::spawn_local, time::timeout};

use crate::web::{Answer, Resumed, Side};

use super::{
    AnswerBody, Fault, NoAnswer, Outgoing, Payload, SendError,
    error::Why,
    http2::{Asked, Exchange, Unanswered},
    pool::{Kept, Pool},
    socket::Socket,
    task::Task,
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
    Shared(Box<Stream<B>>),
}

/// A stream, and the head of the answer that it is to bring.
struct Stream<B: Body + 'static> {
    exchange: Exchange<B>,
    asked: Option<Asked>,
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
        Self { line: Line::Shared(Box::new(Stream { exchange, asked: None })), busy: Busy::begin(pool), reused }
    }

    /// Whether the connection has carried a request before, and was kept unused since.
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// Whether HTTP/2 is spoken on it.
    pub fn is_http2(&self) -> bool {
        matches!(self.line, Line::Shared(_))
    }

    /// The request to be sent while [`poll_answer`](Self::poll_answer) is asked.
    pub fn send(&mut self, request: Box<Outgoing<B>>) {
        match &mut self.line {
            Line::Own(kept) => kept.link.send(request),
            Line::Shared(stream) => stream.asked = Some(stream.exchange.send(*request)),
        }
    }

    /// Sends the request and waits for the head of its answer.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer<AnswerBody>, NoAnswer>> {
        Poll::Ready(match &mut self.line {
            Line::Own(kept) => match ready!(kept.link.poll_answer(cx)) {
                Ok(head) => Ok(head.map(AnswerBody::Http1)),
                Err(why) => Err(NoAnswer(Why::Http1(why))),
            },
            Line::Shared(stream) => {
                stream.exchange.poll_upload(cx);
                let Some(asked) = &mut stream.asked else { return Poll::Pending };
                match ready!(Pin::new(asked).poll(cx)) {
                    Ok(head) => Ok(Answer::from(head).map(AnswerBody::Http2)),
                    Err(why) => Err(NoAnswer(Why::Http2(why))),
                }
            }
        })
    }

    /// The next part of the answer's body.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut AnswerBody,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match (&mut self.line, body) {
            (Line::Own(kept), AnswerBody::Http1(decoder)) => {
                kept.link.poll_body(cx, decoder).map(|data| data.map(|data| data.map(Frame::data)))
            }
            (Line::Shared(stream), body) => {
                stream.exchange.poll_upload(cx);
                body.poll_rest(cx)
            }
            (Line::Own(_), body) => body.poll_rest(cx),
        }
    }

    /// The request, where its connection still has it: one without a body that has no answer.
    pub fn take_request(&mut self) -> Option<Box<Outgoing<B>>> {
        match &mut self.line {
            Line::Own(kept) => kept.link.take_request(),
            Line::Shared(_) => None,
        }
    }

    /// There is an answer.
    pub(super) fn answered(&mut self) {
        if let Line::Shared(stream) = &mut self.line {
            stream.exchange.answered();
        }
    }

    /// There is no answer in time.
    pub(super) fn is_late(&self) {
        if let Line::Shared(stream) = &self.line {
            stream.exchange.is_late();
        }
    }

    /// Whether no other request has told of what this one failed for.
    pub(super) fn is_first_to_fail(&self) -> bool {
        match &self.line {
            Line::Own(_) => true,
            Line::Shared(stream) => stream.exchange.is_first_to_fail(),
        }
    }

    /// What there is instead of an answer, and whether it is all that came.
    pub fn failure(&mut self, why: NoAnswer) -> (SendError<B>, bool) {
        match (&mut self.line, why.0) {
            (Line::Own(kept), Why::Http1(source)) => {
                let unsent = kept.link.take_unsent();
                (SendError { unsent, is_refused: false, source }, !kept.link.has_heard())
            }
            (Line::Shared(stream), Why::Http2(why)) => {
                let exchange = &mut stream.exchange;
                let (unsent, is_refused) = exchange.take_back(&why).unzip();
                let source = exchange.take_fault().unwrap_or(why.fault);
                let error = SendError { unsent: unsent.map(Box::new), is_refused: is_refused.unwrap_or(false), source };
                if error.closed_before_answer() {
                    exchange.lost();
                    self.busy.0.http2.let_unused_go();
                }
                (error, !why.has_heard)
            }
            (_, Why::Http1(source) | Why::Http2(Unanswered { fault: source, .. })) => {
                (SendError { unsent: None, is_refused: false, source }, false)
            }
        }
    }

    /// Lets the connection go on whether or not anybody waits for the next part of its answer.
    pub fn set_going(&mut self) {
        match &mut self.line {
            Line::Own(kept) => kept.link.set_going(),
            Line::Shared(stream) => stream.exchange.set_going(),
        }
    }

    /// Whether a request whose body was read whole is on its way whole, as far as we have to do with it.
    pub fn has_sent(&self) -> bool {
        match &self.line {
            Line::Own(kept) => kept.link.has_sent(),
            Line::Shared(stream) => stream.exchange.is_sent(),
        }
    }

    /// Whether nothing of the last exchange is under way any more.
    pub fn is_ready(&self) -> bool {
        match &self.line {
            Line::Own(kept) => kept.link.is_ready(),
            Line::Shared(stream) => stream.exchange.is_sent(),
        }
    }

    /// Whether the connection is open, as far as one can know.
    #[cfg(test)]
    pub(super) fn is_open(&mut self) -> bool {
        match &mut self.line {
            Line::Own(kept) => kept.link.is_open(),
            Line::Shared(_) => true,
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
            Line::Shared(stream) => {
                if let Some((task, slot)) = stream.exchange.into_task() {
                    spawn_local(watch(task, slot, patience, goes_on));
                }
            }
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

/// A connection that speaks HTTP no more. It counts among its server's connections, and as something that the server has to
/// do with, until it is dropped.
pub struct Switched<B: Body + 'static> {
    stream: Resumed<Socket>,
    busy: Busy<B>,
}

impl<B: Body + 'static> Switched<B> {
    /// What is said on it.
    pub fn stream(&mut self) -> &mut (impl Side + use<B>) {
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
