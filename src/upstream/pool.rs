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

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use bytes::Bytes;
    use http_body_util::Full;
    use tokio::{
        io::AsyncWriteExt,
        net::TcpListener,
        runtime::{self, LocalOptions},
    };

    use super::*;

    /// More than a kernel takes for a peer that reads nothing. It is sent in one piece, so hyper has all of it at once.
    const TOO_MUCH: usize = 32 << 20;

    /// Does it on one thread, as a worker would.
    fn on_a_worker(story: impl Future<Output = ()>) {
        let runtime = runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(story);
    }

    /// A pool with one connection, on which the server has answered a request without reading its body; and the server's end.
    async fn after_an_early_answer() -> (Rc<Pool<Full<Bytes>>>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = sections::Endpoint { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
        let section = Rc::new(sections::Upstream::new("app", vec![server.clone()]));
        let pool = Rc::new(Pool::new(&server, &section));
        let mut lease = pool.lease(Reuse::Allowed).await.unwrap();
        let (mut upstream, _) = listener.accept().await.unwrap();
        upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        let request = Request::post("/").body(Full::new(Bytes::from(vec![b'.'; TOO_MUCH]))).unwrap();
        let mut answer = pin!(lease.send(request));
        let answer = std::future::poll_fn(|cx| lease.poll_with(cx, |cx| answer.as_mut().poll(cx))).await;
        assert!(answer.is_ok_and(|answer| answer.body().is_end_stream()), "it is read whole");
        assert!(!lease.is_ready());
        // As whoever forgets to ask would do.
        lease.give_back();
        // Its backlog is where a next connection waits.
        spawn_local(async move { listener.accept().await });
        (pool, upstream)
    }

    #[test]
    fn a_kept_connection_whose_last_request_is_not_written_is_not_used_again() {
        on_a_worker(async {
            let (pool, _upstream) = after_an_early_answer().await;
            assert!(pool.kept_now(Instant::now()).is_none());
            assert!(!pool.lease(Reuse::Allowed).await.unwrap().reused());
        });
    }

    #[test]
    fn once_that_request_is_written_the_connection_is_used_again() {
        on_a_worker(async {
            let (pool, mut upstream) = after_an_early_answer().await;
            spawn_local(async move { tokio::io::copy(&mut upstream, &mut tokio::io::sink()).await });
            let lease = loop {
                match pool.kept_now(Instant::now()) {
                    Some(lease) => break lease,
                    None => yield_now().await,
                }
            };
            assert!(lease.reused());
        });
    }
}
