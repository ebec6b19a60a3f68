//! One timer per connection in use, however many requests it carries: it ticks a few times per second and the
//! connection then looks at its deadlines. Setting and dropping a timer for each request would cost more than the look.

use std::{future::Future, pin::Pin, task::Context, time::Duration};

use tokio::{
    task::coop::has_budget_remaining,
    time::{Instant, Sleep, sleep},
};

use super::Options;

const LONGEST: Duration = Duration::from_millis(250);
const SHORTEST: Duration = Duration::from_millis(5);

/// A timer that goes off again and again.
#[derive(Debug)]
pub(super) struct Tick {
    every: Duration,
    sleep: Pin<Box<Sleep>>,
    registered: bool,
    resting: bool,
}

impl Tick {
    /// A tick fine enough for the shortest of these timeouts.
    pub(super) fn new(options: &Options) -> Self {
        let shortest =
            options.header_timeout.min(options.body_timeout).min(options.keepalive_timeout).min(options.write_timeout);
        let every = (shortest / 8).clamp(SHORTEST, LONGEST);
        Self { every, sleep: Box::pin(sleep(every)), registered: false, resting: false }
    }

    /// The present moment, when it is time to look. Otherwise sees to it that the task is woken when it will be.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        // The timer keeps the waker it was polled with, and a task's waker does not change: one poll per tick is enough.
        if self.registered && !self.sleep.is_elapsed() {
            return None;
        }
        // A task that has used up its turn is to come again at once, and its timer takes no notice of it until then.
        let is_noticed = has_budget_remaining();
        if self.sleep.as_mut().poll(cx).is_pending() {
            self.registered = is_noticed;
            return None;
        }
        let now = Instant::now();
        self.sleep.as_mut().reset(now + self.every);
        self.registered = false;
        self.resting = false;
        Some(now)
    }

    /// Goes off at this moment and not before, as long as nobody hastens it.
    pub(super) fn rest(&mut self, until: Instant) {
        self.sleep.as_mut().reset(until);
        self.registered = false;
        self.resting = true;
    }

    /// Goes off again and again, if it does not.
    pub(super) fn hasten(&mut self) {
        if self.resting {
            self.sleep.as_mut().reset(Instant::now() + self.every);
            self.registered = false;
            self.resting = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin, task::Poll};

    use tokio::{task::coop::consume_budget, time::timeout};

    use super::*;
    use crate::config::sections;

    async fn next(tick: &mut Tick) -> Instant {
        poll_fn(|cx| tick.poll(cx).map_or(Poll::Pending, Poll::Ready)).await
    }

    #[tokio::test]
    async fn who_rests_is_woken_at_the_end_of_it_unless_hastened() {
        let every = Options { write_timeout: 8 * SHORTEST, ..Options::from_section(&sections::Server::default()) };
        let mut tick = Tick::new(&every);
        let end = next(&mut tick).await + 10 * SHORTEST;
        tick.rest(end);
        assert!(next(&mut tick).await >= end, "nothing before");
        tick.rest(end + Duration::from_hours(1));
        tick.hasten();
        assert!(next(&mut tick).await < end + Duration::from_hours(1));
    }

    #[tokio::test]
    async fn who_has_used_up_their_turn_is_woken_all_the_same() {
        let options = Options { write_timeout: 8 * SHORTEST, ..Options::from_section(&sections::Server::default()) };
        let (mut tick, mut is_first) = (Tick::new(&options), true);
        let woken = poll_fn(|cx| {
            while is_first && pin!(consume_budget()).poll(cx).is_ready() {}
            is_first = false;
            tick.poll(cx).map_or(Poll::Pending, Poll::Ready)
        });
        assert!(timeout(Duration::from_secs(30), woken).await.is_ok(), "nothing wakes it");
    }
}
