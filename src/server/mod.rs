//! Listeners, connections, deadlines and drain, for any service. Knows nothing of gateways.
//!
//! One thread per worker, each with its own single-threaded runtime, its own listening socket on the shared port and
//! its own copy of the service. A request is read, answered and, where it is forwarded, proxied on one thread: nothing
//! on its path crosses to another, so nothing needs a lock or a wake-up there.
//!
//! A request head passes [`screen`] before it is parsed, because several things that two HTTP parsers read differently are
//! repaired or cut off silently by a lenient one. HTTP/1.1 is spoken by [`http1`], HTTP/2 by hyper.

mod arrival;
mod connection;
mod current;
mod date;
mod deadline;
mod drain;
mod gate;
pub mod handover;
mod http1;
mod http2;
mod introduction;
mod listener;
pub mod proxy_header;
mod refuse;
pub mod screen;
mod signals;
mod stream;
pub mod systemd;
mod tls;
mod tunnel;
mod unix_socket;
mod worker;

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};

use crate::{
    config::sections,
    model::Secured,
    web::{Answer, Refusal, RequestBody, RequestTimer, Side},
};

pub use http2::Broken;
pub use introduction::Introduction;
pub use listener::{Listener, Place, raise_file_limit};
pub use signals::{HangUps, ReplaceSignals, Stop, hang_ups, replace_signals, stop_signals};
pub use tls::{Handshake, Tls};
pub use worker::Running;

/// What answers the requests of one worker.
pub trait Service: 'static {
    /// What the service keeps per connection.
    type Conn: 'static;
    /// What a connection, or a stream of it, becomes after an answer with 101.
    type Tunnel: 'static;
    /// The body of its answers.
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>> + Unpin>
        + Unpin
        + 'static;

    /// A connection has come in.
    fn connected(&self, arrival: Arrival) -> Self::Conn;

    /// A client has tried to speak TLS. Only what has come to a connection is told by [`connected`](Self::connected) too.
    fn shook_hands(&self, _how: Handshake) {}

    /// Whether this peer is believed when it says in a PROXY header for whom it connects.
    fn believes(&self, _peer: IpAddr) -> bool {
        false
    }

    /// A connection came to a listener where a PROXY header has to come first. Only one that begins with such a header is
    /// told by [`connected`](Self::connected) too.
    fn introduced(&self, _how: Introduction) {}

    /// A connection over HTTP/2 was ended for this.
    fn broke(&self, _why: Broken) {}

    /// Answers a request. What it needs of it longer than it takes to begin, it takes out of it. Dropped half-way when the client goes
    /// away or the process is told to stop at once.
    fn call<'a>(
        &'a self,
        request: &mut Request<RequestBody>,
        conn: &'a Rc<Self::Conn>,
        timer: RequestTimer,
    ) -> impl Future<Output = Answer<Self::Body>> + use<'a, Self>;

    /// The answer to bytes that never became a request; the connection is closed after it.
    fn refuse(&self, why: Refusal, conn: &Self::Conn) -> Response<Bytes>;

    /// Whether any request may be answered with 101, so that clients with HTTP/2 are told that they may ask for it.
    fn opens_tunnels(&self) -> bool {
        false
    }

    /// What the latest answer of this connection has promised, where that was a 101. A connection with many requests at once
    /// is asked in the same turn in which the answer came.
    fn promised(&self, _conn: &Self::Conn) -> Option<Self::Tunnel> {
        None
    }

    /// Makes of a connection, or of a stream of one, what was promised. It is closed when this is done, and is to come to an
    /// end when `stopping` does.
    fn switched<'a>(
        &'a self,
        _promised: Self::Tunnel,
        _client: impl Side + 'a,
        _stopping: impl Future<Output = ()> + 'a,
    ) -> impl Future<Output = ()> + 'a {
        std::future::ready(())
    }

    /// Called a few times per second, for what a worker does now and then.
    fn tick(&self) {}

    /// Comes with what takes its place, once there is such: requests that come from then on are for that one. This one goes
    /// when it has answered those that it began with.
    fn successor(&self) -> impl Future<Output = Self>
    where
        Self: Sized,
    {
        std::future::pending()
    }
}

/// A connection that has come in.
#[derive(Debug)]
pub struct Arrival {
    /// The other end: the client that a PROXY header names, or whoever has connected. The end of a Unix socket has no
    /// address, and counts as 127.0.0.1.
    pub peer: SocketAddr,
    /// A proxy said that it hands on somebody's connection, and not whose. So the peer is the proxy, and what comes of it
    /// is a stranger's.
    pub nameless: bool,
    /// Which of the listeners it came to, in their order at [`start`].
    pub listener: usize,
    /// What its handshake came to, where the listener speaks TLS.
    pub secured: Option<Secured>,
}

/// What a listener puts up with. See [`sections::Server`], where the figures come from.
#[derive(Clone, Debug)]
pub struct Options {
    /// Worker threads; at least one.
    pub workers: usize,
    /// Connections at once, over all workers.
    pub max_connections: usize,
    /// From the first byte of a head to its last.
    pub header_timeout: Duration,
    /// Between two reads of a request body.
    pub body_timeout: Duration,
    /// For a connection with nothing to do.
    pub keepalive_timeout: Duration,
    /// For a client that takes no bytes of its answer.
    pub write_timeout: Duration,
    /// What a request head may be.
    pub head: screen::HeadLimits,
    /// How HTTP/2 is spoken.
    pub http2: sections::Http2,
    /// How the listeners speak TLS that do.
    pub tls: Option<Tls>,
}

impl Options {
    /// The options a `[server]` section asks for.
    pub fn from_section(section: &sections::Server) -> Self {
        let workers = match section.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        Self {
            workers,
            max_connections: section.max_connections,
            header_timeout: section.header_timeout,
            body_timeout: section.body_timeout,
            keepalive_timeout: section.keepalive_timeout,
            write_timeout: section.write_timeout,
            head: screen::HeadLimits {
                bytes: section.max_header_bytes,
                lines: section.max_headers,
                target: section.max_uri_bytes,
            },
            http2: section.http2.clone(),
            tls: None,
        }
    }

    /// Requests over HTTP/2 that a worker has under way at most: its share of what as many connections over HTTP/1 could
    /// ask for, and not less than one connection is promised.
    fn max_requests(&self) -> usize {
        let promised = usize::try_from(self.http2.max_streams).unwrap_or(usize::MAX);
        self.max_connections.div_ceil(self.workers.max(1)).max(promised)
    }

    /// Files that may be open at once under this section: connections of clients, and one to an upstream for each request
    /// under way, which are those of HTTP/2 beside one for each connection.
    pub fn max_files(section: &sections::Server) -> usize {
        let options = Self::from_section(section);
        let over_tls = section.http2.enabled && section.tls.is_some();
        let is_spoken = over_tls || section.http2.prior_knowledge;
        let requests = if is_spoken { options.workers.max(1) * options.max_requests() } else { 0 };
        2 * options.max_connections + requests
    }
}

/// Starts the workers. `make` is called once in each worker's thread, with the worker's number.
///
/// The listeners are bound already, so a port in use is known before anything runs.
pub fn start<S, F>(listeners: Vec<Listener>, options: &Options, make: F) -> io::Result<Running>
where
    S: Service,
    F: Fn(usize) -> S + Clone + Send + 'static,
{
    worker::start(listeners, options, make)
}
