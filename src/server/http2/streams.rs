//! The requests of one connection: the state of each, the task that answers it, and what follows when time has passed.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http_body::Body;
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::{task::spawn_local, time::Instant};

use super::super::Options;
use crate::web::{BodyWatch, RequestTimer};

/// How long a client that was told to go may take for it, with nothing under way and nothing written.
const PARTING: Duration = Duration::from_secs(5);

/// How many more requests a client may have cancelled than it let be answered. A page that is left cancels all that it
/// has asked for; one that does nothing else wants us to work for nobody (CVE-2023-44487).
const CANCELLED: u64 = 200;

/// What is due at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing, or nothing but what was done.
    Nothing,
    /// Tell the client to open no more streams.
    Part,
    /// Cut the connection.
    Cut,
}

/// The streams of a connection, and how it stands with its socket.
#[derive(Debug)]
pub(super) struct Streams {
    live: RefCell<Vec<Rc<Stream>>>,
    /// Those that are answered, while an upstream still reads the body.
    behind: RefCell<Vec<Rc<Stream>>>,
    /// The one that has begun and has no task yet.
    next: RefCell<Option<Rc<Stream>>>,
    served: Cell<bool>,
    /// Since when there has been nothing to do.
    since: Cell<Instant>,
    parting: Cell<bool>,
    wrote: Cell<bool>,
    write_stalled: Cell<Option<Instant>>,
    answered: Cell<u64>,
    cancelled: Cell<u64>,
}

/// The state that one stream's parts share.
#[derive(Debug, Default)]
pub(super) struct Stream {
    body: Rc<BodyWatch>,
    timer: RequestTimer,
    /// Since when the client has been offered bytes that it has not taken.
    offered: Cell<Option<Instant>>,
    answered: Cell<bool>,
    cut: Cell<bool>,
    task: RefCell<Option<Waker>>,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            live: RefCell::default(),
            behind: RefCell::default(),
            next: RefCell::default(),
            served: Cell::new(false),
            since: Cell::new(Instant::now()),
            parting: Cell::new(false),
            wrote: Cell::new(false),
            write_stalled: Cell::new(None),
            answered: Cell::new(0),
            cancelled: Cell::new(0),
        }
    }

    /// A request has come. The next task that hyper wants to have is for it.
    pub(super) fn begin(&self, body: &impl Body) -> Rc<Stream> {
        let stream = Rc::<Stream>::default();
        stream.body.begin(body.is_end_stream());
        self.served.set(true);
        *self.next.borrow_mut() = Some(Rc::clone(&stream));
        stream
    }

    /// The socket took bytes, or did not.
    pub(super) fn wrote(&self, blocked: bool) {
        if !blocked {
            self.wrote.set(true);
            self.write_stalled.set(None);
        } else if self.write_stalled.get().is_none() {
            self.write_stalled.set(Some(Instant::now()));
        }
    }

    /// The socket has taken all that there was.
    pub(super) fn flushed(&self) {
        self.write_stalled.set(None);
    }

    /// The client is told to go. False when it has been told already.
    pub(super) fn part(&self) -> bool {
        if !self.parting.get() {
            self.since.set(Instant::now());
        }
        !self.parting.replace(true)
    }

    /// Looks at every deadline there is.
    pub(super) fn due(&self, now: Instant, options: &Options) -> Due {
        let stalled = self.write_stalled.get().is_some_and(|since| now - since >= options.write_timeout);
        if stalled || self.cancelled.get() > self.answered.get() + CANCELLED {
            return Due::Cut;
        }
        let live = self.live.borrow();
        for stream in live.iter() {
            stream.look(now, options);
        }
        let mut behind = self.behind.borrow_mut();
        behind.retain(|stream| stream.goes_on());
        for stream in behind.iter() {
            stream.look(now, options);
        }
        // The end of an answer may still be on its way to the socket although its stream is done with it.
        let wrote = self.wrote.replace(false) && self.parting.get();
        if wrote || !live.is_empty() || !behind.is_empty() {
            self.since.set(now);
            return Due::Nothing;
        }
        let idle = now - self.since.get();
        let patience = if self.served.get() { options.keepalive_timeout } else { options.header_timeout };
        match self.parting.get() {
            true if idle >= PARTING => Due::Cut,
            false if idle >= patience => Due::Part,
            _ => Due::Nothing,
        }
    }

    /// The connection is gone, and nobody waits for answers any more.
    pub(super) fn end(&self) {
        for stream in self.live.borrow().iter() {
            stream.cut();
        }
    }

    fn enter(&self, stream: &Rc<Stream>) {
        self.live.borrow_mut().push(Rc::clone(stream));
    }

    fn leave(&self, stream: &Rc<Stream>) {
        self.live.borrow_mut().retain(|other| !Rc::ptr_eq(other, stream));
        if stream.goes_on() {
            self.behind.borrow_mut().push(Rc::clone(stream));
        }
        self.since.set(Instant::now());
        let count = if stream.answered.get() { &self.answered } else { &self.cancelled };
        count.set(count.get() + 1);
    }
}

impl Stream {
    /// The watch over the request's body.
    pub(super) fn body(&self) -> Rc<BodyWatch> {
        Rc::clone(&self.body)
    }

    /// The deadline of the request.
    pub(super) fn timer(&self) -> RequestTimer {
        self.timer.clone()
    }

    /// There is an answer.
    pub(super) fn answered(&self) {
        self.answered.set(true);
        self.timer.clear();
    }

    /// There are bytes for the client.
    pub(super) fn offered(&self) {
        self.offered.set(Some(Instant::now()));
    }

    /// The client has room for more of them.
    pub(super) fn taken(&self) {
        self.offered.set(None);
    }

    /// Whether somebody still reads the request's body. Whoever that is need not be the stream's task.
    fn goes_on(&self) -> bool {
        Rc::strong_count(&self.body) > 1 && self.body.is_under_way()
    }

    fn look(&self, now: Instant, options: &Options) {
        self.body.expire(now, options.body_timeout);
        if self.offered.get().is_some_and(|since| now - since >= options.write_timeout) {
            self.cut();
        } else if self.timer.expire(now) {
            self.wake();
        }
    }

    fn cut(&self) {
        self.cut.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(task) = self.task.borrow().as_ref() {
            task.wake_by_ref();
        }
    }

    fn keep(&self, cx: &Context<'_>) {
        let mut task = self.task.borrow_mut();
        match task.as_mut() {
            Some(task) => task.clone_from(cx.waker()),
            None => *task = Some(cx.waker().clone()),
        }
    }
}

/// Gives every stream a task on this thread.
#[derive(Clone, Debug)]
pub(super) struct Spawner(pub(super) Rc<Streams>);

impl<F: Future<Output = ()> + 'static> Executor<F> for Spawner {
    fn execute(&self, answering: F) {
        // hyper asks for tasks of other kinds only for tunnels, and no tunnel is ever agreed to.
        let Some(stream) = self.0.next.borrow_mut().take() else { return };
        self.0.enter(&stream);
        let live = Live { streams: Rc::clone(&self.0), stream };
        spawn_local(Answering { answering, live });
    }
}

pin_project! {
    /// A request that is being answered, up to the last byte.
    struct Answering<F> {
        #[pin]
        answering: F,
        live: Live,
    }
}

/// A stream as long as it has a task.
struct Live {
    streams: Rc<Streams>,
    stream: Rc<Stream>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.streams.leave(&self.stream);
    }
}

impl<F: Future<Output = ()>> Future for Answering<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.live.stream.cut.get() {
            // What is dropped with it resets the stream.
            return Poll::Ready(());
        }
        this.live.stream.keep(cx);
        this.answering.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;
    use crate::config::sections;

    /// So many requests, answered or not, and what follows.
    fn after(streams: &Streams, requests: u64, answered: bool) -> Due {
        for _ in 0..requests {
            let stream = streams.begin(&Empty::<&[u8]>::new());
            streams.enter(&stream);
            if answered {
                stream.answered();
            }
            streams.leave(&stream);
        }
        streams.due(Instant::now(), &Options::from_section(&sections::Server::default()))
    }

    #[test]
    fn who_only_cancels_is_cut_and_who_also_listens_is_not() {
        let streams = Streams::new();
        assert_eq!(after(&streams, CANCELLED, false), Due::Nothing);
        assert_eq!(after(&streams, 10, true), Due::Nothing);
        assert_eq!(after(&streams, 10, false), Due::Nothing);
        assert_eq!(after(&streams, 1, false), Due::Cut);
    }

    #[test]
    fn an_idle_connection_is_told_to_go_and_then_cut() {
        let options = Options::from_section(&sections::Server::default());
        let (streams, now) = (Streams::new(), Instant::now());
        assert_eq!(streams.due(now, &options), Due::Nothing);
        assert_eq!(streams.due(now + options.header_timeout + PARTING, &options), Due::Part);
        assert!(streams.part() && !streams.part(), "once");
        assert_eq!(streams.due(Instant::now(), &options), Due::Nothing);
        streams.wrote(false);
        assert_eq!(streams.due(now + 2 * PARTING, &options), Due::Nothing, "something of an answer has gone out");
        assert_eq!(streams.due(now + 4 * PARTING, &options), Due::Cut);
    }
}
