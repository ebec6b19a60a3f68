//! A request's body on its way to the server, as fast as the server has room for it.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};

use super::super::Payload;

/// Sends a body. It is done when all of it is with the protocol, or nobody wants more of it; whoever waits for the answer is
/// told then why.
pub(super) struct Pump<B> {
    body: B,
    stream: SendStream<Bytes>,
    /// Of the body, and not sent yet.
    held: Bytes,
    /// Whether what is held is the last of it.
    ends: bool,
    is_touched: bool,
    is_over: bool,
    fault: Option<Box<dyn Error + Send + Sync>>,
}

impl<B: Payload> Pump<B> {
    pub(super) fn new(body: B, stream: SendStream<Bytes>) -> Self {
        Self { body, stream, held: Bytes::new(), ends: false, is_touched: false, is_over: false, fault: None }
    }

    /// Whether it is done, and not to be polled again.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Why the body could not be read to its end.
    pub(super) fn take_fault(&mut self) -> Option<Box<dyn Error + Send + Sync>> {
        self.fault.take()
    }

    /// The body, if nothing has been read of it.
    pub(super) fn into_untouched(self) -> Option<B> {
        (!self.is_touched).then_some(self.body)
    }

    /// Sends what is held. False when nobody wants it.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while !self.held.is_empty() {
            let room = self.stream.capacity();
            if room == 0 {
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => return Poll::Ready(false),
                }
            }
            // No more than there is room for: the rest would lie with the protocol, beside what the client sends meanwhile.
            let piece = self.held.split_to(room.min(self.held.len()));
            let is_last = self.ends && self.held.is_empty();
            if self.stream.send_data(piece, is_last).is_err() {
                return Poll::Ready(false);
            }
        }
        Poll::Ready(true)
    }

    /// Takes the next piece of the body. False when there is none.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                self.is_touched = true;
                self.held = frame.into_data().unwrap_or_default();
                self.ends = self.body.is_end_stream() && !self.held.is_empty();
                self.stream.reserve_capacity(self.held.len());
                Poll::Ready(true)
            }
            Some(Err(error)) => {
                self.is_touched = true;
                self.fault = Some(error.into());
                self.stream.send_reset(Reason::CANCEL);
                Poll::Ready(false)
            }
            None => {
                // It fails where the stream has gone, and then somebody else says why.
                let _ = self.stream.send_data(Bytes::new(), true);
                Poll::Ready(false)
            }
        }
    }
}

impl<B: Payload> Future for Pump<B> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        while !this.is_over {
            // Asked first, so that nothing is read of the body of a request that the server has refused.
            let is_wanted = this.stream.poll_reset(cx).is_pending() && ready!(this.poll_held(cx));
            this.is_over = !is_wanted || this.ends || !ready!(this.poll_body(cx));
        }
        Poll::Ready(())
    }
}
