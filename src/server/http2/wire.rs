//! The socket as the protocol sees it: bytes read too early come first, and it is noticed when the client takes none.

use std::{
    cell::RefCell,
    future::Future,
    io::{self, IoSlice},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::yield_now,
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
    pub(super) fn new(stream: Rc<RefCell<Stream>>, held: BytesMut, streams: Rc<Streams>, window: u32) -> Self {
        Self { stream, held, streams, calm: Calm::new(Instant::now(), window) }
    }

    /// Looks at what was read, and says how much of it may go on now.
    fn look(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calm.admit(bytes, Instant::now()).ok_or_else(|| {
            self.streams.flood();
            io::Error::other("the client sends too many frames that ask for nothing")
        })
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
        if this.calm.takes_turns() {
            // Woken when the system was asked too: who is to read may wait for a connection to an upstream.
            _ = pin!(yield_now()).poll(cx);
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if this.held.is_empty() {
            ready!(Pin::new(&mut *this.stream.borrow_mut()).poll_read(cx, buf))?;
            let read = &buf.filled()[before..];
            let admitted = this.look(read)?;
            if admitted < read.len() {
                this.held.extend_from_slice(&read[admitted..]);
            }
            buf.set_filled(before + admitted);
            return Poll::Ready(Ok(()));
        }
        let n = this.held.len().min(buf.remaining());
        buf.put_slice(&this.held[..n]);
        let admitted = this.look(&buf.filled()[before..])?;
        buf.set_filled(before + admitted);
        this.held.advance(admitted);
        if this.held.is_empty() {
            this.held = BytesMut::new();
        }
        Poll::Ready(Ok(()))
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
