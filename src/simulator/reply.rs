//! What goes back over a connection: an answer, a part of one, far too much of one, or nothing at all.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use serde::Serialize;

/// What a request gets.
pub(super) enum Reply {
    /// A whole answer.
    Answer(Response<Bytes>),
    /// The head and half of the body; then the connection is cut.
    HalfAnswer(Response<Bytes>),
    /// The answer, then spaces until the body has so many bytes.
    Oversize(Response<Bytes>, u64),
    /// The answer, then spaces for as long as anybody reads.
    Endless(Response<Bytes>),
    /// The connection is cut without a byte.
    Hangup,
}

/// The connection is to be cut here.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on purpose")]
pub(super) struct Cut;

/// The body of a [`Reply`].
pub(super) struct ReplyBody {
    first: Bytes,
    then: Then,
}

enum Then {
    End,
    Spaces(u64),
    SpacesForEver,
    Cut { withheld: u64, flushed: bool },
}

const SPACES: &[u8] = &[b' '; 16 * 1024];

impl Reply {
    /// JSON under a status, labelled as JSON.
    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        Self::Answer(response(status, "application/json", serde_json::to_vec_pretty(body).unwrap_or_default()))
    }

    /// A status alone.
    pub(super) fn status(status: StatusCode) -> Self {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        Self::Answer(response)
    }

    /// The answer, where it is a whole one.
    #[cfg(test)]
    pub(super) fn whole(self) -> Option<Response<Bytes>> {
        if let Self::Answer(response) = self { Some(response) } else { None }
    }

    /// What hyper sends; [`Cut`] makes it close the connection instead.
    pub(super) fn into_response(self) -> Result<Response<ReplyBody>, Cut> {
        let (response, then) = match self {
            Self::Answer(response) => (response, Then::End),
            Self::HalfAnswer(mut response) => {
                let whole = std::mem::take(response.body_mut());
                let half = whole.len() / 2;
                let withheld = length(&whole) - half as u64;
                *response.body_mut() = whole.slice(..half);
                (response, Then::Cut { withheld, flushed: false })
            }
            Self::Oversize(response, bytes) => {
                let padding = bytes.saturating_sub(length(response.body()));
                (response, Then::Spaces(padding))
            }
            Self::Endless(response) => (response, Then::SpacesForEver),
            Self::Hangup => return Err(Cut),
        };
        Ok(response.map(|first| ReplyBody { first, then }))
    }
}

/// A response with a body and its type.
pub(super) fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        match &mut self.then {
            Then::End | Then::Spaces(0) => Poll::Ready(None),
            Then::Spaces(left) => {
                let chunk = usize::try_from(*left).map_or(SPACES.len(), |left| left.min(SPACES.len()));
                *left -= chunk as u64;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&SPACES[..chunk])))))
            }
            Then::SpacesForEver => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(SPACES))))),
            // hyper throws away what it has not flushed when a body fails, so it gets one turn to flush first.
            Then::Cut { flushed: flushed @ false, .. } => {
                *flushed = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Then::Cut { .. } => Poll::Ready(Some(Err(Cut))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && matches!(self.then, Then::End | Then::Spaces(0))
    }

    fn size_hint(&self) -> SizeHint {
        let first = length(&self.first);
        match self.then {
            Then::End => SizeHint::with_exact(first),
            Then::Spaces(more) | Then::Cut { withheld: more, .. } => SizeHint::with_exact(first + more),
            Then::SpacesForEver => SizeHint::default(),
        }
    }
}

fn length(bytes: &Bytes) -> u64 {
    bytes.len() as u64
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn answer(body: &'static str) -> Response<Bytes> {
        response(StatusCode::OK, "text/plain", body)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_oversize_answer_is_the_answer_and_spaces() {
        let body = Reply::Oversize(answer("{}"), 40_000).into_response().unwrap().into_body();
        assert_eq!(body.size_hint().exact(), Some(40_000));
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(bytes.len(), 40_000);
        assert!(bytes.starts_with(b"{} "));
        assert!(bytes[2..].iter().all(|byte| *byte == b' '));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn half_an_answer_promises_the_whole() {
        let mut body = Reply::HalfAnswer(answer("0123456789")).into_response().unwrap().into_body();
        assert_eq!(body.size_hint().exact(), Some(10));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "01234");
        assert!(body.frame().await.unwrap().is_err());
    }

    #[test]
    fn a_hangup_has_no_answer() {
        assert!(Reply::Hangup.into_response().is_err());
    }
}
