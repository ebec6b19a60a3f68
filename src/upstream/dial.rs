//! How a connection to a server comes about: where its name leads, TCP or a socket of the file system, and TLS.

use std::{
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::client::TlsStream;

use super::{ConnectError, group::Group};
use crate::{
    config::sections::{Endpoint, ServerAddress},
    web::{Tcp, write_pieces},
};

/// A connection that nothing has been sent over.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(Tcp),
    /// Boxed, since it is large and most are not of its kind.
    Tls(Box<TlsStream<Tcp>>),
    Unix(UnixStream),
}

/// A connection, and the address it leads to where that may change.
#[derive(Debug)]
pub(super) struct Dialed {
    pub(super) stream: Stream,
    pub(super) to: Option<IpAddr>,
}

/// Connects to a server within `patience`. Where it has several addresses, the one at `turn` is the first to be tried.
pub(super) async fn dial(group: &Group, at: usize, patience: Duration, turn: usize) -> Result<Dialed, ConnectError> {
    let server = &group.servers[at];
    let failed = |source: io::Error| ConnectError::Failed { server: server.name.clone(), source };
    let late = || ConnectError::Timeout { server: server.name.clone() };
    let deadline = Instant::now() + patience;
    let (endpoint, tls) = match &server.address {
        ServerAddress::Unix(path) => {
            let stream = timeout_at(deadline, UnixStream::connect(path)).await.map_err(|_| late())?;
            return Ok(Dialed { stream: Stream::Unix(stream.map_err(failed)?), to: None });
        }
        ServerAddress::Http(endpoint) | ServerAddress::ClearHttp2(endpoint) => (endpoint, None),
        ServerAddress::Https(endpoint) | ServerAddress::Http2(endpoint) => (endpoint, group.tls.as_ref()),
    };
    let addresses = timeout_at(deadline, addresses(group, at)).await.map_err(|_| late())?;
    if addresses.is_empty() {
        return Err(ConnectError::Unresolved { server: server.name.clone() });
    }
    let connected = connect(endpoint, &addresses, deadline, turn).await;
    let (stream, to) = connected.map_err(|error| error.map_or_else(late, failed))?;
    let stream = match tls {
        None if server.address.is_tls() => return Err(failed(io::ErrorKind::Unsupported.into())),
        None => Stream::Tcp(stream),
        Some(tls) => {
            let shaking = async {
                if server.address.is_http2() {
                    tls.agree_on_http2(stream, &endpoint.host).await
                } else {
                    tls.shake_hands(stream, &endpoint.host).await
                }
            };
            let shaken = timeout_at(deadline, shaking).await.map_err(|_| late())?;
            Stream::Tls(Box::new(shaken.map_err(failed)?))
        }
    };
    Ok(Dialed { stream, to: Some(to) })
}

/// Where a server is. Right after the start its name may not have been looked up yet; then that is waited for.
async fn addresses(group: &Group, at: usize) -> Arc<[IpAddr]> {
    let mut known = group.servers[at].addresses.subscribe();
    let found = known.wait_for(Option::is_some).await.ok().and_then(|known| known.clone());
    found.unwrap_or_else(|| Arc::from([]))
}

/// Tries one address after the other, each with its part of the time, so that one that is silent leaves some for the
/// next. The last error is told; none where it was the time.
///
/// Those of the kind that the resolver names first take turns. The others come last: where the machine has no way to
/// IPv6, say, each second connection would lose its time there.
async fn connect(
    endpoint: &Endpoint,
    addresses: &[IpAddr],
    deadline: Instant,
    turn: usize,
) -> Result<(Tcp, IpAddr), Option<io::Error>> {
    let mut failed = None;
    let is_first_kind = |ip: &&IpAddr| addresses.first().is_some_and(|first| first.is_ipv4() == ip.is_ipv4());
    let (mut order, others): (Vec<&IpAddr>, Vec<&IpAddr>) = addresses.iter().partition(is_first_kind);
    let turns = order.len().max(1);
    order.rotate_left(turn % turns);
    order.extend(others);
    for (tried, ip) in order.iter().map(|ip| **ip).enumerate() {
        let left = u32::try_from(order.len() - tried).unwrap_or(u32::MAX);
        let patience = deadline.saturating_duration_since(Instant::now()) / left;
        match timeout(patience, TcpStream::connect(SocketAddr::new(ip, endpoint.port))).await {
            Ok(Ok(stream)) => {
                // Without this a small write may wait 40 ms for the acknowledgement of the one before.
                let _ = stream.set_nodelay(true);
                return Ok((stream.into(), ip));
            }
            Ok(Err(error)) => failed = Some(error),
            Err(_) => failed = None,
        }
    }
    Err(failed)
}

/// Does the same with whichever stream it is.
macro_rules! with {
    ($stream:expr, $inner:ident => $what:expr) => {
        match $stream {
            Stream::Tcp($inner) => $what,
            Stream::Tls($inner) => $what,
            Stream::Unix($inner) => $what,
        }
    };
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        with!(&mut *self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        with!(&mut *self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        with!(&mut *self, stream => write_pieces(stream, cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with!(&mut *self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with!(&mut *self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
