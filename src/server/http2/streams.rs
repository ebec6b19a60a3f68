//! The requests of one connection: the task that answers each, and what follows when time has passed.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use http_body::Body;
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::{task::spawn_local, time::Instant};

use super::{
    super::Options,
    broken::Broken,
    exchange::Exchange,
    remnant::{Over, Writing},
};

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
    /// Nothing before then, if nothing begins.
    Rest(Instant),
    /// Close the connection.
    Close,
    /// Cut it, for this.
    Cut(Broken),
}

/// The streams of a connection, and how it stands with its socket.
#[derive(Debug)]
pub(super) struct Streams {
    live: RefCell<Vec<Rc<Exchange>>>,
    /// Those that have no task any more and are not over all the same.
    behind: RefCell<Vec<Rc<Exchange>>>,
    /// The one that has begun and has no task yet.
    next: RefCell<Option<Rc<Exchange>>>,
    served: Cell<bool>,
    /// Since when nothing has been under way.
    since: Cell<Instant>,
    /// When the client was told to go.
    parted: Cell<Option<Instant>>,
    write_stalled: Cell<Option<Instant>>,
    answered: Cell<u64>,
    cancelled: Cell<u64>,
    /// The client has sent more frames that ask for nothing than it may.
    flooded: Cell<bool>,
    /// Streams that are HTTP no more.
    tunnels: Cell<usize>,
    /// The one that has been promised and has no task that writes for it yet.
    promised: RefCell<Option<Rc<Over>>>,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            live: RefCell::default(),
            behind: RefCell::default(),
            next: RefCell::default(),
            served: Cell::new(false),
            since: Cell::new(Instant::now()),
            parted: Cell::new(None),
            write_stalled: Cell::new(None),
            answered: Cell::new(0),
            cancelled: Cell::new(0),
            flooded: Cell::new(false),
            tunnels: Cell::new(0),
            promised: RefCell::default(),
        }
    }

    /// A request has come. The next task that hyper wants to have is for it.
    pub(super) fn begin(&self, body: &impl Body) -> Rc<Exchange> {
        let exchange = Exchange::begin(body.is_end_stream());
        self.served.set(true);
        *self.next.borrow_mut() = Some(Rc::clone(&exchange));
        exchange
    }

    /// A stream is to become something else than HTTP. The connection is in use for as long as the guard lives. The next
    /// task that hyper wants to have is the one that writes for it, unless the stream is gone.
    pub(super) fn tunnel(self: &Rc<Self>) -> Tunnel {
        self.tunnels.set(self.tunnels.get() + 1);
        let over = Rc::<Over>::default();
        self.promised.replace(Some(Rc::clone(&over)));
        Tunnel { streams: Rc::clone(self), over }
    }

    /// The socket took bytes, or did not.
    pub(super) fn wrote(&self, blocked: bool) {
        if !blocked {
            self.write_stalled.set(None);
        } else if self.write_stalled.get().is_none() {
            self.write_stalled.set(Some(Instant::now()));
        }
    }

    /// The client says more than it may.
    pub(super) fn flood(&self) {
        self.flooded.set(true);
    }

    /// Whether the connection has ended for that.
    pub(super) fn is_flooded(&self) -> bool {
        self.flooded.get()
    }

    /// Whether the client has asked for anything yet.
    pub(super) fn has_served(&self) -> bool {
        self.served.get()
    }

    /// The socket has taken all that there was.
    pub(super) fn flushed(&self) {
        self.write_stalled.set(None);
    }

    /// The client is told to go. False when it has been told already.
    pub(super) fn part(&self) -> bool {
        let first = self.parted.get().is_none();
        if first {
            self.parted.set(Some(Instant::now()));
        }
        first
    }

    /// Whether time changes nothing but that the connection gets older.
    pub(super) fn is_quiet(&self) -> bool {
        self.live.borrow().is_empty() && self.behind.borrow().is_empty() && self.write_stalled.get().is_none()
    }

    /// Looks at every deadline there is.
    pub(super) fn due(&self, now: Instant, options: &Options) -> Due {
        if self.write_stalled.get().is_some_and(|since| now - since >= options.write_timeout) {
            return Due::Cut(Broken::Stalled);
        }
        if self.cancelled.get() > self.answered.get() + CANCELLED {
            return Due::Cut(Broken::Flood);
        }
        let (busy, stuck) = self.look(now, options);
        if busy {
            self.since.set(now);
        }
        let over = self.over(options);
        match self.parted.get() {
            None if stuck || now >= over => Due::Part,
            Some(_) if now < over => self.wait(over),
            Some(_) if self.write_stalled.get().is_some() => Due::Cut(Broken::Stalled),
            Some(_) => Due::Close,
            None => self.wait(over),
        }
    }

    /// Looks at every exchange: whether any is under way, and whether one is that the client does not want to end.
    fn look(&self, now: Instant, options: &Options) -> (bool, bool) {
        let live = self.live.borrow();
        for exchange in live.iter() {
            exchange.look(now, options);
        }
        let mut behind = self.behind.borrow_mut();
        behind.retain(|exchange| exchange.goes_on());
        let stuck = behind.iter().filter(|exchange| exchange.look_behind(now, options)).count();
        (!live.is_empty() || stuck < behind.len() || self.tunnels.get() > 0, stuck > 0)
    }

    /// When the connection has had its time, if nothing more is under way.
    fn over(&self, options: &Options) -> Instant {
        let since = self.since.get();
        match self.parted.get() {
            None if self.served.get() => since + options.keepalive_timeout,
            None => since + options.header_timeout,
            // What was said last may still lie in the socket of a client that is slow.
            Some(parted) if self.served.get() => (parted + PARTING).max(since + options.write_timeout),
            Some(parted) => parted + PARTING,
        }
    }

    fn wait(&self, over: Instant) -> Due {
        if self.is_quiet() { Due::Rest(over) } else { Due::Nothing }
    }

    /// The connection is gone, and nobody waits for answers any more.
    pub(super) fn end(&self) {
        for exchange in self.live.borrow().iter() {
            exchange.cut();
        }
    }

    fn enter(&self, exchange: &Rc<Exchange>) {
        self.live.borrow_mut().push(Rc::clone(exchange));
    }

    fn leave(&self, exchange: &Rc<Exchange>) {
        self.live.borrow_mut().retain(|other| !Rc::ptr_eq(other, exchange));
        let mut behind = self.behind.borrow_mut();
        behind.retain(|exchange| exchange.goes_on());
        if exchange.goes_on() {
            behind.push(Rc::clone(exchange));
        }
        self.since.set(Instant::now());
        let count = if exchange.is_answered() { &self.answered } else { &self.cancelled };
        count.set(count.get() + 1);
    }
}

/// Gives every stream a task on this thread.
#[derive(Clone, Debug)]
pub(super) struct Spawner {
    pub(super) streams: Rc<Streams>,
    /// How long a client may take nothing.
    pub(super) patience: Duration,
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Spawner {
    fn execute(&self, answering: F) {
        let Some(exchange) = self.streams.next.borrow_mut().take() else {
            // What hyper asks for besides writes what goes through a tunnel. It ends soon after that, or with the connection.
            let over = self.streams.promised.take().unwrap_or_default();
            spawn_local(Writing::new(answering, over, self.patience));
            return;
        };
        self.streams.enter(&exchange);
        let live = Live { streams: Rc::clone(&self.streams), exchange };
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

/// A stream as long as it is a tunnel.
#[derive(Debug)]
pub(super) struct Tunnel {
    streams: Rc<Streams>,
    over: Rc<Over>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.streams.tunnels.set(self.streams.tunnels.get() - 1);
        self.streams.since.set(Instant::now());
        self.over.end();
    }
}

/// An exchange as long as it has a task.
struct Live {
    streams: Rc<Streams>,
    exchange: Rc<Exchange>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.streams.leave(&self.exchange);
    }
}

impl<F: Future<Output = ()>> Future for Answering<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.live.exchange.is_cut() {
            return Poll::Ready(());
        }
        this.live.exchange.keep(cx);
        this.answering.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Buf, Bytes};
    use http_body_util::Empty;

    use super::*;
    use crate::config::sections;

    /// So many requests, answered or not, and what follows.
    fn after(streams: &Streams, requests: u64, answered: bool) -> Due {
        for _ in 0..requests {
            let exchange = streams.begin(&Empty::<&[u8]>::new());
            streams.enter(&exchange);
            if answered {
                exchange.answer();
            }
            streams.leave(&exchange);
        }
        streams.due(Instant::now(), &Options::from_section(&sections::Server::default()))
    }

    #[test]
    fn who_only_cancels_is_cut_and_who_also_listens_is_not() {
        let streams = Streams::new();
        assert_ne!(after(&streams, CANCELLED, false), Due::Cut(Broken::Flood));
        assert_ne!(after(&streams, 10, true), Due::Cut(Broken::Flood));
        assert_ne!(after(&streams, 10, false), Due::Cut(Broken::Flood));
        assert_eq!(after(&streams, 1, false), Due::Cut(Broken::Flood));
    }

    #[test]
    fn a_connection_with_a_tunnel_is_not_idle() {
        let options = Options::from_section(&sections::Server::default());
        let (streams, now) = (Rc::new(Streams::new()), Instant::now());
        let tunnel = streams.tunnel();
        let later = now + 10 * options.header_timeout;
        assert_eq!(streams.due(later, &options), Due::Rest(later + options.header_timeout));
        drop(tunnel);
        assert_eq!(streams.due(Instant::now() + 2 * options.header_timeout, &options), Due::Part);
    }

    #[test]
    fn an_idle_connection_is_told_to_go_and_then_closed() {
        let options = Options::from_section(&sections::Server::default());
        let streams = Streams::new();
        let over = streams.since.get() + options.header_timeout;
        assert_eq!(streams.due(streams.since.get(), &options), Due::Rest(over));
        assert_eq!(streams.due(over, &options), Due::Part);
        assert!(streams.part() && !streams.part(), "once");
        let over = streams.parted.get().unwrap() + PARTING;
        streams.wrote(false);
        streams.flushed();
        assert_eq!(streams.due(over - PARTING, &options), Due::Rest(over), "an answer to a ping");
        assert_eq!(streams.due(over, &options), Due::Close);
    }

    #[test]
    fn who_is_told_to_go_has_the_time_to_read_what_was_said_last() {
        let options = Options::from_section(&sections::Server::default());
        let streams = Streams::new();
        streams.part();
        let due = after(&streams, 1, true);
        let over = streams.since.get() + options.write_timeout;
        assert_eq!(due, Due::Rest(over));
        assert_eq!(streams.due(over, &options), Due::Close);
    }

    #[test]
    fn the_end_of_an_answer_that_is_not_taken_keeps_no_connection() {
        let options = Options::from_section(&sections::Server::default());
        let streams = Streams::new();
        let exchange = streams.begin(&Empty::<&[u8]>::new());
        streams.enter(&exchange);
        let mut end = exchange.offer(Bytes::from_static(b"end"));
        streams.leave(&exchange);
        let mut now = Instant::now();
        for _ in 0..2 {
            assert_eq!(streams.due(now, &options), Due::Nothing);
            now += options.write_timeout;
            end.advance(1);
        }
        assert_eq!(streams.due(now, &options), Due::Nothing, "something was taken");
        assert_eq!(streams.due(now + options.write_timeout, &options), Due::Part);
        streams.part();
        assert_eq!(streams.due(now + options.write_timeout + PARTING, &options), Due::Close);
    }
}
