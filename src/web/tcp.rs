//! A TCP connection that is read and written by bare system calls.
//!
//! The C library's `recv` and `send` are places where a thread may be cancelled, and each of them makes that known before the call
//! and takes it back behind it, atomically. Nobody cancels threads here, and a request takes four of these calls.

use std::{
    io::{self, IoSlice},
    ops::Deref,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use super::Side;

/// A TCP connection.
#[derive(Debug)]
pub struct Tcp(TcpStream);

impl From<TcpStream> for Tcp {
    fn from(stream: TcpStream) -> Self {
        Self(stream)
    }
}

impl Deref for Tcp {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.0
    }
}

impl Tcp {
    /// Makes a call that moves up to `room` bytes, unless the runtime knows that it would have to wait. One that moves less has found
    /// all that there was: the runtime takes it for one that would have to wait, and the next is spared until there is news.
    fn call(
        &self,
        interest: Interest,
        room: usize,
        call: impl FnOnce() -> rustix::io::Result<usize>,
    ) -> Option<io::Result<usize>> {
        let mut moved = None;
        let done = self.0.try_io(interest, || {
            let n = call()?;
            moved = Some(n);
            if (1..room).contains(&n) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (moved, done) {
            (Some(n), _) => Some(Ok(n)),
            (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => Some(Err(error)),
            (None, _) => None,
        }
    }
}

impl Tcp {
    /// Whether nothing has come, as far as the runtime knows, and neither has the end.
    pub fn is_quiet(&self) -> bool {
        self.call(Interest::READABLE, 0, || recv(&self.0, &mut [0; 1], RecvFlags::PEEK).map(|(_, n)| n)).is_none()
    }
}

impl Side for Tcp {
    fn has_no_news(&self) -> bool {
        // Who was told to wait is remembered until the runtime has news, and that is all that is asked here.
        self.0.try_io(Interest::READABLE, || Ok(())).is_err()
    }
}

impl AsyncRead for Tcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Memory that was never written is left to the runtime, which may be handed it as it is.
        if buf.initialized().len() < buf.capacity() {
            return Pin::new(&mut self.0).poll_read(cx, buf);
        }
        let bytes = buf.initialize_unfilled();
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            let room = bytes.len();
            let call = || recv(&self.0, &mut *bytes, RecvFlags::empty()).map(|(_, n)| n);
            if let Some(read) = self.call(Interest::READABLE, room, call) {
                buf.advance(read?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let call = || send(&self.0, bytes, SendFlags::NOSIGNAL);
            if let Some(written) = self.call(Interest::WRITABLE, bytes.len(), call) {
                return Poll::Ready(written);
            }
            // Asked only now, since there nearly always is room. What a task may do in a turn is counted as it reads.
            ready!(self.0.poll_write_ready(cx))?;
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is written is with the kernel.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    async fn connected() -> (Tcp, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0.into(), far)
    }

    async fn news(tcp: &Tcp) {
        tcp.readable().await.unwrap();
        assert!(!tcp.is_quiet());
    }

    #[tokio::test]
    async fn what_comes_is_read_in_its_order_into_any_kind_of_room_up_to_the_end() {
        let (mut near, mut far) = connected().await;
        let (mut three, mut rest) = ([0; 3], Vec::new());
        for piece in ["abc", "defg"] {
            far.write_all(piece.as_bytes()).await.unwrap();
            assert_eq!(near.read_exact(&mut three).await.unwrap(), 3);
            assert_eq!(&three, &piece.as_bytes()[..3]);
        }
        far.write_all(b"h").await.unwrap();
        drop(far);
        assert_eq!(near.read_to_end(&mut rest).await.unwrap(), 2);
        assert_eq!((rest.as_slice(), near.read(&mut three).await.unwrap()), (&b"gh"[..], 0));
    }

    #[tokio::test]
    async fn much_is_written_as_fast_as_it_is_read() {
        let (mut near, mut far) = connected().await;
        let much: Vec<u8> = (0..8_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let mut heard = Vec::new();
        let said = async {
            near.write_all(&much).await.unwrap();
            near.shutdown().await.unwrap();
        };
        let (read, ()) = tokio::join!(far.read_to_end(&mut heard), said);
        assert!(read.is_ok() && heard == much);
    }

    #[tokio::test]
    async fn it_is_quiet_until_something_comes_which_is_still_there_then() {
        let (mut near, mut far) = connected().await;
        assert!(near.is_quiet() && near.has_no_news());
        far.write_all(b"a").await.unwrap();
        news(&near).await;
        assert!(!near.has_no_news());
        let mut byte = [0; 2];
        assert_eq!((near.read(&mut byte).await.unwrap(), byte), (1, *b"a\0"));
        assert!(near.is_quiet() && near.has_no_news());
        drop(far);
        news(&near).await;
        assert!(!near.has_no_news());
    }

    #[tokio::test]
    async fn who_has_gone_is_an_error_and_no_end_of_what_he_said() {
        let (mut near, far) = connected().await;
        far.set_zero_linger().unwrap();
        drop(far);
        assert_eq!(near.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(near.write(b"a").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
