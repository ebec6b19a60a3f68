//! Everybody comes once: `GET /v1/session` with each token, on a few connections that are kept.

use std::{io, net::SocketAddr, thread, time::Duration};

use tokio::time::Instant;
use wxgate::session::SessionToken;

use super::wire::Wire;

/// What came of it.
pub(super) struct Visits {
    pub(super) asked: u64,
    /// Answered with 200.
    pub(super) found: u64,
    pub(super) took: Duration,
}

pub(super) fn ask(gateway: SocketAddr, tokens: &[SessionToken], connections: usize) -> anyhow::Result<Visits> {
    let begun = Instant::now();
    let shares = tokens.chunks(tokens.len().div_ceil(connections.max(1)).max(1));
    let found = thread::scope(|scope| {
        let running: Vec<_> = shares.map(|share| scope.spawn(move || ask_for(gateway, share))).collect();
        let ended =
            running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())));
        ended.sum::<io::Result<u64>>()
    })?;
    Ok(Visits { asked: tokens.len() as u64, found, took: begun.elapsed() })
}

/// How many of these are answered with 200.
fn ask_for(gateway: SocketAddr, tokens: &[SessionToken]) -> io::Result<u64> {
    let (mut wire, mut request, mut found) = (Wire::connect(gateway)?, Vec::new(), 0);
    for token in tokens {
        request.clear();
        request.extend_from_slice(b"GET /v1/session HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer ");
        request.extend_from_slice(token.expose().as_bytes());
        request.extend_from_slice(b"\r\n\r\n");
        wire.send(&request)?;
        found += u64::from(wire.head()?.starts_with(b"HTTP/1.1 200 "));
        wire.body(|_| {})?;
    }
    Ok(found)
}
