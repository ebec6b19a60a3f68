//! One request of a connection and its answer: what its parts tell each other, and for how long the client has taken nothing.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Waker},
};

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use super::super::Options;
use crate::web::{BodyWatch, RequestTimer};

/// The requests over HTTP/2 that a worker has under way. A connection is a hundred of them, so the cap on connections does
/// not bound what is wanted of upstreams, and of the system's file descriptors.
#[derive(Debug)]
pub(in super::super) struct UnderWay {
    count: Cell<usize>,
    most: usize,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Turn(Rc<UnderWay>);

/// The state that one stream's parts share.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    body: Rc<BodyWatch>,
    timer: RequestTimer,
    /// Bytes of the answer that wait for the client's window or its socket.
    offered: Cell<usize>,
    /// Whether the client has taken any since they were looked at last.
    taken: Cell<bool>,
    /// Since when it has taken none.
    stuck: Cell<Option<Instant>>,
    answered: Cell<bool>,
    cut: Cell<bool>,
    turn: RefCell<Option<Turn>>,
    task: RefCell<Option<Waker>>,
}

impl UnderWay {
    /// So many at once, and no more.
    pub(in super::super) fn at_most(most: usize) -> Rc<Self> {
        Rc::new(Self { count: Cell::new(0), most })
    }

    fn turn(self: &Rc<Self>) -> Option<Turn> {
        let count = self.count.get();
        (count < self.most).then(|| {
            self.count.set(count + 1);
            Turn(Rc::clone(self))
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
    }
}

impl Exchange {
    /// The request has begun.
    pub(super) fn begin(bodyless: bool) -> Rc<Self> {
        let this = Rc::<Self>::default();
        this.body.begin(bodyless);
        this
    }

    /// The watch over the request's body.
    pub(super) fn body(&self) -> Rc<BodyWatch> {
        Rc::clone(&self.body)
    }

    /// The deadline of the request.
    pub(super) fn timer(&self) -> RequestTimer {
        self.timer.clone()
    }

    /// Counts it among the requests under way, for as long as it may want something of an upstream. False where there are
    /// too many.
    pub(super) fn enter(&self, under_way: &Rc<UnderWay>) -> bool {
        let turn = under_way.turn();
        let entered = turn.is_some();
        self.turn.replace(turn);
        entered
    }

    /// Its turn among the requests under way, for a tunnel, which has something of an upstream for longer.
    pub(super) fn hand_turn_over(&self) -> Option<Turn> {
        self.turn.take()
    }

    /// There is an answer.
    pub(super) fn answer(&self) {
        self.answered.set(true);
        self.timer.clear();
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answered.get()
    }

    /// There are bytes for the client.
    pub(super) fn offer(self: &Rc<Self>, bytes: Bytes) -> Piece {
        self.offered.set(self.offered.get() + bytes.len());
        Piece { bytes, exchange: Rc::clone(self) }
    }

    /// Whether something of it goes on without a task: somebody reads the request's body, or the end of the answer is on
    /// its way.
    pub(super) fn goes_on(&self) -> bool {
        let is_read = self.is_read();
        if !is_read {
            // No upstream has to do with it any more.
            self.turn.take();
        }
        is_read || self.offered.get() > 0
    }

    fn is_read(&self) -> bool {
        Rc::strong_count(&self.body) > 1 && self.body.is_under_way()
    }

    /// Looks at the deadlines while there is a task, which ends or goes on by itself then.
    pub(super) fn look(&self, now: Instant, options: &Options) {
        self.body.expire(now, options.body_timeout);
        if self.is_stuck(now, options) {
            self.cut();
        } else if self.timer.expire(now) {
            self.wake();
        }
    }

    /// The same where there is no task any more. Whether that is all there is: bytes that the client does not take.
    pub(super) fn look_behind(&self, now: Instant, options: &Options) -> bool {
        self.body.expire(now, options.body_timeout);
        self.is_stuck(now, options) && !self.is_read()
    }

    /// Whether the client has taken nothing for as long as it may.
    fn is_stuck(&self, now: Instant, options: &Options) -> bool {
        let moved = self.taken.replace(false) || self.offered.get() == 0;
        let since = if moved { now } else { self.stuck.get().unwrap_or(now) };
        self.stuck.set(Some(since));
        now - since >= options.write_timeout
    }

    /// Ends its task. What is dropped with that resets the stream.
    pub(super) fn cut(&self) {
        self.cut.set(true);
        self.wake();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.get()
    }

    fn wake(&self) {
        if let Some(task) = self.task.borrow().as_ref() {
            task.wake_by_ref();
        }
    }

    /// This task is the one to wake.
    pub(super) fn keep(&self, cx: &Context<'_>) {
        let mut task = self.task.borrow_mut();
        match task.as_mut() {
            Some(task) => task.clone_from(cx.waker()),
            None => *task = Some(cx.waker().clone()),
        }
    }

    fn take(&self, bytes: usize) {
        self.offered.set(self.offered.get().saturating_sub(bytes));
        self.taken.set(true);
    }
}

/// Bytes of an answer, from the service to the socket. The protocol keeps them until the client's window has room for
/// them, also when the stream's task has ended; they are the only ones to know how far that is.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    exchange: Rc<Exchange>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, n: usize) {
        self.bytes.advance(n);
        self.exchange.take(n);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.exchange.take(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::sections;

    #[test]
    fn who_takes_a_byte_now_and_then_is_waited_for() {
        let options = Options::from_section(&sections::Server::default());
        let (exchange, mut now) = (Exchange::begin(true), Instant::now());
        let mut later = |by: Duration| {
            now += by;
            exchange.look_behind(now, &options)
        };
        let mut piece = exchange.offer(Bytes::from_static(b"abc"));
        assert!(!later(Duration::ZERO));
        piece.advance(1);
        assert!(!later(options.write_timeout));
        assert!(!later(options.write_timeout / 2));
        piece.advance(1);
        assert!(!later(options.write_timeout / 2));
        assert!(later(options.write_timeout) && exchange.goes_on());
        drop(piece);
        assert!(!later(options.write_timeout) && !exchange.goes_on());
    }
}
