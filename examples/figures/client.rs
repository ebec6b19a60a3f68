//! Programs of others that ask as fast as they are answered: wrk, and h2load for HTTP/2.

use std::{fs, io, net::SocketAddr, path::Path, process::Command, time::Duration};

use super::{proxies, tls::NAME};

/// Streams on each connection over HTTP/2.
const STREAMS: usize = 4;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Scenario {
    /// GET, 100 bytes back
    Get,
    /// POST of 1 KiB
    Post,
    /// GET, 64 KiB back
    Large,
    /// GET on a thousand connections
    Crowd,
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Over {
    /// HTTP/1.1 in the clear
    Plain,
    /// HTTP/1.1 over TLS
    Tls,
    /// HTTP/2 over TLS
    Http2,
}

impl Scenario {
    fn connections(self) -> usize {
        if self == Self::Crowd { 1000 } else { 32 }
    }

    fn path(self) -> &'static str {
        if self == Self::Large { "/64k" } else { "/api/items?x=1" }
    }
}

/// Who asks, and whom.
pub(super) struct Client<'a> {
    addr: SocketAddr,
    token: &'a str,
    connections: usize,
    path: &'static str,
    over: Over,
    /// A body to be sent, in a file.
    body: Option<&'a Path>,
}

/// What came of it.
pub(super) struct Answers {
    pub(super) answered: f64,
    pub(super) per_second: f64,
}

impl<'a> Client<'a> {
    /// Small GETs over HTTP/1.1 on so many connections.
    pub(super) fn plain(addr: SocketAddr, token: &'a str, connections: usize) -> Self {
        Self { addr, token, connections, path: Scenario::Get.path(), over: Over::Plain, body: None }
    }

    /// What the scenario says, with this file for a body where there is one.
    pub(super) fn of(scenario: Scenario, over: Over, addr: SocketAddr, token: &'a str, file: &'a Path) -> Self {
        let body = (scenario == Scenario::Post).then_some(file);
        Self { addr, token, connections: scenario.connections(), path: scenario.path(), over, body }
    }

    /// Asks for so long. One answer that is no 2xx is an error.
    pub(super) fn ask(&self, length: Duration) -> io::Result<Answers> {
        let (said, answered, per_second) = match self.over {
            Over::Plain | Over::Tls => {
                let said = self.wrk(length)?;
                (said.clone(), before(&said, " requests in"), behind(&said, "Requests/sec:"))
            }
            Over::Http2 => {
                let said = self.h2load(length)?;
                (said.clone(), before(&said, " done,"), before(&said, " req/s"))
            }
        };
        if said.contains("Non-2xx") || (self.over == Over::Http2 && !said.contains(" 0 3xx, 0 4xx, 0 5xx")) {
            return Err(io::Error::other(said));
        }
        let found = answered.zip(per_second).filter(|(answered, _)| *answered > 0.0);
        found.map(|(answered, per_second)| Answers { answered, per_second }).ok_or_else(|| io::Error::other(said))
    }

    fn wrk(&self, length: Duration) -> io::Result<String> {
        let mut command = Command::new("wrk");
        command.args(["-t1", &format!("-c{}", self.connections), &format!("-d{}s", length.as_secs())]);
        command.args(["-H", &format!("Authorization: Bearer {}", self.token), "-H", &format!("Host: {NAME}")]);
        if let Some(body) = self.body {
            let script = body.with_extension("lua");
            let body = body.display();
            fs::write(&script, format!("wrk.method = 'POST'\nwrk.body = io.open('{body}'):read('*a')\n"))?;
            command.arg("-s").arg(script);
        }
        let scheme = if self.over == Over::Tls { "https" } else { "http" };
        proxies::output(command.arg(format!("{scheme}://{}{}", self.addr, self.path)))
    }

    fn h2load(&self, length: Duration) -> io::Result<String> {
        let mut command = Command::new("h2load");
        let connections = (self.connections / STREAMS).to_string();
        command.args(["-t1", "-c", &connections, "-m", &STREAMS.to_string(), "-D", &length.as_secs().to_string()]);
        command.args(["-H", &format!("Authorization: Bearer {}", self.token), "-H", &format!(":authority: {NAME}")]);
        if let Some(body) = self.body {
            command.arg("-d").arg(body);
        }
        proxies::output(command.arg(format!("https://{}{}", self.addr, self.path)))
    }
}

/// The number that stands before this.
fn before(said: &str, end: &str) -> Option<f64> {
    said.split_once(end)?.0.split_whitespace().last()?.parse().ok()
}

/// And behind it.
fn behind(said: &str, start: &str) -> Option<f64> {
    said.split_once(start)?.1.split_whitespace().next()?.parse().ok()
}
