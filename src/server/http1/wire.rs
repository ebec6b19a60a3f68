//! What the parts of a connection share: its socket, what was read from it, and the body of the request at hand.

use std::{
    cell::{Cell, RefCell},
    error::Error,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::SizeHint;
use tokio::io::AsyncWrite;

use super::{super::stream::Stream, head::Head, traffic::Traffic};
use crate::web::{
    BodySource, Decoder, Inbox, NoBody, RequestBody,
    later::{self, Sender, Unsent},
};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A client's connection. Whoever reads a request's body may do so behind its answer, in a task of its own, so it is shared; all on
/// one thread, and nobody holds on to a part of it while he waits.
#[derive(Debug)]
pub(super) struct Wire {
    /// Gone when the connection has ended.
    stream: RefCell<Option<Stream>>,
    read: RefCell<Inbox>,
    body: RefCell<Decoder>,
    /// Bytes of the body that have come.
    heard: Cell<usize>,
    /// What a client that waits for a word before it sends the body has to be told still.
    go_on: Cell<&'static [u8]>,
    /// And whether what it was told is on its way.
    is_told: Cell<bool>,
    /// Some of the body was thrown away. Whoever reads it all the same is to see no end of it.
    has_hole: Cell<bool>,
    /// An answer that is left to be sent, when all others have had their turn.
    unsent: RefCell<Unsent>,
    /// It could not be, and the task of the connection is to see to it.
    is_stuck: Cell<bool>,
    task: RefCell<Option<Waker>>,
    traffic: Traffic,
}

impl Wire {
    pub(super) fn new(stream: Stream, held: BytesMut) -> Rc<Self> {
        Rc::new(Self {
            stream: RefCell::new(Some(stream)),
            read: RefCell::new(Inbox::new(held)),
            body: RefCell::new(Decoder::nothing()),
            heard: Cell::new(0),
            go_on: Cell::new(b""),
            is_told: Cell::new(true),
            has_hole: Cell::new(false),
            unsent: RefCell::default(),
            is_stuck: Cell::new(false),
            task: RefCell::default(),
            traffic: Traffic::default(),
        })
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Does something with the socket. After the end of the connection it is `gone` instead.
    pub(super) fn with<T>(&self, gone: T, what: impl FnOnce(&mut Stream) -> T) -> T {
        self.stream.borrow_mut().as_mut().map_or(gone, what)
    }

    /// Ends the connection: the socket, and what was read and not used.
    pub(super) fn end(&self) -> Option<(Stream, BytesMut)> {
        let read = self.read.replace(Inbox::new(BytesMut::new()));
        let stream = self.stream.take();
        self.traffic.body().abandon();
        Some((stream?, read.into_bytes()))
    }

    /// Has this answer sent when all others have had their turn.
    pub(super) fn send_later(self: &Rc<Self>, answer: &mut Vec<u8>, cx: &Context<'_>) {
        self.traffic.is_to_write();
        self.unsent.borrow_mut().take(answer);
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
        drop(task);
        later::send_later(self);
    }

    /// Whether an answer is left to be sent, and nobody else sees to it.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck.get()
    }

    /// Sends what is left to be sent. Ready when it is on its way.
    pub(super) fn poll_unsent(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut unsent = self.unsent.borrow_mut();
        if unsent.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let left = unsent.left();
        let gone = Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        let sent = self.with(gone, |stream| unsent.poll_send(stream, cx));
        if sent.is_pending() {
            self.traffic.is_stalled(unsent.left() < left);
        } else {
            self.traffic.flushed();
        }
        self.is_stuck.set(!matches!(sent, Poll::Ready(Ok(()))));
        sent
    }

    /// What was read and not used.
    pub(super) fn with_read<T>(&self, what: impl FnOnce(&mut BytesMut) -> T) -> T {
        what(&mut self.read.borrow_mut())
    }

    /// Reads more, and says how much.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.with(Poll::Ready(Err(io::ErrorKind::NotConnected.into())), |stream| {
            self.read.borrow_mut().poll_read(stream, cx)
        })
    }

    /// A request has begun, with this body.
    pub(super) fn begin(self: &Rc<Self>, head: Head) -> RequestBody {
        let Head { body, awaits_word, .. } = head;
        let is_empty = body.is_over();
        self.go_on.set(if awaits_word && !is_empty { CONTINUE } else { b"" });
        self.body.replace(body);
        self.heard.set(0);
        self.has_hole.set(false);
        self.traffic.begin_request(is_empty);
        let source = (!is_empty).then(|| Rc::clone(self) as Rc<dyn BodySource>);
        RequestBody::from_source(source, Rc::clone(self.traffic.body()))
    }

    /// An answer begins. What was begun to be said before it is the first of it, and nothing else is said before it any more.
    pub(super) fn begin_answer(&self) -> &'static [u8] {
        let rest = self.go_on.replace(b"");
        self.is_told.set(true);
        if rest.len() == CONTINUE.len() { b"" } else { rest }
    }

    /// The answer has ended, and so has the body, or the connection ends.
    pub(super) fn end_request(&self) {
        self.read.borrow_mut().give_room_back(self.heard.get());
    }

    /// Whether something of the request's body is still to come, or has come and nobody has taken it.
    pub(super) fn is_body_left(&self) -> bool {
        !self.body.borrow().is_over()
    }

    /// Whether nobody wants the rest of the request's body, and it has not come.
    pub(super) fn leaves_body_unread(&self) -> bool {
        if self.traffic.body().is_given_up() && self.is_body_left() {
            self.throw_away();
        }
        self.traffic.body().is_given_up() && self.is_body_left()
    }

    /// Throws away what has come of a body that nobody wants: mostly it is short, and all of it has.
    fn throw_away(&self) {
        self.has_hole.set(true);
        // Whoever wants to read from here on says so himself.
        let _ = self.poll_read(&mut Context::from_waker(Waker::noop()));
        let (mut body, mut read) = (self.body.borrow_mut(), self.read.borrow_mut());
        while let Ok(Some(_)) = body.take(&mut read) {}
    }

    /// Nothing is under way in either direction.
    pub(super) fn is_quiet(&self) -> bool {
        self.traffic.is_quiet() && !self.is_body_left()
    }

    /// Tells the client to go on, if it waits for that.
    fn poll_go_on(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.go_on.get().is_empty() {
            let rest = self.go_on.get();
            let written = self.with(Poll::Ready(Ok(0)), |stream| Pin::new(stream).poll_write(cx, rest));
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.go_on.set(&rest[written..]),
            }
            self.is_told.set(false);
        }
        if !self.is_told.get() {
            ready!(self.with(Poll::Ready(Ok(())), |stream| Pin::new(stream).poll_flush(cx)))?;
            self.is_told.set(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl Sender for Wire {
    fn send(&self) {
        let sent = self.poll_unsent(&mut Context::from_waker(Waker::noop()));
        if !matches!(sent, Poll::Ready(Ok(())))
            && let Some(task) = &*self.task.borrow()
        {
            task.wake_by_ref();
        }
    }
}

impl BodySource for Wire {
    fn poll_data(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Box<dyn Error + Send + Sync>>>> {
        if self.has_hole.get() {
            return Poll::Ready(Some(Err("nobody wanted it".into())));
        }
        loop {
            {
                let (mut body, mut read) = (self.body.borrow_mut(), self.read.borrow_mut());
                let data = body.take(&mut read)?;
                if data.is_some() || body.is_over() {
                    return Poll::Ready(data.map(Ok));
                }
            }
            ready!(self.poll_go_on(cx))?;
            match ready!(self.poll_read(cx))? {
                0 => return Poll::Ready(Some(Err(NoBody::Cut.into()))),
                more => self.heard.set(self.heard.get().saturating_add(more)),
            }
            self.traffic.body_moved();
        }
    }

    fn is_over(&self) -> bool {
        !self.has_hole.get() && !self.is_body_left()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.borrow().size_hint()
    }
}
