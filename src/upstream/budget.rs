//! How many requests may be sent a second time: a share of those there are, and a few beside these.
//!
//! Without a bound, a backend that fails under its load would get twice the load for it. What is not used is kept for about
//! ten seconds, so that the requests that a dying server takes along at one moment can all be sent again.

use std::{cell::Cell, time::Duration};

use crate::config::sections::Retry;

/// What one retry takes. A request brings in its percentage of it.
const RETRY: u64 = 100;

/// What is left over is forgotten at this pace.
const MEMORY: Duration = Duration::from_secs(10);

/// The retries that one worker has left for one upstream.
#[derive(Debug)]
pub(super) struct Budget {
    left: Cell<u64>,
    per_request: u64,
    per_second: u64,
}

impl Budget {
    /// As it is after a while without a request.
    pub(super) fn new(section: &Retry) -> Self {
        let per_second = section.min_per_second as u64 * RETRY;
        Self { left: Cell::new(per_second * MEMORY.as_secs()), per_request: section.percent as u64, per_second }
    }

    /// A request has come.
    pub(super) fn earn(&self) {
        self.left.set(self.left.get() + self.per_request);
    }

    /// Takes out one retry, if there is one.
    pub(super) fn spend(&self) -> bool {
        let left = self.left.get().checked_sub(RETRY);
        self.left.set(left.unwrap_or(self.left.get()));
        left.is_some()
    }

    /// So much time has passed.
    pub(super) fn tick(&self, passed: Duration) {
        let millis = u64::try_from(passed.min(MEMORY).as_millis()).unwrap_or_default();
        let memory = u64::try_from(MEMORY.as_millis()).unwrap_or(u64::MAX);
        let left = self.left.get();
        // Rounded up, or the last of them would never be forgotten.
        let forgotten = left.saturating_mul(millis).div_ceil(memory);
        self.left.set(left - forgotten.min(left) + self.per_second * millis / 1000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(budget: &Budget) -> usize {
        (0..10_000).take_while(|_| budget.spend()).count()
    }

    #[test]
    fn a_fifth_of_the_requests_may_be_sent_again_and_some_beside() {
        let budget = Budget::new(&Retry { percent: 20, min_per_second: 2 });
        assert_eq!(spent(&budget), 20, "ten seconds' worth to begin with");
        (0..100).for_each(|_| budget.earn());
        assert_eq!(spent(&budget), 20);
        budget.tick(Duration::from_secs(1));
        assert_eq!(spent(&budget), 2);
    }

    #[test]
    fn without_a_budget_nothing_is_sent_again() {
        let budget = Budget::new(&Retry { percent: 0, min_per_second: 0 });
        (0..100).for_each(|_| budget.earn());
        budget.tick(Duration::from_secs(1));
        assert_eq!(spent(&budget), 0);
    }

    #[test]
    fn what_is_not_used_is_forgotten() {
        let budget = Budget::new(&Retry { percent: 100, min_per_second: 0 });
        (0..1000).for_each(|_| budget.earn());
        (0..240).for_each(|_| budget.tick(Duration::from_millis(250)));
        assert!(spent(&budget) < 5, "a minute later");
    }
}
