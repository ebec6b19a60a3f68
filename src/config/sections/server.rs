//! `[server]`: the public listener and its limits.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;

use super::{Http2, ListenAt, Listener, Speaks, Tls};

/// The public listener and what it puts up with.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where to listen: with TLS where there is `tls`, and otherwise without.
    pub listen: Vec<ListenAt>,
    /// Where else, and what is spoken there.
    pub listeners: Vec<Listener>,
    /// Who may connect to the Unix sockets among them, as the mode of a file.
    pub socket_mode: u32,
    /// TLS towards clients.
    pub tls: Option<Tls>,
    /// HTTP/2 towards clients.
    pub http2: Http2,
    /// Worker threads; 0 stands for one per core.
    pub workers: usize,
    /// Connections held at once; the next ones wait in the kernel's queue.
    pub max_connections: usize,
    /// From the first byte of a request head to its last.
    pub header_timeout: Duration,
    /// Between two reads of a request body.
    pub body_timeout: Duration,
    /// How long an idle connection is kept. Longer than the load balancer's in front, or its reuse races our close.
    pub keepalive_timeout: Duration,
    /// How long a client may refuse to take the next bytes of its answer.
    pub write_timeout: Duration,
    /// Request line and headers together.
    pub max_header_bytes: usize,
    /// Header lines in a request.
    pub max_headers: usize,
    /// The request target.
    pub max_uri_bytes: usize,
    /// A forwarded request's body.
    pub max_body: u64,
    /// How long requests under way may take to finish after the signal to stop.
    pub drain_timeout: Duration,
    /// How long of that a connection with nothing under way is kept, so that its client learns of the end from an answer.
    pub drain_idle: Duration,
    /// Whether a PROXY header comes first at the places of `listen`.
    pub proxy_protocol: bool,
    /// Peers whose PROXY headers, `X-Forwarded-*`, `Forwarded` and `X-Request-Id` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What happens to header names with an underscore.
    pub underscore_headers: UnderscoreHeaders,
    /// How often the configuration's files are looked at; zero for never.
    pub watch: Duration,
}

/// What to do with a header name that has an underscore. CGI, WSGI and PHP can't tell `X_User` from `X-User`, which is
/// how identity headers were forged elsewhere; so they go unless asked for. Names that look like ours go always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UnderscoreHeaders {
    /// Not forwarded.
    #[default]
    Drop,
    /// The request is answered 400.
    Reject,
    /// Forwarded.
    Keep,
}

impl Server {
    /// Every listener there is, those of `listen` first.
    pub fn all_listeners(&self) -> Vec<Listener> {
        let speaks = if self.tls.is_some() { Speaks::Https } else { Speaks::Http };
        let proxy_protocol = self.proxy_protocol;
        let first = self.listen.iter().map(|listen| Listener { listen: listen.clone(), speaks, proxy_protocol });
        first.chain(self.listeners.iter().cloned()).collect()
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec![ListenAt::Tcp(SocketAddr::from(([0, 0, 0, 0], 8080)))],
            listeners: Vec::new(),
            socket_mode: 0o660,
            tls: None,
            http2: Http2::default(),
            workers: 0,
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_mins(1),
            max_header_bytes: 32 * 1024,
            max_headers: 100,
            max_uri_bytes: 8 * 1024,
            max_body: 10 * 1024 * 1024,
            drain_timeout: Duration::from_secs(30),
            drain_idle: Duration::from_secs(5),
            proxy_protocol: false,
            trusted_proxies: Vec::new(),
            underscore_headers: UnderscoreHeaders::Drop,
            watch: Duration::from_secs(2),
        }
    }
}
