//! HTTP/1.1 with a client: one connection, its requests one after the other.
//!
//! What hyper's server would do, without the two walls that one has to build around it: bytes pass the [screen](super::screen) and
//! are counted before they are read, since a lenient parser repairs what is to be refused; and deadlines, ends and half-written answers
//! are found out from beside it. Here whoever reads a head knows what it means, where its body ends and what is owed to the client.

mod head;
mod room;
mod traffic;
mod wire;

#[cfg(test)]
mod tests;

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use http::{Request, StatusCode};

use super::{
    Service,
    connection::Shared,
    deadline::Tick,
    refuse,
    screen::{HeadScreen, Progress},
    stream::Stream,
};
use crate::web::{Answer, Framing, Refusal, RequestBody, Stopped, Transfer, YieldOnce};

use head::{Facts, Head};
pub(super) use room::Room;
use traffic::{Due, Phase};
use wire::Wire;

/// A connection with nothing to parse: the socket, and bytes already read from it.
pub(super) struct Parked {
    pub(super) stream: Stream,
    pub(super) held: BytesMut,
}

/// What a connection is when it is served no longer.
pub(super) enum Left {
    /// Without anything to do.
    Idle(Parked),
    /// No longer HTTP.
    Switched(Parked),
    Closed,
}

/// Why a connection is left.
enum End {
    /// It is done, well or badly.
    Done,
    /// The body of an answer broke off.
    Broken,
    /// These bytes are no request.
    Refused(Refusal),
    /// Nothing to do for a while.
    Idle,
    /// A 101 has gone out.
    Switched,
    /// The client is gone or takes nothing.
    Cut,
}

/// Serves requests until the connection has become idle, or is HTTP no more, or closed.
pub(super) async fn serve<S: Service>(parked: Parked, conn: &Rc<S::Conn>, shared: &Shared<S>) -> Left {
    let wire = Wire::new(parked.stream, parked.held);
    let session = Session {
        wire: &wire,
        shared,
        tick: Tick::new(&shared.options),
        watching: false,
        screen: HeadScreen::new(shared.options.head),
        request: None,
        head: None,
        answer: None,
        transfer: Transfer::default(),
        yields: YieldOnce::default(),
        may_wait: false,
    };
    let end = session.requests(conn).await.err().unwrap_or(End::Done);
    let (is_whole, would_seem_whole) = (wire.is_quiet(), wire.traffic().would_seem_whole());
    let Some((stream, held)) = wire.end() else { return Left::Closed };
    match end {
        End::Idle => return Left::Idle(Parked { stream, held }),
        End::Switched => return Left::Switched(Parked { stream, held }),
        End::Refused(why) => {
            let answer = shared.service.get().refuse(why, conn);
            // The client may be gone already; then there is nobody to tell.
            let _: io::Result<()> = refuse::answer(stream, answer, shared.options.write_timeout).await;
        }
        // Where the close is what ends a body, a clean one would pass it off as whole.
        End::Broken | End::Cut if would_seem_whole => stream.break_off(),
        End::Done if is_whole && !stream.has_unread() => {
            refuse::say_goodbye(stream, shared.options.write_timeout).await;
        }
        End::Done | End::Broken => refuse::linger(stream, shared.options.write_timeout).await,
        End::Cut => {}
    }
    Left::Closed
}

/// The requests of a connection.
struct Session<'a, S: Service> {
    wire: &'a Rc<Wire>,
    shared: &'a Shared<S>,
    tick: Tick,
    watching: bool,
    screen: HeadScreen,
    /// The request that has come, until the service is asked.
    request: Option<Box<Request<RequestBody>>>,
    /// What else is to be known of it, when it has come.
    head: Option<Head>,
    /// The answer to it. Here and not handed on from whoever waits for it, since it is large.
    answer: Option<Answer<S::Body>>,
    transfer: Transfer<S::Body>,
    /// Lets others go first before something is written.
    yields: YieldOnce,
    /// Whether the answer at hand may be left to be sent: something comes behind it.
    may_wait: bool,
}

impl<S: Service> Session<'_, S> {
    /// Answers one request after the other.
    async fn requests(mut self, conn: &Rc<S::Conn>) -> Result<(), End> {
        while self.until(Self::poll_head).await?.map_err(End::Refused)?
            && let (Some(head), Some(mut request)) = (self.head.take(), self.request.take())
        {
            // It answers what it has begun with, and goes on doing what it does now and then until its last answer is as good as out.
            let service = self.shared.service.get();
            let facts = head.facts;
            *request.body_mut() = self.wire.begin(head);
            {
                let mut call = pin!(service.call(&mut request, conn, self.wire.traffic().timer()));
                self.shared.room.give_back(request);
                let answered = |this: &mut Self, cx: &mut Context<'_>| {
                    this.answer = Some(ready!(call.as_mut().poll(cx)));
                    Poll::Ready(())
                };
                self.until(answered).await?;
            }
            if !self.answer(facts).await? {
                break;
            }
        }
        // Whoever closes the connection must not do so over it.
        self.until(|this, cx| this.wire.poll_unsent(cx)).await?.map_err(|_| End::Cut)
    }

    /// Sends the answer. False where the connection ends with it.
    async fn answer(&mut self, facts: Facts) -> Result<bool, End> {
        let Some(answer) = self.answer.take() else { return Ok(false) };
        let switches = answer.status == StatusCode::SWITCHING_PROTOCOLS;
        // It is closed then, and a client that is told so does not send its next request into the close.
        let ends_here = self.wire.leaves_body_unread() || self.shared.drain.tells();
        let mut keeps_alive = false;
        let framing = self.transfer.begin(|to| {
            to.extend_from_slice(self.wire.begin_answer());
            let written = self.shared.date.with(|date| head::write(&answer, facts, ends_here, date, to));
            keeps_alive = written.keeps_alive;
            written.framing
        });
        self.may_wait = keeps_alive && !switches;
        self.wire.traffic().begin_answer(framing == Framing::UntilClose);
        let body = answer.body;
        if framing == Framing::Nothing {
            drop(body);
        } else {
            self.transfer.follow_with(body);
        }
        match self.until(Self::poll_answer).await? {
            Ok(()) => self.wire.traffic().end_request(),
            Err(Stopped::Io(_)) => return Err(End::Cut),
            Err(Stopped::Body(_)) => {
                // A client is owed the bytes that there were.
                self.until(Self::poll_flush).await?.map_err(|_| End::Cut)?;
                return Err(End::Broken);
            }
        }
        if switches {
            return Err(End::Switched);
        }
        let is_whole = self.until(|this, cx| this.poll_request_end(cx)).await?;
        self.wire.end_request();
        Ok(keeps_alive && is_whole)
    }

    /// Waits for the head of the next request. False where no more come.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Refusal>> {
        let (wire, shared) = (self.wire, self.shared);
        loop {
            // An answer is out before the next request is looked at. While it waits for its turn there may be none, which is mostly so.
            if (wire.is_stuck() || wire.with_read(|read| !read.is_empty())) && ready!(wire.poll_unsent(cx)).is_err() {
                return Poll::Ready(Ok(false));
            }
            wire.with_read(|read| {
                if read.is_empty() {
                    return Ok(());
                }
                match self.screen.look(read) {
                    Progress::Complete(end) => {
                        let request = self.request.insert(shared.room.take());
                        self.head = Some(head::read(read, end, shared.options.head.lines, request)?);
                    }
                    Progress::Refused(why) => return Err(why),
                    Progress::Partial => wire.traffic().begin_head(self.screen.is_blank(read)),
                }
                Ok(())
            })?;
            if self.head.is_some() {
                return Poll::Ready(Ok(true));
            }
            // Not between the bytes of a request and their reading: it would be lost.
            let reads = || wire.traffic().phase() == Phase::Head || wire.with(false, |stream| stream.has_unseen());
            if shared.drain.closes() && !reads() {
                return Poll::Ready(Ok(false));
            }
            if !matches!(ready!(wire.poll_read(cx)), Ok(1..)) {
                return Poll::Ready(Ok(false));
            }
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            let is_to_come = self.transfer.poll_body(cx)?.is_pending();
            if self.may_wait
                && let Some(answer) = self.transfer.ready_message()
            {
                self.wire.send_later(answer, cx);
                self.yields.begin_anew();
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_flush(cx)).map_err(Stopped::Io)?;
            if self.transfer.is_over() {
                return Poll::Ready(Ok(()));
            }
            if is_to_come {
                if self.transfer.lacks_only_the_end() {
                    self.wire.traffic().lacks_only_the_end();
                }
                return Poll::Pending;
            }
        }
    }

    /// Writes what there is of an answer, after what others read now.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.transfer.is_flushed() {
            return Poll::Ready(Ok(()));
        }
        let traffic = self.wire.traffic();
        traffic.is_to_write();
        let waiting = self.transfer.waiting();
        ready!(self.yields.poll_before(waiting, cx));
        let gone = Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        let flushed = self.wire.with(gone, |stream| self.transfer.poll_flush(stream, cx));
        if flushed.is_pending() {
            traffic.is_stalled(self.transfer.waiting() < waiting);
        } else {
            self.yields.begin_anew();
            traffic.flushed();
        }
        flushed
    }

    /// The end of the request's body, which may come behind the answer. False where nobody wants it.
    fn poll_request_end(&self, cx: &Context<'_>) -> Poll<bool> {
        // This may be what ends it.
        if self.wire.leaves_body_unread() {
            return Poll::Ready(false);
        }
        if !self.wire.is_body_left() {
            return Poll::Ready(true);
        }
        self.wire.traffic().body().wake_at_end(cx);
        Poll::Pending
    }

    /// Waits for this, as long as the client has patience and is there, and deserves ours.
    async fn until<T>(&mut self, mut what: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>) -> Result<T, End> {
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(done) = what(self, cx) {
                    return Poll::Ready(Ok(done));
                }
                if let Err(end) = ready!(self.look(cx)) {
                    return Poll::Ready(Err(end));
                }
            }
        })
        .await
    }

    /// Looks after the connection while somebody waits. Ready when he is to be polled again.
    fn look(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.watching && self.client_is_gone(cx) {
            return Poll::Ready(Err(End::Cut));
        }
        // Whatever is waited for: nobody else sees to it.
        if self.wire.is_stuck() && matches!(self.wire.poll_unsent(cx), Poll::Ready(Err(_))) {
            return Poll::Ready(Err(End::Cut));
        }
        let Some(now) = self.tick.poll(cx) else { return Poll::Pending };
        Poll::Ready(match self.wire.traffic().due(now, self.wire.is_body_left(), &self.shared.options) {
            Due::Park => Err(End::Idle),
            Due::Cut => Err(End::Cut),
            Due::Refuse => Err(End::Refused(Refusal::HeadTimeout)),
            Due::Watch => {
                self.watching = true;
                Ok(())
            }
            Due::End => {
                self.transfer.end();
                Ok(())
            }
            Due::Nothing | Due::Poll => Ok(()),
        })
    }

    /// Whether the client has closed its side. It can't want the answer then: a Mini Program never half-closes, and
    /// nginx and `HAProxy` see it the same way.
    fn client_is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        // Whoever waits for a part of the body sees it himself, and is the one to be woken for what comes.
        let traffic = self.wire.traffic();
        if traffic.phase() != Phase::Request || traffic.body().is_awaited() {
            self.watching = false;
            return false;
        }
        match self.wire.with(Poll::Ready(true), |stream| stream.poll_gone(cx)) {
            Poll::Ready(true) => true,
            Poll::Ready(false) => {
                // Bytes of a next request hide the end behind them. The next tick looks again.
                self.watching = false;
                false
            }
            Poll::Pending => false,
        }
    }
}
