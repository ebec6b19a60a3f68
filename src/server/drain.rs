//! Stopping a worker without hurting a request: connections are counted, told once, and waited for.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

use tokio::sync::Notify;

/// How far a worker is on its way to its end. There is no way back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
pub(super) enum Stage {
    #[default]
    Serving,
    /// Whoever is answered is told to come on another connection next time. Nothing else is different.
    Telling,
    /// Nobody comes in any more. Those who are here may still ask for something, and learn from the answer.
    Shut,
    /// Connections are closed that nothing is under way on.
    Closing,
    /// Everything is closed.
    Cut,
}

/// What a worker knows of its open connections. It stays on the worker's thread.
#[derive(Debug, Default)]
pub(super) struct Drain {
    stage: Cell<Stage>,
    next: Cell<u64>,
    open: RefCell<HashMap<u64, Waker>>,
    empty: Notify,
}

impl Drain {
    /// Whether an answer says that its connection ends with it.
    pub(super) fn tells(&self) -> bool {
        self.stage.get() >= Stage::Telling
    }

    /// Whether whoever leaves can't come back to this worker.
    pub(super) fn is_shut(&self) -> bool {
        self.stage.get() >= Stage::Shut
    }

    /// Whether a connection that has nothing to do is to be closed.
    pub(super) fn closes(&self) -> bool {
        self.stage.get() >= Stage::Closing
    }

    /// Goes on to `stage`, and has all connections see for themselves what that means for them.
    pub(super) fn reach(&self, stage: Stage) {
        self.stage.set(stage);
        for waker in self.open.borrow().values() {
            waker.wake_by_ref();
        }
    }

    /// Returns when no connection is left.
    pub(super) async fn done(&self) {
        loop {
            let notified = self.empty.notified();
            if self.open.borrow().is_empty() {
                return;
            }
            notified.await;
        }
    }

    /// Counts the connection of this task in, for as long as the guard lives.
    pub(super) async fn enter_task(self: &Rc<Self>) -> Guard {
        poll_fn(|cx| Poll::Ready(self.enter(cx.waker().clone()))).await
    }

    /// Counts a connection in whose task is still to begin.
    pub(super) fn enter_ahead(self: &Rc<Self>) -> Guard {
        self.enter(Waker::noop().clone())
    }

    fn enter(self: &Rc<Self>, waker: Waker) -> Guard {
        let id = self.next.get();
        self.next.set(id + 1);
        self.open.borrow_mut().insert(id, waker);
        Guard { drain: Rc::clone(self), id }
    }
}

/// One counted connection.
#[derive(Debug)]
pub(super) struct Guard {
    drain: Rc<Drain>,
    id: u64,
}

impl Guard {
    /// From here on it is the connection of this task.
    pub(super) async fn settle(&self) {
        poll_fn(|cx| {
            self.drain.open.borrow_mut().insert(self.id, cx.waker().clone());
            Poll::Ready(())
        })
        .await;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut open = self.drain.open.borrow_mut();
        open.remove(&self.id);
        if open.is_empty() {
            self.drain.empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        task::{LocalSet, spawn_local, yield_now},
        time::timeout,
    };

    use super::*;

    #[tokio::test]
    async fn a_connection_counts_before_its_task_begins_and_is_woken_in_it() {
        let drain = Rc::new(Drain::default());
        let story = async {
            let (counted, known) = (drain.enter_ahead(), Rc::clone(&drain));
            assert!(timeout(Duration::ZERO, drain.done()).await.is_err());
            spawn_local(async move {
                counted.settle().await;
                poll_fn(|_| if known.is_shut() { Poll::Ready(()) } else { Poll::Pending }).await;
            });
            yield_now().await;
            assert!(timeout(Duration::ZERO, drain.done()).await.is_err());
            drain.reach(Stage::Shut);
            timeout(Duration::from_secs(30), drain.done()).await.expect("nobody has woken it");
        };
        LocalSet::new().run_until(story).await;
    }
}
