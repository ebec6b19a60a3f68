//! The socket as the protocol sees it: bytes read too early come first, and it is noticed when the client takes none.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{super::stream::Stream, calm::Calm, streams::Streams};

/// The client's end of the connection.
#[derive(Debug)]
pub(super) struct Wire {
    /// Shared with whoever closes it in the end.
    stream: Rc<RefCell<Stream>>,
    /// Bytes that were read to find out what is spoken.
    held: BytesMut,
    streams: Rc<Streams>,
    calm: Calm,
}

impl Wire {
    pub(super) fn new(stream: Rc<RefCell<Stream>>, held: BytesMut, streams: Rc<Streams>) -> Self {
        Self { stream, held, streams, calm: Calm::new(Instant::now()) }
    }

    /// Looks at what was read.
    fn look(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.calm.keeps(bytes, Instant::now()) {
            return Ok(());
        }
        self.streams.flood();
        Err(io::Error::other("the client sends too many frames that ask for nothing"))
    }

    /// Looks at what the socket says of a write.
    fn wrote(&mut self, result: &Poll<io::Result<usize>>) {
        self.streams.wrote(result.is_pending());
        if let Poll::Ready(Ok(n)) = result {
            self.calm.wrote(*n);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if this.held.is_empty() {
            let read = Pin::new(&mut *this.stream.borrow_mut()).poll_read(cx, buf);
            return read.map(|read| read.and_then(|()| this.look(&buf.filled()[before..])));
        }
        let n = this.held.len().min(buf.remaining());
        buf.put_slice(&this.held[..n]);
        this.held.advance(n);
        if this.held.is_empty() {
            this.held = BytesMut::new();
        }
        Poll::Ready(this.look(&buf.filled()[before..]))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, buf);
        self.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut *self.stream.borrow_mut()).poll_write_vectored(cx, bufs);
        self.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut *self.stream.borrow_mut()).poll_flush(cx);
        match &result {
            Poll::Ready(Ok(())) => self.streams.flushed(),
            // TLS takes bytes although the socket does not.
            Poll::Pending => self.streams.wrote(true),
            Poll::Ready(Err(_)) => {}
        }
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx)
    }
}
