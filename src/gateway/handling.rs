//! The wait for an answer, as a future.
//!
//! Written out, since an `async` block keeps several copies of what goes through it. A future is as large as all that it
//! ever holds, and one lives for each request under way: with many of them, that memory is what a request costs.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::{
    proxy::{self, Forwarded},
    web::Answer,
};

use super::{
    Body, Content, Failure, Ticket,
    answer::{finish, with_id},
};

/// What the head of an upstream's answer comes as.
pub(super) type Head = Result<Answer<Forwarded>, proxy::Error>;

pin_project! {
    /// A request that is being answered.
    #[project = Project]
    pub(super) enum Handling<'a, F> {
        /// By an upstream, which has it.
        Sent { #[pin] head: F, asked_at: Instant, ticket: Option<Ticket> },
        /// By somebody else, or not at once. Boxed, since that is rare and may be large.
        Late { answer: Pin<Box<dyn Future<Output = Answer<Body>> + 'a>> },
    }
}

impl<'a, F> Handling<'a, F> {
    pub(super) fn late(answer: impl Future<Output = Answer<Body>> + 'a) -> Self {
        Self::Late { answer: Box::pin(answer) }
    }
}

impl<F: Future<Output = Head>> Future for Handling<'_, F> {
    type Output = Answer<Body>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer<Body>> {
        match self.project() {
            Project::Late { answer } => answer.as_mut().poll(cx),
            Project::Sent { head, asked_at, ticket } => {
                let head = ready!(head.poll(cx));
                // A future that is done is not polled again.
                let Some(mut ticket) = ticket.take() else { return Poll::Pending };
                let now = Instant::now();
                ticket.entry.upstream = Some(now.saturating_duration_since(*asked_at));
                let answer =
                    head.map(|answer| with_id(answer, &ticket.entry).map(Content::Forwarded)).map_err(Failure::Proxy);
                Poll::Ready(finish(answer, ticket, now))
            }
        }
    }
}
