//! The socket to a server, as hyper writes to it, with what has to live exactly as long.

use std::{
    cell::Cell,
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};

use super::{copy::Copy, dial::Stream, group::Group};

/// A server's socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    heard: Heard,
    copy: Copy,
    /// Given back when the socket closes, whoever holds it then.
    _place: Place,
}

/// More than the longest head that hyper takes. What goes on after that without an answer is interim answers without end, all
/// of which hyper reads before it lets anybody else have a turn.
const MOST_BEFORE_ANSWER: usize = 512 * 1024;

/// What the server has said since the last request, and whether all was said to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Rc<Cell<Said>>);

#[derive(Clone, Copy, Debug, Default)]
struct Said {
    bytes: usize,
    /// Whether an answer is to come of it before it is too much.
    is_awaited: bool,
    /// Whether something that was to be written lies here still.
    owes: bool,
}

impl Heard {
    pub(super) fn forget(&self) {
        self.0.update(|said| Said { bytes: 0, ..said });
    }

    pub(super) fn anything(&self) -> bool {
        self.0.get().bytes > 0
    }

    /// A request goes out, and only so much may come before its answer.
    pub(super) fn awaits_answer(&self) {
        self.0.update(|said| Said { bytes: 0, is_awaited: true, ..said });
    }

    /// The answer is there. Its body may be of any size.
    pub(super) fn has_answer(&self) {
        self.0.update(|said| Said { is_awaited: false, ..said });
    }

    fn is_too_much(&self) -> bool {
        let said = self.0.get();
        said.is_awaited && said.bytes > MOST_BEFORE_ANSWER
    }

    fn more(&self, bytes: usize) {
        self.0.update(|said| Said { bytes: said.bytes.saturating_add(bytes), ..said });
    }

    /// Whether something that was to be written is not on its way yet. hyper asks for the next request behind it all the same.
    pub(super) fn owes(&self) -> bool {
        self.0.get().owes
    }

    /// Something is to be written. It is on its way when a flush says so, which hyper asks for behind the last of it.
    fn writes(&self) {
        self.0.update(|said| Said { owes: true, ..said });
    }

    fn has_written(&self) {
        self.0.update(|said| Said { owes: false, ..said });
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
        Self { stream, heard: Heard::default(), copy: Copy::default(), _place: place }
    }

    pub(super) fn heard(&self) -> Heard {
        self.heard.clone()
    }

    pub(super) fn copy(&self) -> Copy {
        self.copy.clone()
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.heard.is_too_much() {
            return Poll::Ready(Err(io::Error::other("there is no end of what comes before the answer")));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.heard.more(buf.filled().len() - before);
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.heard.writes();
        self.copy.take(&[IoSlice::new(buf)]);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.heard.writes();
        self.copy.take(bufs);
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.heard.has_written();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
