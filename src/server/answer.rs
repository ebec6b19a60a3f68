//! An answer's body that tells the connection when it has gone.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};

use super::traffic::Traffic;

/// An answer's body that tells the connection when it has gone.
///
/// An error of the body makes hyper drop the connection with all that it still holds for the client. So the error waits
/// until what came before it has gone out: a client is owed the bytes that there were.
#[derive(Debug)]
pub(super) struct Answer<B: Body> {
    body: B,
    broke: Option<B::Error>,
    traffic: Rc<Traffic>,
}

impl<B: Body> Answer<B> {
    pub(super) fn new(body: B, traffic: Rc<Traffic>) -> Self {
        Self { body, broke: None, traffic }
    }
}

impl<B: Body<Error: Unpin> + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
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

impl<B: Body> Drop for Answer<B> {
    fn drop(&mut self) {
        self.traffic.end_request();
    }
}
