//! The kept connections to one server, newest on top, so that those too many for the load grow old and go.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    net::IpAddr,
    rc::Rc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, client::conn::TrySendError};
use tokio::{
    net::TcpStream,
    task::{spawn_local, yield_now},
    time::{Instant, sleep, timeout},
};

use crate::config::sections;

use super::{ConnectError, Reuse, link::Link, socket::Socket};

/// The connections of one worker to one server.
pub(super) struct Pool<B: Body + 'static> {
    host: String,
    port: u16,
    section: Rc<sections::Upstream>,
    idle: RefCell<Vec<Idle<B>>>,
}

struct Idle<B: Body + 'static> {
    link: Link<B>,
    since: Instant,
}

impl<B: Body + 'static> fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({}, {} idle)", self.server(), self.idle.borrow().len())
    }
}

impl<B: Body + 'static> Pool<B> {
    fn server(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl<B> Pool<B>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(server: &sections::Endpoint, section: &Rc<sections::Upstream>) -> Self {
        let idle = RefCell::new(Vec::new());
        Self { host: server.host.clone(), port: server.port, section: Rc::clone(section), idle }
    }

    pub(super) async fn lease(self: &Rc<Self>, reuse: Reuse) -> Result<Lease<B>, ConnectError> {
        if reuse == Reuse::Allowed
            && let Some(link) = self.kept().await
        {
            return Ok(Lease { link, pool: Rc::clone(self), reused: true });
        }
        let link = self.connect().await?;
        Ok(Lease { link, pool: Rc::clone(self), reused: false })
    }

    /// A kept connection that can be had at once and is open, as far as one can know.
    pub(super) fn kept_now(self: &Rc<Self>, now: Instant) -> Option<Lease<B>> {
        loop {
            let Idle { mut link, since } = self.idle.borrow_mut().pop()?;
            if now - since >= self.section.idle_timeout || !link.is_open() {
                continue;
            }
            if link.sender.is_ready() {
                return Some(Lease { link, pool: Rc::clone(self), reused: true });
            }
            self.idle.borrow_mut().push(Idle { link, since });
            return None;
        }
    }

    /// A kept connection, also one that needs a moment.
    async fn kept(&self) -> Option<Link<B>> {
        loop {
            let Idle { mut link, since } = self.idle.borrow_mut().pop()?;
            if since.elapsed() >= self.section.idle_timeout || !link.is_open() {
                continue;
            }
            if link.sender.is_ready() {
                return Some(link);
            }
            // Given back a moment ago, its task may not have come round to the next request. More than a moment it is
            // not given: where the server answered before it read the whole of a request, it may never read the rest.
            yield_now().await;
            if link.is_open() && link.sender.is_ready() {
                return Some(link);
            }
        }
    }

    async fn connect(&self) -> Result<Link<B>, ConnectError> {
        let connecting = async {
            match self.host.parse::<IpAddr>() {
                Ok(ip) => TcpStream::connect((ip, self.port)).await,
                Err(_) => TcpStream::connect((self.host.as_str(), self.port)).await,
            }
        };
        let stream = match timeout(self.section.connect_timeout, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(source)) => return Err(ConnectError::Failed { server: self.server(), source }),
            Err(_) => return Err(ConnectError::Timeout { server: self.server() }),
        };
        let link = Link::new(Socket::new(stream)).await;
        link.map_err(|source| ConnectError::Handshake { server: self.server(), source })
    }

    fn keep(&self, link: Link<B>) {
        let mut idle = self.idle.borrow_mut();
        if !link.sender.is_closed() && idle.len() < self.section.max_idle {
            idle.push(Idle { link, since: Instant::now() });
        }
    }

    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.idle.borrow_mut().retain_mut(|kept| now - kept.since < self.section.idle_timeout && kept.link.is_open());
    }
}

/// A connection in use. Dropping it closes it; [`give_back`](Self::give_back) keeps it.
pub struct Lease<B: Body + 'static> {
    link: Link<B>,
    pool: Rc<Pool<B>>,
    reused: bool,
}

impl<B: Body + 'static> fmt::Debug for Lease<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({}, reused: {})", self.pool.server(), self.reused)
    }
}

impl<B> Lease<B>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Whether the connection has carried a request before.
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// Sends a request. The head of its answer comes from the future, while [`poll_with`](Self::poll_with) drives the
    /// connection.
    pub fn send(
        &mut self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<B>>>> + use<B> {
        self.link.sender.try_send_request(request)
    }

    /// Drives the connection and then asks `consumer`, which waits for a part of the answer.
    pub fn poll_with<T>(&mut self, cx: &mut Context<'_>, consumer: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.link.poll_with(cx, consumer)
    }

    /// Lets the connection go on whether or not anybody waits for the next part of its answer.
    pub fn set_going(&mut self) {
        self.link.set_going();
    }

    /// Whether nothing of the last exchange is under way any more.
    pub fn is_ready(&self) -> bool {
        self.link.sender.is_ready()
    }

    /// Keeps the connection for the next request. Only for one whose request was sent and whose answer was read whole.
    pub fn give_back(self) {
        self.pool.keep(self.link);
    }

    /// Leaves the connection to itself until what is under way on it has ended; or until `goes_on`, asked every
    /// `response_timeout`, says that it does not.
    pub fn let_go(self, mut goes_on: impl FnMut() -> bool + 'static) {
        let Some(task) = self.link.into_task() else { return };
        let patience = self.pool.section.response_timeout;
        spawn_local(async move {
            loop {
                sleep(patience).await;
                if task.is_over() || !goes_on() {
                    return;
                }
            }
        });
    }
}
