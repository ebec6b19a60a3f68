//! A connection in use.

use std::{
    fmt,
    future::Future,
    rc::Rc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, client::conn::TrySendError};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_local,
    time::sleep,
};

use crate::web::Resumed;

use super::{
    pool::{Kept, Pool},
    socket::Socket,
};

/// A connection in use. Dropping it closes it; [`give_back`](Self::give_back) keeps it.
pub struct Lease<B: Body + 'static> {
    kept: Kept<B>,
    busy: Busy<B>,
    reused: bool,
}

impl<B: Body + 'static> fmt::Debug for Lease<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({}, reused: {})", self.busy.0.server().name, self.reused)
    }
}

impl<B> Lease<B>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(kept: Kept<B>, pool: &Rc<Pool<B>>, reused: bool) -> Self {
        Self { kept, busy: Busy::begin(pool), reused }
    }

    /// Whether the connection has carried a request before.
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// Whether the server has said anything, be it a part of an answer, since the request was sent.
    pub fn has_heard(&self) -> bool {
        self.kept.link.heard.anything()
    }

    /// Sends a request. The head of its answer comes from the future, while [`poll_with`](Self::poll_with) drives the
    /// connection.
    pub fn send(
        &mut self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<B>>>> + use<B> {
        self.kept.link.heard.forget();
        self.kept.link.sender.try_send_request(request)
    }

    /// Drives the connection and then asks `consumer`, which waits for a part of the answer.
    pub fn poll_with<T>(&mut self, cx: &mut Context<'_>, consumer: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.kept.link.poll_with(cx, consumer)
    }

    /// Lets the connection go on whether or not anybody waits for the next part of its answer.
    pub fn set_going(&mut self) {
        self.kept.link.set_going();
    }

    /// Whether nothing of the last exchange is under way any more.
    pub fn is_ready(&self) -> bool {
        self.kept.link.sender.is_ready()
    }

    /// Keeps the connection for the next request. Only for one whose request was sent and whose answer was read whole.
    pub fn give_back(self) {
        self.busy.0.keep(self.kept);
    }

    /// Leaves the connection to itself until what is under way on it has ended; or until `goes_on`, asked every
    /// `response_timeout`, says that it does not.
    pub fn let_go(self, mut goes_on: impl FnMut() -> bool + 'static) {
        let patience = self.busy.0.group.section.response_timeout;
        let Some(task) = self.kept.link.into_task() else { return };
        spawn_local(async move {
            loop {
                sleep(patience).await;
                if task.is_over() || !goes_on() {
                    return;
                }
            }
        });
    }

    /// The next answer may be that the connection is to be something else than HTTP.
    pub fn let_switch(&mut self) {
        self.kept.link.let_switch();
    }

    /// Takes the connection out of HTTP for good. None where the answer was not a 101.
    pub fn into_switched(self) -> Option<Switched<B>> {
        let (socket, read) = self.kept.link.into_socket()?;
        Some(Switched { stream: Resumed::new(read, socket), busy: self.busy })
    }

    /// The place of its server.
    pub(super) fn at(&self) -> usize {
        self.busy.0.at
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
