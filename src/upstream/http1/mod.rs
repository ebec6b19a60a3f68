//! HTTP/1.1 with a server: one connection, driven by the request that uses it.
//!
//! hyper's client would do the same with a task or a channel between the request and the socket, and would not give back a request
//! once it has begun to write it. Here whoever waits for an answer writes and reads, or leaves the writing to the one who writes for
//! all ([`later`](crate::web::later)); and a request without a body stays here until there is an answer, should it be sent once more.
//! One case is left where a task of its own is right: while a request's body is still on its way behind the head of the answer, both
//! directions must go on without each other, or a client that reads late would stop its own upload.
//!
//! Heads are read by httparse, which hyper has too; [`head`] decides where an answer ends, and a [`Decoder`] finds it there.

mod error;
mod head;
mod wire;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::spawn_local,
};

use super::{Fault, MOST_BEFORE_ANSWER, Outgoing, Payload, socket::Socket, task::Task};
use crate::web::{Answer, Decoder, Framing, Inbox, Lines, Stopped, Transfer, YieldOnce};

use wire::{Rest, Wire};

pub(super) use error::Error;

/// A connection.
pub(super) struct Link<B> {
    wire: Rc<Wire>,
    /// The request at hand, until it has begun; and one without a body until it is answered.
    request: Option<Box<Outgoing<B>>>,
    /// What the head of a request with a body took up, for that of the answer.
    room: Lines,
    has_begun: bool,
    is_head: bool,
    upload: Transfer<B>,
    /// Lets others go first before a request is written that is not left to be sent.
    yields: YieldOnce,
    /// The rest of the upload, where it goes on by itself.
    going: Option<Task>,
    read: Inbox,
    /// So much of what was read is known to be too little for a head.
    seen: usize,
    /// Bytes that came in answer to the request at hand.
    heard: usize,
    stage: Stage,
    /// Whether there may be another request behind this one.
    keeps_alive: bool,
    /// Why the server takes no more of the request. It may have answered before.
    stopped: Option<io::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is to come.
    Idle,
    /// The head of an answer.
    Head,
    Body,
    /// Something else than HTTP.
    Switched,
}

impl<B> fmt::Debug for Link<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({:?})", self.stage)
    }
}

impl<B: Payload> Link<B> {
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            wire: Wire::new(socket),
            request: None,
            room: Lines::default(),
            has_begun: false,
            is_head: false,
            upload: Transfer::default(),
            yields: YieldOnce::default(),
            going: None,
            read: Inbox::new(BytesMut::new()),
            seen: 0,
            heard: 0,
            stage: Stage::Idle,
            keeps_alive: true,
            stopped: None,
        }
    }

    /// The request to be sent while [`poll_answer`](Self::poll_answer) is asked.
    pub(super) fn send(&mut self, request: Box<Outgoing<B>>) {
        self.is_head = request.method == Method::HEAD;
        self.request = Some(request);
        self.has_begun = false;
        self.yields.begin_anew();
        self.going = None;
        self.wire.reader.take();
        self.heard = 0;
        self.seen = 0;
        self.stage = Stage::Head;
    }

    /// Sends the request and waits for the head of its answer.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer<Decoder>, Fault>> {
        let answer = ready!(self.poll_final_head(cx));
        if answer.is_err() {
            self.keeps_alive = false;
        }
        Poll::Ready(answer)
    }

    fn poll_final_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer<Decoder>, Fault>> {
        let begins = !self.has_begun;
        if begins && !self.can_wait() {
            ready!(self.yields.poll(cx));
        }
        if (begins || self.wire.has_unbegun())
            && let Err(gone) = self.is_quiet(cx)
        {
            // Nothing of the request is written, and it is still here.
            self.wire.forget_unsent();
            self.has_begun = false;
            return Poll::Ready(Err(gone.into()));
        }
        if begins {
            self.has_begun = true;
            self.begin(cx);
        } else if self.wire.has_unsent()
            && let Poll::Ready(Err(why)) = self.wire.poll_unsent(cx)
        {
            (self.keeps_alive, self.stopped) = (false, Some(why));
        }
        match self.poll_upload(cx) {
            Poll::Ready(Err(Stopped::Body(why))) => return Poll::Ready(Err(Fault::Body(why))),
            Poll::Ready(Err(Stopped::Io(why))) => self.stopped = Some(why),
            // Nothing had come a moment ago, and the task is woken when something does.
            Poll::Ready(Ok(())) | Poll::Pending if begins => return Poll::Pending,
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        loop {
            while let Some(head) = self.read_head()? {
                let status = head.answer.status;
                if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Ok(self.answered(head)));
                }
            }
            if self.heard > MOST_BEFORE_ANSWER {
                return Poll::Ready(Err(Error::TooLong.into()));
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) => return Poll::Ready(Err(self.stopped.take().map_or(Error::Closed, Error::Io).into())),
                Ok(more) => self.heard += more,
                Err(why) => return Poll::Ready(Err(Error::Io(why).into())),
            }
        }
    }

    /// The next head, if all of it is there. With an answer the request is over, whatever is wrong with the answer.
    fn read_head(&mut self) -> Result<Option<head::Head>, Fault> {
        let Self { read, seen, is_head, request, room, .. } = self;
        let room = || request.take().map_or_else(|| std::mem::take(room), |over| over.fields.into_room());
        head::read(read, seen, *is_head, room)
    }

    fn answered(&mut self, head: head::Head) -> Answer<Decoder> {
        self.keeps_alive &= head.keeps_alive;
        self.stage = match head.answer.status {
            StatusCode::SWITCHING_PROTOCOLS => Stage::Switched,
            _ if head.answer.body.is_over() => Stage::Idle,
            _ => Stage::Body,
        };
        if self.stage == Stage::Idle {
            self.read.give_room_back(self.heard);
        }
        head.answer
    }

    /// The next part of an answer's body.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        decoder: &mut Decoder,
    ) -> Poll<Option<Result<Bytes, Fault>>> {
        let next = ready!(self.poll_next(cx, decoder)).transpose();
        if !matches!(next, Some(Ok(_))) || decoder.is_over() {
            self.keeps_alive &= !matches!(next, Some(Err(_)));
            self.stage = Stage::Idle;
            self.read.give_room_back(self.heard);
        }
        Poll::Ready(next)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, decoder: &mut Decoder) -> Poll<Result<Option<Bytes>, Fault>> {
        loop {
            if let Rest::Broken(why) = &mut *self.wire.rest.borrow_mut() {
                return Poll::Ready(Err(why.take().unwrap_or_else(|| Error::Cut.into())));
            }
            let data = decoder.take(&mut self.read).map_err(Error::from)?;
            if data.is_some() || decoder.is_over() {
                return Poll::Ready(Ok(data));
            }
            if self.going.is_some() {
                self.wire.reader.set(Some(cx.waker().clone()));
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) => decoder.end().map_err(Error::from)?,
                Ok(more) => self.heard = self.heard.saturating_add(more),
                Err(why) => return Poll::Ready(Err(Error::Io(why).into())),
            }
        }
    }

    /// Reads more.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.read.poll_read(&mut *self.wire.socket.borrow_mut(), cx)
    }

    /// Whether the request is left to be sent: one that has no body, since it stays here until it is.
    fn can_wait(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.body.is_end_stream()) && self.wire.can_wait()
    }

    /// Begins to write the request. One without a body stays.
    fn begin(&mut self, cx: &Context<'_>) {
        let can_wait = self.can_wait();
        let Some(request) = self.request.as_deref() else { return };
        if self.upload.begin(|to| head::write(request, to)) != Framing::Nothing
            && let Some(request) = self.request.take()
        {
            let Outgoing { fields, body, .. } = *request;
            self.room = fields.into_room();
            self.upload.follow_with(body);
        } else if can_wait && let Some(request) = self.upload.ready_message() {
            self.wire.send_later(request, cx);
        }
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        let written = ready!(self.upload.poll(&mut *self.wire.socket.borrow_mut(), cx));
        if written.is_err() {
            self.keeps_alive = false;
            self.upload = Transfer::default();
        }
        Poll::Ready(written)
    }

    /// Fails where the server has said something while it was to say nothing, or has gone. It is of no use any more then. A task that has
    /// used up its turn is told nothing, so this is asked at the beginning of one.
    fn is_quiet(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let mut byte = [0];
        let mut read = ReadBuf::new(&mut byte);
        let said = match Pin::new(&mut *self.wire.socket.borrow_mut()).poll_read(cx, &mut read) {
            Poll::Pending if self.read.is_empty() => return Ok(()),
            Poll::Ready(Ok(())) if read.filled().is_empty() => Error::Closed,
            Poll::Ready(Err(why)) => Error::Io(why),
            Poll::Pending | Poll::Ready(Ok(())) => Error::Unasked,
        };
        self.keeps_alive = false;
        Err(said)
    }

    /// Whether the request is on its way whole, as far as we have to do with it.
    pub(super) fn has_sent(&self) -> bool {
        self.upload.is_over() && !self.wire.has_unsent() && !matches!(*self.wire.rest.borrow(), Rest::Going)
    }

    /// Whether a byte has come since the request was sent.
    pub(super) fn has_heard(&self) -> bool {
        self.heard > 0
    }

    /// The request, where nothing of it was written.
    pub(super) fn take_unsent(&mut self) -> Option<Box<Outgoing<B>>> {
        if self.has_begun { None } else { self.request.take() }
    }

    /// The request, where it has no body and no answer. It was written.
    pub(super) fn take_request(&mut self) -> Option<Box<Outgoing<B>>> {
        self.request.take()
    }

    /// Whether the last request and its answer are over, and another may follow.
    pub(super) fn is_ready(&self) -> bool {
        self.stage == Stage::Idle
            && self.keeps_alive
            && self.read.is_empty()
            && self.upload.is_over()
            && !self.wire.has_unsent()
            && matches!(*self.wire.rest.borrow(), Rest::Over)
    }

    /// Whether it could carry a request now, as far as one can know. Asked of a link that nobody uses.
    pub(super) fn is_open(&mut self) -> bool {
        self.is_ready() && self.wire.socket.borrow_mut().is_quiet()
    }

    /// Lets the rest of the request go on whether or not anybody waits for the answer.
    pub(super) fn set_going(&mut self) {
        if self.upload.is_over() {
            return;
        }
        let (mut upload, wire) = (std::mem::take(&mut self.upload), Rc::clone(&self.wire));
        wire.rest.replace(Rest::Going);
        self.going = Some(Task::of(spawn_local(async move {
            let over = poll_fn(|cx| upload.poll(&mut *wire.socket.borrow_mut(), cx)).await;
            wire.rest.replace(match over {
                Ok(()) => Rest::Over,
                Err(Stopped::Io(_)) => Rest::Refused,
                Err(Stopped::Body(why)) => Rest::Broken(Some(Fault::Body(why))),
            });
            if let Some(reader) = wire.reader.take() {
                reader.wake();
            }
        })));
    }

    /// The task of what is still to be written. The connection closes when that is done, or the server has gone or says more.
    pub(super) fn into_task(mut self) -> Option<Task> {
        self.set_going();
        head::skip_blank_lines(&mut self.read, &mut self.seen);
        let mut going = self.going.take().filter(|going| !going.is_over())?;
        Some(Task::of(spawn_local(async move {
            let gone = poll_fn(|cx| if self.is_quiet(cx).is_ok() { Poll::Pending } else { Poll::Ready(()) });
            tokio::select! {
                () = going.over() => {}
                () = gone => return,
            }
            // Said once, to whoever listens: it closes either way, and nobody waits for a server that takes nothing.
            poll_fn(|cx| {
                let _ = Pin::new(&mut *self.wire.socket.borrow_mut()).poll_shutdown(cx);
                Poll::Ready(())
            })
            .await;
        })))
    }

    /// The socket of a connection on which HTTP has ended with a 101, and what was read behind that.
    pub(super) fn into_socket(self) -> Option<(Socket, Bytes)> {
        if self.stage != Stage::Switched || !self.upload.is_over() {
            return None;
        }
        let Self { wire, read, .. } = self;
        Some((Rc::into_inner(wire)?.socket.into_inner(), read.into_bytes().freeze()))
    }
}
