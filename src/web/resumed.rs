//! A byte stream that somebody has read further than he should have: the bytes read too far come first.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Side;

/// A stream with bytes in front of it.
#[derive(Debug)]
pub struct Resumed<S> {
    held: Bytes,
    stream: S,
}

impl<S> Resumed<S> {
    /// First these bytes, then what comes from the stream.
    pub fn new(held: Bytes, stream: S) -> Self {
        // No bytes can have the memory of a whole buffer behind them, which nobody would ever give back.
        let held = if held.is_empty() { Bytes::new() } else { held };
        Self { held, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Resumed<S> {
    #[inline]
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let n = self.held.len().min(buf.remaining());
        buf.put_slice(&self.held[..n]);
        self.held.advance(n);
        if self.held.is_empty() {
            // The memory behind it goes too: a tunnel may live for hours.
            self.held = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Side> Side for Resumed<S> {
    fn has_no_news(&self) -> bool {
        self.held.is_empty() && self.stream.has_no_news()
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Resumed<S> {
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
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_was_read_too_far_comes_first() {
        let mut resumed = Resumed::new(Bytes::from_static(b"first, "), &b"then"[..]);
        let mut all = String::new();
        resumed.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "first, then");
    }

    /// Whoever has read too far gives a buffer along with what is in it, also where that is nothing.
    #[test]
    fn an_empty_buffer_is_given_back_at_once() {
        let buffer = BytesMut::with_capacity(8192);
        let memory = buffer.as_ptr();
        let resumed = Resumed::new(buffer.freeze(), &b""[..]);
        assert_ne!(resumed.held.as_ptr(), memory);
    }
}
