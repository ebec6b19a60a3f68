//! One timer per connection in use, however many requests it carries: it ticks a few times per second and the
//! connection then looks at its deadlines. Setting and dropping a timer for each request would cost more than the look.

use std::{task::Context, time::Duration};

use tokio::time::Instant;

use super::Options;
use crate::web::Alarm;

const LONGEST: Duration = Duration::from_millis(250);
const SHORTEST: Duration = Duration::from_millis(5);

/// A timer that goes off again and again.
#[derive(Debug)]
pub(super) struct Tick {
    every: Duration,
    alarm: Alarm,
    resting: bool,
}

impl Tick {
    /// A tick fine enough for the shortest of these timeouts.
    pub(super) fn new(options: &Options) -> Self {
        let shortest =
            options.header_timeout.min(options.body_timeout).min(options.keepalive_timeout).min(options.write_timeout);
        let every = (shortest / 8).clamp(SHORTEST, LONGEST);
        Self { every, alarm: Alarm::after(every), resting: false }
    }

    /// The present moment, when it is time to look. Otherwise sees to it that the task is woken when it will be.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        if self.alarm.poll(cx).is_pending() {
            return None;
        }
        let now = Instant::now();
        self.alarm.reset(now + self.every);
        self.resting = false;
        Some(now)
    }

    /// Goes off at this moment and not before, as long as nobody hastens it.
    pub(super) fn rest(&mut self, until: Instant) {
        self.alarm.reset(until);
        self.resting = true;
    }

    /// Goes off again and again, if it does not.
    pub(super) fn hasten(&mut self) {
        if self.resting {
            self.alarm.reset(Instant::now() + self.every);
            self.resting = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

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
}
