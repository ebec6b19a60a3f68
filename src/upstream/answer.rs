//! The body of an answer, over either version of HTTP.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Fault;

/// The body of an answer, as it comes.
#[derive(Debug)]
pub enum AnswerBody {
    /// Of a connection that is this answer's alone.
    Http1(Incoming),
    /// Of one stream among others. Dropped before its end, it is reset.
    Http2(RecvStream),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match &mut *self {
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(Fault::Http1),
            Self::Http2(stream) => poll_stream(stream, cx).map_err(Fault::Http2),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(stream) if stream.is_end_stream() => SizeHint::with_exact(0),
            // The parser holds it to its `Content-Length`, which is in the head for whoever wants to know.
            Self::Http2(_) => SizeHint::default(),
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
