//! Which protocol a client begins with, where it could be either: one that knows HTTP/2 to be spoken here says so with its
//! first bytes (RFC 9113, 3.4), and no HTTP/1 request begins with them.

use std::{future::poll_fn, pin::Pin};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Instant, timeout_at},
};

use super::super::{Options, connection::NEWCOMER, drain::Drain, stream::Stream};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is spoken, with the bytes that were read to find out.
#[derive(Debug)]
pub(in super::super) enum Spoken {
    Http1(BytesMut),
    Http2(BytesMut),
    /// The client has said nothing and left, or has had its time.
    Nothing,
}

/// Reads until it is clear what the client speaks. As soon as one byte differs it is HTTP/1, whose parser then says what is
/// wrong with it; also when the preface never becomes whole.
pub(in super::super) async fn listen(stream: &mut Stream, options: &Options, drain: &Drain) -> Spoken {
    let deadline = Instant::now() + options.header_timeout;
    if !stream.has_bytes(options.header_timeout, NEWCOMER, drain).await {
        return Spoken::Nothing;
    }
    let mut read = BytesMut::with_capacity(PREFACE.len());
    while read.len() < PREFACE.len() && PREFACE.starts_with(&read) {
        let mut bytes = [0; PREFACE.len()];
        let mut buf = ReadBuf::new(&mut bytes[read.len()..]);
        let more = poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buf));
        let came = timeout_at(deadline, more).await;
        if !matches!(came, Ok(Ok(()))) || buf.filled().is_empty() {
            break;
        }
        read.extend_from_slice(buf.filled());
    }
    if read == PREFACE { Spoken::Http2(read) } else { Spoken::Http1(read) }
}
