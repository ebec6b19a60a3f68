//! A deadline for what a request waits for, without a timer of its own.

use std::{cell::Cell, rc::Rc};

use tokio::time::Instant;

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
    /// Sets the deadline.
    pub fn set(&self, deadline: Instant) {
        self.0.passed.set(false);
        self.0.deadline.set(Some(deadline));
    }

    /// Whether the deadline that was set has passed. It is told once.
    pub fn has_passed(&self) -> bool {
        self.0.passed.replace(false)
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
