//! An answer's body that tells the connection when it has gone.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};

use super::traffic::Traffic;

/// An answer's body that tells the connection when it has gone.
#[derive(Debug)]
pub(super) struct Answer<B> {
    body: B,
    traffic: Rc<Traffic>,
}

impl<B> Answer<B> {
    pub(super) fn new(body: B, traffic: Rc<Traffic>) -> Self {
        Self { body, traffic }
    }
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Answer<B> {
    fn drop(&mut self) {
        self.traffic.end_request();
    }
}
