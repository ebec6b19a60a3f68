//! A timer that is asked whenever its task is polled and goes off seldom, so asking must cost next to nothing.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task::coop::has_budget_remaining,
    time::{Instant, Sleep, sleep},
};

/// A timer of one task.
#[derive(Debug)]
pub struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// Whether it wakes the task. It keeps the waker that it was polled with, and a task's waker does not change.
    is_set: bool,
}

impl Alarm {
    /// One that goes off after this time.
    pub fn after(time: Duration) -> Self {
        Self { sleep: Box::pin(sleep(time)), is_set: false }
    }

    /// Ready once it has gone off. Otherwise it wakes the task when it does.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_set && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        // A task that has used up its turn is to come again at once, and its timer takes no notice of it until then.
        let is_noticed = has_budget_remaining();
        let gone_off = self.sleep.as_mut().poll(cx);
        self.is_set = is_noticed && gone_off.is_pending();
        gone_off
    }

    /// Goes off at this moment instead.
    pub fn reset(&mut self, at: Instant) {
        self.sleep.as_mut().reset(at);
        self.is_set = false;
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use tokio::{task::coop::consume_budget, time::timeout};

    use super::*;

    #[tokio::test]
    async fn who_has_used_up_their_turn_is_woken_all_the_same() {
        let (mut alarm, mut is_first) = (Alarm::after(Duration::from_millis(5)), true);
        let woken = poll_fn(|cx| {
            while is_first && pin!(consume_budget()).poll(cx).is_ready() {}
            is_first = false;
            alarm.poll(cx)
        });
        assert!(timeout(Duration::from_secs(30), woken).await.is_ok(), "nothing wakes it");
    }
}
