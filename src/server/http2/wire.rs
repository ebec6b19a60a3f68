//! The socket as the protocol sees it: bytes read too early come first, and it is noticed when the client takes none.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{super::stream::Stream, streams::Streams};

/// The client's end of the connection.
#[derive(Debug)]
pub(super) struct Wire {
    /// Shared with whoever closes it in the end.
    stream: Rc<RefCell<Stream>>,
    /// Bytes that were read to find out what is spoken.
    held: BytesMut,
    streams: Rc<Streams>,
}

impl Wire {
    pub(super) fn new(stream: Rc<RefCell<Stream>>, held: BytesMut, streams: Rc<Streams>) -> Self {
        Self { stream, held, streams }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.held.is_empty() {
            return Pin::new(&mut *this.stream.borrow_mut()).poll_read(cx, buf);
        }
        let n = this.held.len().min(buf.remaining());
        buf.put_slice(&this.held[..n]);
        this.held.advance(n);
        if this.held.is_empty() {
            this.held = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, buf);
        self.streams.wrote(result.is_pending());
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut *self.stream.borrow_mut()).poll_write_vectored(cx, bufs);
        self.streams.wrote(result.is_pending());
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
