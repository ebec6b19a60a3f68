//! One HTTP connection to a server, driven by the task that uses it.
//!
//! hyper's way is a task per connection, which a request then talks to through channels: it is woken to take the request,
//! wakes the request when the answer is there, and is woken once more when the body has been taken. Here whoever waits
//! for the answer polls the connection itself, in the same task and the same turn. One case is left where a task of its
//! own is right: while a request's body is still on its way behind the head of the answer, both directions must go on
//! without each other, or a client that reads late would stop its own upload.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use http_body::Body;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::{JoinHandle, spawn_local};

use super::{
    Payload,
    copy::Copy,
    socket::{Heard, Socket},
};

/// So often in one turn a connection is polled that asks for it, before other tasks have theirs.
const TURNS: usize = 4;

/// A connection and what drives it.
pub(super) struct Link<B: Body + 'static> {
    pub(super) sender: SendRequest<B>,
    pub(super) heard: Heard,
    pub(super) copy: Copy,
    driver: Driver<B>,
    bell: Bell,
    /// Whether the answer may be that the connection is to be something else, and then its socket is wanted.
    may_switch: bool,
}

enum Driver<B: Body + 'static> {
    /// Whoever uses the link. Boxed, so that a link is moved by its pointers.
    User(Box<Connection<TokioIo<Socket>, B>>),
    /// A task of its own.
    Task(Task),
    /// Nobody: it has ended.
    Ended,
    /// Nobody: HTTP has ended on it, and what comes next is not.
    Left(Box<Connection<TokioIo<Socket>, B>>),
}

/// A connection's task. It ends with this: left to itself, hyper would first write out what it holds of a request, and
/// wait for that as long as a server that reads nothing lets it.
pub(super) struct Task(JoinHandle<()>);

impl Task {
    pub(super) fn of(task: JoinHandle<()>) -> Self {
        Self(task)
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for its end.
    pub(super) async fn over(&mut self) {
        // An error would be that it was ended, or panicked; it is over then too.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<B: Payload> Link<B> {
    /// Sets a fresh socket up for HTTP.
    pub(super) async fn new(socket: Socket) -> hyper::Result<Self> {
        // Vectored writes stay on: without them hyper takes the next request behind a body that is not yet written, and a
        // server that answered early without reading it would have that request wait behind it.
        let (heard, copy) = (socket.heard(), socket.copy());
        let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(socket)).await?;
        let driver = Driver::User(Box::new(connection));
        Ok(Self { sender, heard, copy, driver, bell: Bell::default(), may_switch: false })
    }

    /// Drives the connection and then asks `consumer`, which waits for something that comes out of it.
    pub(super) fn poll_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut consumer: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Driver::User(connection) = &mut self.driver else { return consumer(cx) };
        self.bell.ring_for(cx.waker());
        for _ in 0..TURNS {
            self.bell.hush();
            let mut hushed = Context::from_waker(&self.bell.waker);
            let ended = Pin::new(&mut **connection).poll(&mut hushed).is_ready();
            let outcome = consumer(&mut hushed);
            if ended {
                // Whoever waits for an answer on this connection has been told by the sender.
                let driver = std::mem::replace(&mut self.driver, Driver::Ended);
                if let (true, Driver::User(connection)) = (self.may_switch, driver) {
                    self.driver = Driver::Left(connection);
                }
                return if outcome.is_ready() { outcome } else { consumer(cx) };
            }
            if outcome.is_ready() || !self.bell.unhush() {
                return outcome;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The same, for what may have come out of it already.
    pub(super) fn poll_for_more<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut consumer: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match consumer(&mut Context::from_waker(&self.bell.waker)) {
            Poll::Pending => self.poll_with(cx, consumer),
            ready @ Poll::Ready(_) => ready,
        }
    }

    /// Whether the last request and its answer are over. hyper says so of an answer that comes before the head of its request
    /// is written whole, and would put the next head behind the rest of it.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready() && !self.heard.owes()
    }

    /// Whether it could carry a request now, as far as one can know. Asked of a link that nobody uses.
    pub(super) fn is_open(&mut self) -> bool {
        if let Driver::User(connection) = &mut self.driver {
            self.bell.hush();
            if Pin::new(&mut **connection).poll(&mut Context::from_waker(&self.bell.waker)).is_ready() {
                self.driver = Driver::Ended;
            }
        }
        !matches!(self.driver, Driver::Ended | Driver::Left(_)) && !self.sender.is_closed()
    }

    /// Gives the connection a task of its own.
    pub(super) fn set_going(&mut self) {
        if let Driver::User(_) = &self.driver
            && let Driver::User(connection) = std::mem::replace(&mut self.driver, Driver::Ended)
        {
            let task = spawn_local(async move {
                let _ = connection.await;
            });
            self.driver = Driver::Task(Task::of(task));
        }
    }

    /// The task alone. The connection takes no more requests then, so it closes by itself when it is done.
    pub(super) fn into_task(mut self) -> Option<Task> {
        self.set_going();
        match self.driver {
            Driver::Task(task) => Some(task),
            Driver::User(_) | Driver::Ended | Driver::Left(_) => None,
        }
    }

    /// The next answer may be a 101.
    pub(super) fn let_switch(&mut self) {
        self.may_switch = true;
    }

    /// The socket of a connection on which HTTP has ended with a 101, and what was read behind that.
    pub(super) fn into_socket(self) -> Option<(Socket, Bytes)> {
        let Driver::Left(connection) = self.driver else { return None };
        let parts = connection.into_parts();
        Some((parts.io.into_inner(), parts.read_buf))
    }
}

/// What the parts of a connection wake each other with. While they are polled one after the other anyway, that needs no
/// wake-up of the task; and nobody is woken for a connection that lies unused.
struct Bell {
    ring: Arc<Ring>,
    waker: Waker,
}

#[derive(Default)]
struct Ring {
    hushed: AtomicBool,
    rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Default for Bell {
    fn default() -> Self {
        let ring = Arc::new(Ring::default());
        Self { waker: Waker::from(Arc::clone(&ring)), ring }
    }
}

impl Bell {
    /// Rings for this task from now on.
    fn ring_for(&self, task: &Waker) {
        let mut rings_for = self.ring.task.lock().unwrap_or_else(PoisonError::into_inner);
        match rings_for.as_mut() {
            Some(known) => known.clone_from(task),
            None => *rings_for = Some(task.clone()),
        }
    }

    fn hush(&self) {
        self.ring.hushed.store(true, Ordering::Release);
        self.ring.rung.store(false, Ordering::Release);
    }

    /// Whether it rang in the meantime.
    fn unhush(&self) -> bool {
        self.ring.hushed.store(false, Ordering::SeqCst);
        self.ring.rung.load(Ordering::SeqCst)
    }
}

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        if !self.hushed.load(Ordering::SeqCst)
            && let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner)
        {
            task.wake_by_ref();
        }
    }
}
