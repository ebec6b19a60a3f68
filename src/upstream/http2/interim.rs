//! The heads that may come before the last one of an answer, and how many of them.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use h2::{RecvStream, client::ResponseFuture};
use http::{HeaderMap, Response};

use super::super::{Fault, MOST_BEFORE_ANSWER};

/// What is added for each field, and what a status is counted with (RFC 9113, 6.5.2). The table of the compression may have left a
/// byte of either on the wire.
const OF_A_FIELD: usize = 32;
const OF_A_STATUS: usize = ":status".len() + "103".len() + OF_A_FIELD;

/// The head of an answer, to come. Those before it are counted and forgotten.
pub(in super::super) struct Answering {
    answer: ResponseFuture,
    heard: usize,
}

impl Answering {
    pub(in super::super) fn new(answer: ResponseFuture) -> Self {
        Self { answer, heard: 0 }
    }

    /// Whether a head has come that was not the last.
    pub(super) fn has_heard(&self) -> bool {
        self.heard > 0
    }
}

impl Future for Answering {
    type Output = Result<Response<RecvStream>, Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        while let Poll::Ready(Some(Ok(interim))) = self.answer.poll_informational(cx) {
            self.heard += size(interim.headers());
            if self.heard > MOST_BEFORE_ANSWER {
                return Poll::Ready(Err(Fault::NoEnd));
            }
        }
        Pin::new(&mut self.answer).poll(cx).map_err(Fault::Http2)
    }
}

fn size(fields: &HeaderMap) -> usize {
    let fields = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + OF_A_FIELD);
    OF_A_STATUS + fields.sum::<usize>()
}
