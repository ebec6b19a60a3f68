//! An answer's body that tells the connection when it has gone.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{Service, traffic::Traffic};

/// An answer's body that tells the connection when it has gone.
///
/// An error of the body makes hyper drop the connection with all that it still holds for the client. So the error waits
/// until what came before it has gone out: a client is owed the bytes that there were.
pub(super) struct Answer<S: Service> {
    body: S::Body,
    broke: Option<<S::Body as Body>::Error>,
    traffic: Rc<Traffic>,
    /// Goes on doing what it does now and then until its last answer is out.
    _service: Rc<S>,
}

impl<S: Service> Answer<S> {
    pub(super) fn new(body: S::Body, traffic: Rc<Traffic>, service: Rc<S>) -> Self {
        Self { body, broke: None, traffic, _service: service }
    }
}

impl<S: Service> Body for Answer<S> {
    type Data = Bytes;
    type Error = <S::Body as Body>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.broke.is_some() && !this.traffic.unflushed() {
            return Poll::Ready(this.broke.take().map(Err));
        }
        if this.broke.is_none() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Err(error)) => this.broke = Some(error),
                frame => return Poll::Ready(frame),
            }
            // hyper writes out what it holds when there is nothing more to be had at the moment, and then asks again.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<S: Service> Drop for Answer<S> {
    fn drop(&mut self) {
        self.traffic.end_request();
    }
}
