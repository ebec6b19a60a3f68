//! The kept connections to one server, newest on top, so that those too many for the load grow old and go.

use std::{cell::RefCell, fmt, net::IpAddr, rc::Rc};

use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::{spawn_local, yield_now},
    time::{Instant, timeout},
};

use crate::config::sections;

use super::{ConnectError, Reuse, SendError};

/// The connections of one worker to one server.
pub(super) struct Pool<B> {
    host: String,
    port: u16,
    section: Rc<sections::Upstream>,
    idle: RefCell<Vec<Idle<B>>>,
}

struct Idle<B> {
    sender: SendRequest<B>,
    since: Instant,
}

impl<B> fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({}, {} idle)", self.server(), self.idle.borrow().len())
    }
}

impl<B> Pool<B> {
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
            && let Some(sender) = self.kept().await
        {
            return Ok(Lease { sender, pool: Rc::clone(self), reused: true });
        }
        let sender = self.connect().await?;
        Ok(Lease { sender, pool: Rc::clone(self), reused: false })
    }

    /// A kept connection that is open, as far as one can know.
    async fn kept(&self) -> Option<SendRequest<B>> {
        loop {
            let Idle { sender, since } = self.idle.borrow_mut().pop()?;
            if since.elapsed() >= self.section.idle_timeout || sender.is_closed() {
                continue;
            }
            if sender.is_ready() {
                return Some(sender);
            }
            // Given back a moment ago, its task may not have come round to the next request. More than a moment it is
            // not given: where the server answered before it read the whole of a request, it may never read the rest.
            yield_now().await;
            if sender.is_ready() {
                return Some(sender);
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<B>, ConnectError> {
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
        // Without this a small write may wait 40 ms for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        // Vectored writes stay on: without them hyper takes the next request behind a body that is not yet written, and a
        // server that answered early without reading it would have that request wait behind it.
        let handshake = http1::Builder::new().handshake(TokioIo::new(stream)).await;
        let (sender, connection) =
            handshake.map_err(|source| ConnectError::Handshake { server: self.server(), source })?;
        spawn_local(async move {
            // Whoever waits for an answer on this connection is told by the sender.
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn keep(&self, sender: SendRequest<B>) {
        let mut idle = self.idle.borrow_mut();
        if !sender.is_closed() && idle.len() < self.section.max_idle {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.idle.borrow_mut().retain(|kept| !kept.sender.is_closed() && now - kept.since < self.section.idle_timeout);
    }
}

/// A connection in use. Dropping it closes it; [`give_back`](Self::give_back) keeps it.
pub struct Lease<B> {
    sender: SendRequest<B>,
    pool: Rc<Pool<B>>,
    reused: bool,
}

impl<B> fmt::Debug for Lease<B> {
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

    /// Sends a request and waits for the head of its answer.
    pub async fn send(&mut self, request: Request<B>) -> Result<Response<Incoming>, SendError<B>> {
        self.sender
            .try_send_request(request)
            .await
            .map_err(|mut error| SendError { unsent: error.take_message().map(Box::new), source: error.into_error() })
    }

    /// Keeps the connection for the next request. Only for one whose request was sent and whose answer was read whole.
    pub fn give_back(self) {
        self.pool.keep(self.sender);
    }
}
