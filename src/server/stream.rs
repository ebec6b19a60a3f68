//! The client's end of a connection, whatever it is made of: TCP or a Unix socket, bare or under TLS.
//!
//! An enum and no trait object: the bare TCP connection, which is what stands behind most load balancers, pays a
//! comparison for it and nothing else.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{AsyncBufRead, AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::UnixStream,
    time::sleep,
};
use tokio_rustls::server::TlsStream;

use super::drain::Drain;
use crate::web::{Side, Tcp};

/// So many bytes behind a request are looked at: more blank lines than the screen lets pass before a head.
const PEEKED: usize = 16;

/// A socket of the kernel's.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(Tcp),
    Unix(UnixStream),
}

/// What requests are read from and answers written to.
#[derive(Debug)]
pub(super) enum Stream {
    Bare(Socket),
    /// Boxed: what TLS keeps of a connection is a kilobyte, and a bare one shall not have the room for it.
    Tls(Box<TlsStream<Socket>>),
}

impl Socket {
    /// Copies the next bytes without taking them; none at the end.
    pub(super) fn poll_peek(&self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let unix = match self {
            Self::Tcp(tcp) => return tcp.poll_peek(cx, &mut ReadBuf::new(bytes)),
            Self::Unix(unix) => unix,
        };
        loop {
            ready!(unix.poll_read_ready(cx))?;
            match unix.try_io(Interest::READABLE, || self.peek_now(bytes)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                peeked => return Poll::Ready(peeked),
            }
        }
    }

    /// Whether the client has closed its side behind bytes that nobody has read. The runtime is told of that beside the
    /// bytes.
    fn has_said_all(&self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        let ready = match self {
            Self::Tcp(tcp) => pin!(tcp.ready(Interest::READABLE)).poll(cx),
            Self::Unix(unix) => pin!(unix.ready(Interest::READABLE)).poll(cx),
        };
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }

    /// The same, as the system has it at this moment. The runtime hears of new bytes only after its next wait.
    fn peek_now(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let (_, n) = match self {
            Self::Tcp(tcp) => recv(&**tcp, bytes, RecvFlags::PEEK),
            Self::Unix(unix) => recv(unix, bytes, RecvFlags::PEEK),
        }?;
        Ok(n)
    }
}

impl Stream {
    /// Waits for bytes; false when the connection is to be closed without a word. A stop leaves it `grace`, as long as it is
    /// a stop of such that have nothing to do.
    pub(super) async fn has_bytes(&mut self, patience: Duration, grace: Duration, drain: &Drain) -> bool {
        // One timer for both, since thousands wait here and it is the most of what each of them takes.
        let (mut late, mut graced) = (pin!(sleep(patience)), false);
        poll_fn(|cx| {
            if let Poll::Ready(result) = self.poll_ahead(cx) {
                return Poll::Ready(result.is_ok_and(|n| n > 0));
            }
            if drain.closes() && !graced {
                graced = true;
                let end = late.deadline() - patience + grace.min(patience);
                late.as_mut().reset(end);
            }
            if late.as_mut().poll(cx).is_ready() && !(graced && self.has_unseen()) {
                return Poll::Ready(false);
            }
            Poll::Pending
        })
        .await
    }

    /// Whether the handshake has come to HTTP/2.
    pub(super) fn has_agreed_on_http2(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2"))
    }

    /// Whether there is something to read: not zero where there is, zero at the end. Nothing of it is taken.
    ///
    /// Under TLS the bytes of the socket may be half a record, or one that says goodbye. So TLS reads ahead here, as far
    /// as to the next bytes that are meant for us.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::Bare(socket) => socket.poll_peek(cx, &mut [0; 1]),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_fill_buf(cx).map_ok(<[u8]>::len),
        }
    }

    /// Whether the client has closed its side, once it can be told: at the end, and behind a line end, which some clients
    /// send after a body and which is no request. False where bytes of a next request hide the end.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Self::Bare(socket) = self else {
            return self.poll_ahead(cx).map(|ahead| !ahead.is_ok_and(|n| n > 0));
        };
        let mut bytes = [0; PEEKED];
        let Ok(n) = ready!(socket.poll_peek(cx, &mut bytes)) else { return Poll::Ready(true) };
        let blank = n < PEEKED && bytes[..n].iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        Poll::Ready(n == 0 || blank && socket.has_said_all())
    }

    /// Whether bytes have come that the runtime has not told of yet. The system is asked itself, which is worth it when
    /// the connection is to be closed for being idle.
    pub(super) fn has_unseen(&self) -> bool {
        let (socket, unread) = match self {
            Self::Bare(socket) => (socket, false),
            // It wants nothing from the socket as long as it holds bytes for us.
            Self::Tls(tls) => (tls.get_ref().0, !tls.get_ref().1.wants_read()),
        };
        unread || socket.peek_now(&mut [0; 1]).is_ok_and(|n| n > 0)
    }

    /// Whether the client has sent more than was read. Closing on it would make the kernel send a reset.
    pub(super) fn has_unread(&self) -> bool {
        self.socket().peek_now(&mut [0; 1]).is_ok_and(|n| n > 0)
    }

    /// What is beneath TLS, where there is TLS. What has not been written then never will be.
    pub(super) fn into_socket(self) -> Socket {
        match self {
            Self::Bare(socket) => socket,
            Self::Tls(tls) => tls.into_inner().0,
        }
    }

    /// Closes so that the client sees that something is missing. A Unix socket has no way to say so; under TLS the missing
    /// goodbye does.
    pub(super) fn break_off(self) {
        if let Socket::Tcp(tcp) = self.into_socket() {
            // Where the option can't be set, the close that follows is the best there is.
            let _ = tcp.set_zero_linger();
        }
    }

    /// Closes an idle connection. Under TLS that takes a word of goodbye, for which nobody waits.
    pub(super) fn close(mut self) {
        if matches!(self, Self::Tls(_)) {
            let _ = Pin::new(&mut self).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }

    fn socket(&self) -> &Socket {
        match self {
            Self::Bare(socket) => socket,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

/// Forwards to whatever the enum holds.
macro_rules! each {
    ($type:ident: $first:ident, $second:ident) => {
        impl AsyncRead for $type {
            #[inline]
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::$first(inner) => Pin::new(inner).poll_read(cx, buf),
                    Self::$second(inner) => Pin::new(inner).poll_read(cx, buf),
                }
            }
        }

        impl AsyncWrite for $type {
            #[inline]
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::$first(inner) => Pin::new(inner).poll_write(cx, buf),
                    Self::$second(inner) => Pin::new(inner).poll_write(cx, buf),
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::$first(inner) => Pin::new(inner).poll_write_vectored(cx, bufs),
                    Self::$second(inner) => Pin::new(inner).poll_write_vectored(cx, bufs),
                }
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::$first(inner) => Pin::new(inner).poll_flush(cx),
                    Self::$second(inner) => Pin::new(inner).poll_flush(cx),
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::$first(inner) => Pin::new(inner).poll_shutdown(cx),
                    Self::$second(inner) => Pin::new(inner).poll_shutdown(cx),
                }
            }
        }
    };
}

impl Side for Stream {
    fn has_no_news(&self) -> bool {
        matches!(self, Self::Bare(Socket::Tcp(tcp)) if tcp.has_no_news())
    }
}

each!(Socket: Tcp, Unix);
each!(Stream: Bare, Tls);
