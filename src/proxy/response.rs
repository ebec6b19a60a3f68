//! The answer on its way back: without what concerned only the upstream's connection, streamed as it comes, and the
//! connection kept when both sides of the exchange are done.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};

use crate::{
    upstream::{AnswerBody, Fault, Lease, Switched},
    web::{BodyProgress, RequestBody},
};

use super::{
    hop::{self, Names},
    trailers::Trailers,
};

/// Takes out of an answer's head what concerned the upstream's connection only.
pub(super) fn clean(headers: &mut HeaderMap) {
    let mut doomed = Names::new();
    doomed.extend(headers.keys().filter(|name| hop::is_hop_by_hop(name)).cloned());
    if doomed.contains(&header::CONNECTION) {
        doomed.extend(hop::named_in_connection(headers));
    }
    for name in &doomed {
        headers.remove(name);
    }
}

/// An upstream's answer body.
///
/// An error here makes the server cut the client's connection, so that a body that broke off can't pass for a whole one.
#[derive(Debug)]
pub struct Forwarded {
    body: AnswerBody,
    lease: Option<Lease<RequestBody>>,
    request: BodyProgress,
    trailers: Trailers,
}

impl Forwarded {
    pub(super) fn new(body: AnswerBody, lease: Lease<RequestBody>, request: BodyProgress, trailers: Trailers) -> Self {
        let mut this = Self { body, lease: Some(lease), request, trailers };
        if this.body.is_end_stream() {
            this.finish();
        } else if let Some(lease) = &mut this.lease
            && !(this.request.is_whole() && lease.has_sent())
        {
            // The rest of the request must not wait for whoever reads the answer.
            lease.set_going();
        }
        this
    }

    /// The answer that ends HTTP on its connection.
    pub(super) fn switching(body: AnswerBody, lease: Lease<RequestBody>, request: BodyProgress) -> Self {
        Self { body, lease: Some(lease), request, trailers: Trailers::default() }
    }

    /// The connection, where HTTP has ended on it.
    pub fn into_switched(self) -> Option<Switched<RequestBody>> {
        self.lease?.into_switched()
    }

    /// Keeps the connection, unless the request's body is still on its way: the rest of that would be read as the
    /// beginning of somebody else's request. It may go on, as long as the upstream takes it.
    fn finish(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        // Read whole is not written whole: the end of a body may still lie here, and then the connection is not done.
        if self.request.is_whole() && lease.is_ready() {
            return lease.give_back();
        }
        let request = self.request.clone();
        let mut last = request.last_read();
        lease.let_go(move || {
            let before = std::mem::replace(&mut last, request.last_read());
            request.is_awaited() || last != before
        });
    }
}

impl Body for Forwarded {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        let frame = match &mut this.lease {
            Some(lease) => ready!(lease.poll_frame(cx, &mut this.body)),
            None => ready!(this.body.poll_rest(cx)),
        };
        let over = match &frame {
            Some(Ok(frame)) => frame.is_trailers() || self.body.is_end_stream(),
            Some(Err(_)) => {
                self.lease = None;
                false
            }
            None => true,
        };
        if over {
            self.finish();
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) if frame.is_trailers() => self.trailers.pass(frame, &self.body).map(Ok),
            frame => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
