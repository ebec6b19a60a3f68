//! The body of an answer, ours or an upstream's, with the log line that waits for its end.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Method;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::proxy::{Fault, Forwarded};

use super::access_log::Ticket;

/// The body of an answer.
#[derive(Debug)]
pub struct Body {
    content: Content,
    ticket: Option<Ticket>,
}

/// What is in it. An enum rather than a box: this is on the path of every request.
#[derive(Debug)]
pub enum Content {
    /// Ours, and it fits in memory.
    Whole(Bytes),
    /// An upstream's, streamed as it comes.
    Forwarded(Forwarded),
}

impl Body {
    pub(super) fn new(content: Content, mut ticket: Ticket) -> Self {
        // An answer to HEAD is whole without its body.
        ticket.entry.complete = content.is_end() || ticket.entry.method == Some(Method::HEAD);
        Self { content, ticket: Some(ticket) }
    }

    /// One whose line waits for something else.
    pub(super) fn untold(content: Content) -> Self {
        Self { content, ticket: None }
    }
}

impl Content {
    fn is_end(&self) -> bool {
        match self {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Forwarded(body) => body.is_end_stream(),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        let frame = match &mut this.content {
            Content::Whole(bytes) if bytes.is_empty() => None,
            Content::Whole(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Content::Forwarded(body) => std::task::ready!(Pin::new(body).poll_frame(cx)),
        };
        let Some(ticket) = &mut this.ticket else { return Poll::Ready(frame) };
        match &frame {
            Some(Ok(frame)) => ticket.entry.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(error)) => ticket.entry.cause = Some(format!("the upstream's answer broke off: {error}")),
            None => {}
        }
        if !matches!(frame, Some(Err(_))) {
            ticket.entry.complete = frame.is_none() || this.content.is_end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Forwarded(body) => body.size_hint(),
        }
    }
}
