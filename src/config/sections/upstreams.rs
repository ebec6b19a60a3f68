//! `[[upstreams]]`: the backends that requests are forwarded to.

use std::time::Duration;

/// One backend, on one or several servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// What routes call it.
    pub name: String,
    /// Where it listens; requests go to each in turn.
    pub servers: Vec<Endpoint>,
    /// For a TCP connection to come about.
    pub connect_timeout: Duration,
    /// From the end of the request to the head of the answer.
    pub response_timeout: Duration,
    /// How long an unused connection is kept. Shorter than the server's own, or its close races our next request.
    pub idle_timeout: Duration,
    /// Unused connections kept per server and worker.
    pub max_idle: usize,
    /// Whom an assertion of identity for it is meant for: `aud`. Left out, its name.
    pub audience: Option<String>,
}

impl Upstream {
    /// An upstream with every optional key at its default.
    pub fn new(name: impl Into<String>, servers: Vec<Endpoint>) -> Self {
        Self {
            name: name.into(),
            servers,
            connect_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(4),
            max_idle: 1024,
            audience: None,
        }
    }

    /// Whom an assertion of identity for it is meant for.
    pub fn audience(&self) -> &str {
        self.audience.as_deref().unwrap_or(&self.name)
    }
}

/// A server's address: `http://host:port` in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A DNS name or an IP address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}
