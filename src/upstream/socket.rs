//! The socket to a server, with what has to live exactly as long.

use std::{
    cell::Cell,
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};

use super::{dial::Stream, group::Group};
use crate::web::Side;

/// A server's socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    heard: Heard,
    /// Given back when the socket closes, whoever holds it then.
    _place: Place,
}

/// How much the server has said since somebody last asked, which who speaks HTTP/2 does.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Rc<Cell<usize>>);

impl Heard {
    pub(super) fn forget(&self) {
        self.0.set(0);
    }

    pub(super) fn anything(&self) -> bool {
        self.0.get() > 0
    }

    fn more(&self, bytes: usize) {
        self.0.update(|heard| heard.saturating_add(bytes));
    }
}

/// One of the connections that a server may have.
pub(super) struct Place {
    group: Arc<Group>,
    at: usize,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// None when the server has as many as it may have, or others wait already, on whatever worker.
    pub(super) fn take(group: &Arc<Group>, at: usize) -> Option<Self> {
        let Some(places) = group.places.get(at) else { return Some(Self::new(group, at, None)) };
        let permit = Arc::clone(places).try_acquire_owned().ok()?;
        Some(Self::new(group, at, Some(permit)))
    }

    /// One that comes free, in the order in which those on all workers began to wait.
    pub(super) async fn next(group: &Arc<Group>, at: usize) -> Self {
        let permit = match group.places.get(at) {
            // Nobody ever closes it.
            Some(places) => Arc::clone(places).acquire_owned().await.ok(),
            None => None,
        };
        Self::new(group, at, permit)
    }

    fn new(group: &Arc<Group>, at: usize, permit: Option<OwnedSemaphorePermit>) -> Self {
        group.servers[at].open();
        Self { group: Arc::clone(group), at, _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.group.servers[self.at].close();
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.group.servers[self.at].name)
    }
}

impl Socket {
    pub(super) fn new(stream: Stream, place: Place) -> Self {
        Self { stream, heard: Heard::default(), _place: place }
    }

    /// Whether it is a bare TCP connection.
    pub(super) fn is_tcp(&self) -> bool {
        matches!(self.stream, Stream::Tcp(_))
    }

    /// Whether nothing has come, and neither has the end, as far as one can know. What has come may be lost, but not where it is bare TCP.
    pub(super) fn is_quiet(&mut self) -> bool {
        if let Stream::Tcp(tcp) = &self.stream {
            return tcp.is_quiet();
        }
        let (mut byte, cx) = ([0], &mut Context::from_waker(Waker::noop()));
        Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    pub(super) fn heard(&self) -> Heard {
        self.heard.clone()
    }
}

impl AsyncRead for Socket {
    #[inline]
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.heard.more(buf.filled().len() - before);
        read
    }
}

impl Side for Socket {
    fn has_no_news(&self) -> bool {
        matches!(&self.stream, Stream::Tcp(tcp) if tcp.has_no_news())
    }
}

impl AsyncWrite for Socket {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
