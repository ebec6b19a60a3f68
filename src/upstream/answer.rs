//! The body of an answer, over either version of HTTP.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};

use super::Fault;
use crate::web::Decoder;

/// The body of an answer, as it comes; its connection has it.
#[derive(Debug)]
pub enum AnswerBody {
    /// Of a connection that is this answer's alone.
    Http1(Decoder),
    /// Of one stream among others. Dropped before its end, it is reset.
    Http2(RecvStream),
}

impl AnswerBody {
    /// Whether all of it has come.
    pub fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(decoder) => decoder.is_over(),
            Self::Http2(stream) => stream.is_end_stream(),
        }
    }

    /// How much is to come.
    pub fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(decoder) => decoder.size_hint(),
            Self::Http2(stream) if stream.is_end_stream() => SizeHint::with_exact(0),
            // The parser holds it to its `Content-Length`, which is in the head for whoever wants to know.
            Self::Http2(_) => SizeHint::default(),
        }
    }

    /// What comes without anything being done for it any more.
    pub fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self {
            Self::Http1(_) => Poll::Ready(None),
            Self::Http2(stream) => poll_stream(stream, cx).map_err(Fault::Http2),
        }
    }
}

/// A reset is an error here, whatever reason it gives: a body that was cut must not pass for a whole one. One that comes
/// behind the end, as from a server that wants no more of the request, is never seen.
fn poll_stream(stream: &mut RecvStream, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
    if let Some(data) = ready!(stream.poll_data(cx)) {
        let data = data?;
        // Whoever asks for more has room for it. Until then the server's window stays as small as it has become.
        let _ = stream.flow_control().release_capacity(data.len());
        return Poll::Ready(Some(Ok(Frame::data(data))));
    }
    let trailers = ready!(stream.poll_trailers(cx))?;
    Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
}
