//! What a tunnel leaves behind. hyper writes what goes through it in a task of its own, which waits for the client's window
//! with what was said last, also when there is nobody any more who could give up: a client that keeps its window shut would
//! have that task, and the stream, for as long as it likes.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

/// What the task that writes for a tunnel is told of its end.
#[derive(Debug, Default)]
pub(super) struct Over {
    ended: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Over {
    /// The tunnel has ended.
    pub(super) fn end(&self) {
        self.ended.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

pin_project! {
    /// The task that writes for a tunnel. Once that has ended, it has `patience` for what is left, and is dropped then, which
    /// resets the stream.
    pub(super) struct Writing<F> {
        #[pin]
        task: F,
        over: Rc<Over>,
        patience: Duration,
        #[pin]
        left: Option<Sleep>,
    }
}

impl<F> Writing<F> {
    pub(super) fn new(task: F, over: Rc<Over>, patience: Duration) -> Self {
        Self { task, over, patience, left: None }
    }
}

impl<F: Future<Output = ()>> Future for Writing<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if this.task.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !this.over.ended.get() {
            this.over.waker.replace(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        if this.left.is_none() {
            this.left.set(Some(sleep(*this.patience)));
        }
        this.left.as_pin_mut().map_or(Poll::Pending, |left| left.poll(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};

    use tokio::task::LocalSet;

    use super::*;

    const SOON: Duration = Duration::from_millis(5);
    const LATE: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn a_tunnel_that_is_open_has_all_the_time_there_is_and_what_it_leaves_has_not() {
        let over = Rc::<Over>::default();
        let writing = Writing::new(pending(), Rc::clone(&over), SOON);
        let story = async {
            let task = tokio::task::spawn_local(writing);
            // As many turns as it takes for the task to have had some.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert!(!task.is_finished());
            over.end();
            task.await.unwrap();
        };
        LocalSet::new().run_until(story).await;
    }

    #[tokio::test]
    async fn what_is_taken_is_waited_for_no_longer() {
        let over = Rc::<Over>::default();
        over.end();
        Writing::new(ready(()), Rc::clone(&over), LATE).await;
        let mut turns = 0;
        let taken = poll_fn(|cx| {
            turns += 1;
            cx.waker().wake_by_ref();
            if turns > 3 { Poll::Ready(()) } else { Poll::Pending }
        });
        Writing::new(taken, over, LATE).await;
    }
}
