//! A deadline for what a request waits for, without a timer of its own.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use tokio::time::Instant;

/// The time did not suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

#[derive(Debug, Default)]
struct Cells {
    deadline: Cell<Option<Instant>>,
    passed: Cell<bool>,
}

/// A deadline that somebody else looks at now and then: a connection has one timer, ticking a few times per second,
/// for all it waits for. So it is late by up to a quarter of a second, and costs next to nothing when nothing is late.
/// There is one deadline at a time.
#[derive(Clone, Debug, Default)]
pub struct RequestTimer(Rc<Cells>);

impl RequestTimer {
    /// Runs `future` for at most `limit`.
    pub async fn within<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        self.0.passed.set(false);
        self.0.deadline.set(Some(Instant::now() + limit));
        let result = poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if self.0.passed.get() { Poll::Ready(Err(Elapsed)) } else { Poll::Pending }
        })
        .await;
        self.0.deadline.set(None);
        result
    }

    /// Whether the deadline has passed just now. Then whoever polls the task must poll it again.
    pub fn expire(&self, now: Instant) -> bool {
        if self.0.deadline.get().is_none_or(|at| now < at) {
            return false;
        }
        self.0.deadline.set(None);
        self.0.passed.set(true);
        true
    }

    /// Forgets the deadline: what waited for it is gone.
    pub fn clear(&self) {
        self.0.deadline.set(None);
    }
}
