//! Stopping a worker without hurting a request: connections are counted, told once, and waited for.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

use tokio::sync::Notify;

/// What a worker knows of its open connections. It stays on the worker's thread.
#[derive(Debug, Default)]
pub(super) struct Drain {
    on: Cell<bool>,
    next: Cell<u64>,
    open: RefCell<HashMap<u64, Waker>>,
    empty: Notify,
}

impl Drain {
    /// Whether the worker wants to stop.
    pub(super) fn is_on(&self) -> bool {
        self.on.get()
    }

    /// Tells all connections. Idle ones close, the others after the answer they are at.
    pub(super) fn begin(&self) {
        self.on.set(true);
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

impl Drop for Guard {
    fn drop(&mut self) {
        let mut open = self.drain.open.borrow_mut();
        open.remove(&self.id);
        if open.is_empty() {
            self.drain.empty.notify_waiters();
        }
    }
}
