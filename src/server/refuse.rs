//! The end of a connection: the last answer where its bytes never became a request, and the goodbye.

use std::{io, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use http::{Response, header};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::stream::Stream;

/// How long, and for how many bytes, a connection is read on after its last answer: enough for a phone to notice that
/// its upload of a large picture is not wanted.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// How long a word of goodbye may take, to a client that has been told all else.
const GOODBYE: Duration = Duration::from_secs(2);

/// How long it may be silent meanwhile.
const LINGER_SILENCE: Duration = Duration::from_secs(2);

/// Writes the answer and closes, in a way that lets the client read it.
pub(super) async fn answer(stream: Stream, response: Response<Bytes>, write_timeout: Duration) -> io::Result<()> {
    let mut stream = stream;
    let bytes = serialise(&response);
    timeout(write_timeout, stream.write_all(&bytes)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    linger(stream, write_timeout).await;
    Ok(())
}

/// Closes a connection on which all is said. Under TLS that takes a word of goodbye, without which a client can't know that it has
/// heard all.
pub(super) async fn say_goodbye(mut stream: Stream, write_timeout: Duration) {
    // It closes either way.
    let _ = timeout(write_timeout.min(GOODBYE), stream.shutdown()).await;
}

/// Closes our half, then reads for a while what the client is still sending. Closing a socket with unread bytes makes
/// the kernel send a reset, which may overtake and destroy the answer on its way (RFC 9112, 9.6).
pub(super) async fn linger(mut stream: Stream, write_timeout: Duration) {
    // Under TLS the last bytes may still be waiting for a client that takes none.
    if !matches!(timeout(write_timeout, stream.shutdown()).await, Ok(Ok(()))) {
        return;
    }
    // What comes now is thrown away, so nobody has to decrypt it.
    let mut socket = stream.into_socket();
    let drain = async {
        let mut scrap = [0; 16 * 1024];
        let mut left = LINGER_BYTES;
        while let Ok(Ok(n @ 1..)) = timeout(LINGER_SILENCE, socket.read(&mut scrap)).await {
            left = left.saturating_sub(n);
            if left == 0 {
                return;
            }
        }
    };
    // Not answered in time, or nothing more to read: either way the connection goes.
    let _ = timeout(LINGER, Box::pin(drain)).await;
}

fn serialise(response: &Response<Bytes>) -> Bytes {
    let status = response.status();
    let mut out = BytesMut::with_capacity(256 + response.body().len());
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    // How long the body is, and that it is the last one, is said below.
    let said = [header::CONTENT_LENGTH, header::CONNECTION];
    for (name, value) in response.headers().iter().filter(|(name, _)| !said.contains(name)) {
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    out.put_slice(format!("content-length: {}\r\nconnection: close\r\n\r\n", response.body().len()).as_bytes());
    out.put_slice(response.body());
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_whole_http_message() {
        let response = Response::builder().status(408).header("x-a", "1").header("connection", "close");
        let response = response.body(Bytes::from_static(b"{}")).unwrap();
        assert_eq!(
            serialise(&response),
            "HTTP/1.1 408 Request Timeout\r\nx-a: 1\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
        );
    }
}
