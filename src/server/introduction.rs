//! How a proxy says whose connection it hands on: the PROXY header, read off the socket to its last byte and no further.
//!
//! What stands behind the header is TLS or a request, and others read that. So the bytes are looked at before they are
//! taken, and those are taken of which it is certain that they belong to the header.

use std::{future::poll_fn, net::SocketAddr};

use tokio::{
    io::AsyncReadExt,
    time::{Instant, timeout_at},
};

use super::{
    Service,
    connection::{NEWCOMER, Shared},
    proxy_header::{self, Announced, End, MAX_BYTES},
    stream::{Socket, Stream},
};

/// What became of the PROXY header that a connection had to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Introduction {
    /// A connection of the client that it names.
    Client,
    /// A connection of the proxy's own.
    Local,
    /// A connection of a client that it does not name.
    Unknown,
    /// Nothing was read: whoever connected is no trusted proxy.
    Untrusted,
    /// Nothing was sent before the peer hung up or the time was over.
    Silent,
    /// Not whole in time.
    TimedOut,
    /// What came first is no such header, or one that can't be used.
    Malformed,
    /// The peer hung up in the middle.
    Broken,
}

impl Introduction {
    /// The word for it in logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Local => "local",
            Self::Unknown => "unknown",
            Self::Untrusted => "untrusted",
            Self::Silent => "silent",
            Self::TimedOut => "timeout",
            Self::Malformed => "malformed",
            Self::Broken => "broken",
        }
    }
}

impl From<Announced> for Introduction {
    fn from(announced: Announced) -> Self {
        match announced {
            Announced::Client(_) => Self::Client,
            Announced::Itself => Self::Local,
            Announced::Somebody => Self::Unknown,
        }
    }
}

/// Waits for the header and takes it. `None` when the connection is to be closed without a word: only a proxy could make
/// anything of one, and it has just shown that it is none.
pub(super) async fn listen<S: Service>(
    socket: Socket,
    peer: SocketAddr,
    shared: &Shared<S>,
) -> Option<(Socket, Announced)> {
    match hear(socket, peer, shared).await {
        Ok((socket, announced)) => {
            shared.service.get().introduced(announced.into());
            Some((socket, announced))
        }
        Err(why) => {
            tracing::debug!(peer = %peer.ip(), outcome = why.word(), "a PROXY header came to nothing");
            shared.service.get().introduced(why);
            None
        }
    }
}

async fn hear<S: Service>(
    socket: Socket,
    peer: SocketAddr,
    shared: &Shared<S>,
) -> Result<(Socket, Announced), Introduction> {
    if !shared.service.get().believes(peer.ip()) {
        return Err(Introduction::Untrusted);
    }
    let patience = shared.options.header_timeout;
    let deadline = Instant::now() + patience;
    let mut stream = Stream::Bare(socket);
    if !stream.has_bytes(patience, NEWCOMER, &shared.drain).await {
        // Probes of load balancers look like this too.
        return Err(Introduction::Silent);
    }
    let mut socket = stream.into_socket();
    let announced = timeout_at(deadline, take(&mut socket)).await.unwrap_or(Err(Introduction::TimedOut))?;
    Ok((socket, announced))
}

/// Takes the header off the socket.
async fn take(socket: &mut Socket) -> Result<Announced, Introduction> {
    let mut bytes = [0; MAX_BYTES];
    let mut taken = 0;
    loop {
        let peeked = poll_fn(|cx| socket.poll_peek(cx, &mut bytes[taken..])).await;
        let Ok(n @ 1..) = peeked else { return Err(Introduction::Broken) };
        let seen = taken + n;
        let end = proxy_header::end(&bytes[..seen]).map_err(|_| Introduction::Malformed)?;
        let ours = match end {
            End::Open => seen,
            End::At(end) => end.min(seen),
        };
        // They are there. Left where they are, they would hide whether more have come.
        let read = socket.read_exact(&mut bytes[taken..ours]).await;
        read.map_err(|_| Introduction::Broken)?;
        taken = ours;
        if end == End::At(taken) {
            return proxy_header::read(&bytes[..taken]).map_err(|_| Introduction::Malformed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use tokio::{io::AsyncWriteExt, net::UnixStream};

    use super::*;

    const HEADERS: [&[u8]; 2] = [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x00\0\x02\xea\0"];
    const BEHIND: &[u8] = b"PROXY UNKNOWN\r\n";

    #[tokio::test]
    async fn a_header_is_taken_to_its_last_byte_wherever_it_is_cut() {
        for header in HEADERS {
            for cut in 1..header.len() {
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                theirs.write_all(&header[..cut]).await.unwrap();
                ours.readable().await.unwrap();
                let mut socket = Socket::Unix(ours);
                {
                    let mut taking = pin!(take(&mut socket));
                    assert_eq!(taking.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending, "{cut}");
                    theirs.write_all(&[&header[cut..], BEHIND].concat()).await.unwrap();
                    assert_eq!(taking.await, Ok(Announced::Somebody), "{cut}");
                }
                drop(theirs);
                let mut rest = Vec::new();
                socket.read_to_end(&mut rest).await.unwrap();
                assert_eq!(rest, BEHIND, "{cut}");
            }
        }
    }
}
