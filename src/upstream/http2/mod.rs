//! Servers that speak HTTP/2: a few connections per worker, each for many requests at once.
//!
//! This stands on the crate `h2` and not on hyper's client over it. That one hands each request through a channel to a task
//! of the connection and spawns two more for it; it keeps the request, so that one which the server has refused can't be
//! sent elsewhere; and it takes a body that was cut with `CANCEL` for a whole one. Here whoever waits for an answer asks the
//! stream itself, and only the connection has a task.

mod connections;
mod driver;
mod exchange;
mod head;
mod interim;
mod pump;

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::uri::Scheme;
use tokio::{sync::Notify, task::spawn_local, time::Instant};

use super::{Fault, socket::Socket};

use driver::Driver;

pub(super) use connections::Connections;
pub(super) use exchange::{Asked, Exchange, Unanswered};
pub(super) use interim::Answering;

/// Requests under way on one connection, where the server does not want fewer. Beyond it the next connection is opened: what
/// is lost with one connection is lost for all of its requests.
const MOST_STREAMS: usize = 100;

/// How much of an answer may be on its way, or lie here and wait for its client. Over the two milliseconds that a round trip
/// takes in a data centre, that is 64 MB per second for one answer.
const STREAM_WINDOW: u32 = 128 * 1024;

/// All streams together have the window of as many as there may be. With less, clients that take nothing would hold all of
/// it with their answers, and with it everybody else on the connection.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 100;

/// What h2 counts of small frames that lie here, before it takes the server for a flooder and ends the connection for
/// everybody: 256 less what is in a frame. A few clients that take nothing of a lively answer would do. So there is room for
/// as many as may be on all streams at once, of 16 bytes each and more.
const SMALL_FRAMES: usize = MOST_STREAMS * (STREAM_WINDOW as usize / 16) * (256 - 16);

/// Streams that clients have left and the server still sends on. Those that are forgotten too early look like the
/// server's mistakes.
const LEFT_STREAMS: usize = 1000;

/// The head of an answer. That of HTTP/1 may have as much.
const HEAD: u32 = 400 * 1024;

/// How many fields it may have, as hyper has it for HTTP/1. One that the table of the compression knows costs a server a
/// byte, and a client a whole line.
const MOST_FIELDS: usize = 100;

/// What may lie here of a request's body that the server has room for and the socket has not taken.
const SEND_BUFFER: usize = 128 * 1024;

/// A connection, as those see it who have requests for it.
pub(super) struct Connection {
    sender: SendRequest<Bytes>,
    scheme: Scheme,
    state: Rc<State>,
    /// The address that it leads to.
    to: Option<IpAddr>,
}

/// How a connection stands.
#[derive(Debug)]
struct State {
    streams: Cell<usize>,
    /// Whether it has carried a request.
    used: Cell<bool>,
    unused_since: Cell<Instant>,
    /// Whether no more streams are to be opened on it.
    shut: Cell<bool>,
    /// The server has refused a stream and answered none since.
    refuses: Cell<bool>,
    /// A request has told of its end.
    broken: Cell<bool>,
    /// For how many seconds nothing has come.
    quiet: Cell<u32>,
    /// Who waits for a connection on this worker.
    room: Rc<Notify>,
}

impl Connection {
    /// Sets a fresh socket up. Ready when the server has said how many streams it takes, which only a server that speaks
    /// HTTP/2 does.
    pub(super) async fn open(
        socket: Socket,
        to: Option<IpAddr>,
        scheme: Scheme,
        room: &Rc<Notify>,
    ) -> Result<Self, Fault> {
        Self::open_ticking(socket, to, scheme, room, driver::TICK).await
    }

    async fn open_ticking(
        socket: Socket,
        to: Option<IpAddr>,
        scheme: Scheme,
        room: &Rc<Notify>,
        tick: Duration,
    ) -> Result<Self, Fault> {
        let heard = socket.heard();
        let (sender, mut connection) = builder().handshake(socket).await.map_err(Fault::NoHttp2)?;
        let pings = connection.ping_pong();
        poll_fn(|cx| {
            let ended = Pin::new(&mut connection).poll(cx);
            match ended {
                Poll::Ready(Err(error)) => Poll::Ready(Err(Fault::NoHttp2(error))),
                Poll::Ready(Ok(())) => Poll::Ready(Err(Fault::Closed)),
                Poll::Pending if sender.current_max_send_streams() == 0 => Poll::Pending,
                Poll::Pending => Poll::Ready(Ok(())),
            }
        })
        .await?;
        let state = Rc::new(State::new(room));
        spawn_local(Driver::new(connection, pings, heard, Rc::clone(&state)).run(tick));
        Ok(Self { sender, scheme, state, to })
    }

    /// Whether it could be used, as far as one can know.
    fn is_open(&self) -> bool {
        // Of a sender that waits for nothing, this asks only whether the connection has ended or the server is leaving.
        let mut sender = self.sender.clone();
        let ready = sender.poll_ready(&mut Context::from_waker(Waker::noop()));
        !self.state.shut.get() && matches!(ready, Poll::Ready(Ok(())))
    }

    fn has_room(&self) -> bool {
        let most = self.sender.current_max_send_streams().min(MOST_STREAMS);
        self.state.streams.get() < most && self.is_open()
    }

    /// Since when it has had nothing to do.
    fn unused_since(&self) -> Option<Instant> {
        (self.state.streams.get() == 0).then(|| self.state.unused_since.get())
    }
}

fn builder() -> Builder {
    let mut http = Builder::new();
    http.initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_push(false)
        .data_frame_budget(SMALL_FRAMES)
        .max_concurrent_reset_streams(LEFT_STREAMS)
        // The count is of a whole life, and what is counted are the frames on streams that we have left ourselves.
        .max_local_error_reset_streams(None)
        // None, until the server has said how many. It is by this that we know that it has.
        .initial_max_send_streams(0);
    http
}

impl State {
    fn new(room: &Rc<Notify>) -> Self {
        Self {
            streams: Cell::new(0),
            used: Cell::new(false),
            unused_since: Cell::new(Instant::now()),
            shut: Cell::new(false),
            refuses: Cell::new(false),
            broken: Cell::new(false),
            quiet: Cell::new(0),
            room: Rc::clone(room),
        }
    }
}

/// One stream of a connection, counted.
#[derive(Debug)]
struct Slot(Rc<State>);

impl Slot {
    fn take(state: &Rc<State>) -> Self {
        state.streams.set(state.streams.get() + 1);
        Self(Rc::clone(state))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let left = self.0.streams.get() - 1;
        self.0.streams.set(left);
        if left == 0 {
            self.0.unused_since.set(Instant::now());
        }
        self.0.room.notify_one();
    }
}

#[cfg(test)]
mod tests;
