//! `[[upstreams]]`: the backends that requests are forwarded to.

use std::{fmt, path::PathBuf, time::Duration};

use crate::model::Secret;

/// One backend, on one or several servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// What routes call it.
    pub name: String,
    /// Where it listens.
    pub servers: Vec<UpstreamServer>,
    /// Which of them a request goes to.
    pub balance: Balance,
    /// For a connection to come about, its name looked up and TLS spoken.
    pub connect_timeout: Duration,
    /// From the end of the request to the head of the answer.
    pub response_timeout: Duration,
    /// How long an unused connection is kept. Shorter than the server's own, or its close races our next request.
    pub idle_timeout: Duration,
    /// Unused connections kept per server and worker.
    pub max_idle: usize,
    /// Whom an assertion of identity for it is meant for: `aud`. Left out, its name.
    pub audience: Option<String>,
    /// Connections to each server, over all workers; 0 is no limit.
    pub max_connections: usize,
    /// Requests that wait for a connection, over all workers; 0 is no limit.
    pub max_pending: usize,
    /// How often the names of servers are looked up again.
    pub dns_refresh: Duration,
    /// How long a server that comes back gets less than its share; zero is not at all.
    pub slow_start: Duration,
    /// How servers are asked whether they are well.
    pub health: HealthChecks,
    /// When a server that fails is left alone for a while.
    pub eject: Ejection,
    /// How many requests may be sent a second time.
    pub retry: Retry,
    /// How TLS is spoken to the servers with `https://` or `h2://`.
    pub tls: UpstreamTls,
}

impl Upstream {
    /// An upstream with every optional key at its default.
    pub fn new<S: Into<UpstreamServer>>(name: impl Into<String>, servers: Vec<S>) -> Self {
        Self {
            name: name.into(),
            servers: servers.into_iter().map(Into::into).collect(),
            balance: Balance::default(),
            connect_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(4),
            max_idle: 1024,
            audience: None,
            max_connections: 0,
            max_pending: 0,
            dns_refresh: Duration::from_secs(10),
            slow_start: Duration::from_secs(10),
            health: HealthChecks::default(),
            eject: Ejection::default(),
            retry: Retry::default(),
            tls: UpstreamTls::default(),
        }
    }

    /// Whom an assertion of identity for it is meant for.
    pub fn audience(&self) -> &str {
        self.audience.as_deref().unwrap_or(&self.name)
    }
}

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamServer {
    /// Where it listens, and what it speaks there.
    pub address: ServerAddress,
    /// How much it gets beside the others.
    pub weight: usize,
}

impl From<ServerAddress> for UpstreamServer {
    fn from(address: ServerAddress) -> Self {
        Self { address, weight: 1 }
    }
}

impl From<Endpoint> for UpstreamServer {
    fn from(endpoint: Endpoint) -> Self {
        ServerAddress::Http(endpoint).into()
    }
}

/// Where a server listens, and what it speaks there. Written out, it is the server's name in logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAddress {
    /// `http://`: HTTP/1.1 over TCP.
    Http(Endpoint),
    /// `https://`: HTTP/1.1 over TLS.
    Https(Endpoint),
    /// `unix:`: HTTP/1.1 over a socket in the file system.
    Unix(PathBuf),
    /// `h2://`: HTTP/2 over TLS.
    Http2(Endpoint),
    /// `h2c://`: HTTP/2 over TCP, which both sides know beforehand.
    ClearHttp2(Endpoint),
}

impl ServerAddress {
    /// Host and port, where there are such.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Http(endpoint) | Self::Https(endpoint) | Self::Http2(endpoint) | Self::ClearHttp2(endpoint) => {
                Some(endpoint)
            }
            Self::Unix(_) => None,
        }
    }

    /// Whether TLS is spoken there.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Https(_) | Self::Http2(_))
    }

    /// Whether HTTP/2 is spoken there.
    pub fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_) | Self::ClearHttp2(_))
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(endpoint) => write!(f, "http://{endpoint}"),
            Self::Https(endpoint) => write!(f, "https://{endpoint}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Http2(endpoint) => write!(f, "h2://{endpoint}"),
            Self::ClearHttp2(endpoint) => write!(f, "h2c://{endpoint}"),
        }
    }
}

/// A server's host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A DNS name or an IP address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Which server a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Balance {
    /// Of two taken at random, the one that has fewer requests under way.
    #[default]
    LeastOutstanding,
    /// Each in turn.
    RoundRobin,
    /// Always the same one for the same user, as long as it is well.
    HashOpenid,
}

/// `[upstreams.health]`: how servers are asked whether they are well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthChecks {
    /// What is asked for. Left out, servers are not asked.
    pub path: Option<String>,
    /// How often.
    pub interval: Duration,
    /// For the whole of one question.
    pub timeout: Duration,
    /// So many good answers in a row bring a server back.
    pub healthy_after: usize,
    /// So many bad ones in a row take it out.
    pub unhealthy_after: usize,
    /// What a good answer has.
    pub status: StatusPattern,
}

impl Default for HealthChecks {
    fn default() -> Self {
        Self {
            path: None,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            healthy_after: 2,
            unhealthy_after: 3,
            status: StatusPattern::Class(2),
        }
    }
}

/// One status, or a class of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusPattern {
    /// `204`.
    Exactly(u16),
    /// `2xx`, held as its first digit.
    Class(u16),
}

impl StatusPattern {
    /// Whether a status is one of these.
    pub fn fits(self, status: u16) -> bool {
        match self {
            Self::Exactly(wanted) => status == wanted,
            Self::Class(digit) => status / 100 == digit,
        }
    }
}

/// `[upstreams.eject]`: when a server that fails is left alone for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row; 0 is never.
    pub failures: usize,
    /// For how long the first time. Each further time it is twice as long.
    pub time: Duration,
    /// For how long at most.
    pub max_time: Duration,
}

impl Default for Ejection {
    fn default() -> Self {
        Self { failures: 5, time: Duration::from_secs(10), max_time: Duration::from_mins(5) }
    }
}

/// `[upstreams.retry]`: how many requests may be sent a second time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// So many of a hundred requests.
    pub percent: usize,
    /// And so many per second and worker beside these.
    pub min_per_second: usize,
}

impl Default for Retry {
    fn default() -> Self {
        Self { percent: 20, min_per_second: 10 }
    }
}

/// `[upstreams.tls]`: how TLS is spoken to the servers with `https://` or `h2://`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The certificates that a server's own has to come from, as PEM. Without it those that the system trusts.
    pub ca: Option<String>,
    /// Who we are, where the servers ask for it.
    pub client: Option<ClientCertificate>,
    /// The name that a server's certificate has to be for; the one in its address when left out.
    pub server_name: Option<String>,
}

/// A certificate that says who we are, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// With those above it, as PEM.
    pub cert: String,
    /// As PEM.
    pub key: Secret,
}
