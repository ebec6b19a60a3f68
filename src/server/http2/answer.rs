//! An answer's body, in pieces that know whether the client takes them.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body::{Body, Frame, SizeHint};

use super::{
    Service,
    exchange::{Exchange, Piece},
};

/// An answer's body.
pub(super) struct AnswerBody<S: Service> {
    content: Content<S::Body>,
    exchange: Rc<Exchange>,
    /// Goes on doing what it does now and then until its last answer is out.
    _service: Rc<S>,
}

enum Content<B> {
    /// Of the service.
    Served(B),
    /// To what never became a request.
    Ours(Bytes),
    /// Not to be sent, but kept until the end: whoever counts the answer counts it then.
    Unsent(B),
}

impl<S: Service> AnswerBody<S> {
    pub(super) fn served(body: S::Body, exchange: Rc<Exchange>, service: Rc<S>) -> Self {
        Self { content: Content::Served(body), exchange, _service: service }
    }

    pub(super) fn ours(body: Bytes, exchange: Rc<Exchange>, service: Rc<S>) -> Self {
        Self { content: Content::Ours(body), exchange, _service: service }
    }
}

/// The answer to HEAD, which has the length of its body and not the body. HTTP/1's serialiser sees to it by itself.
pub(super) fn without_body<S: Service>(mut response: Response<AnswerBody<S>>) -> Response<AnswerBody<S>> {
    let length = match &response.body().content {
        Content::Served(body) if body.is_end_stream() => None,
        Content::Served(body) => body.size_hint().exact(),
        Content::Ours(bytes) => Some(bytes.len() as u64),
        Content::Unsent(_) => None,
    };
    if let Some(length) = length {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    response.map(|answer| match answer.content {
        Content::Served(body) => AnswerBody { content: Content::Unsent(body), ..answer },
        Content::Ours(_) | Content::Unsent(_) => AnswerBody { content: Content::Ours(Bytes::new()), ..answer },
    })
}

impl<S: Service> Body for AnswerBody<S> {
    type Data = Piece;
    type Error = <S::Body as Body>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, Self::Error>>> {
        let this = &mut *self;
        let frame = match &mut this.content {
            Content::Served(body) => ready!(Pin::new(body).poll_frame(cx)),
            Content::Ours(bytes) if !bytes.is_empty() => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Content::Ours(_) | Content::Unsent(_) => None,
        };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|bytes| this.exchange.offer(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Served(body) => body.is_end_stream(),
            Content::Ours(bytes) => bytes.is_empty(),
            Content::Unsent(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Served(body) => body.size_hint(),
            Content::Ours(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Unsent(_) => SizeHint::with_exact(0),
        }
    }
}
