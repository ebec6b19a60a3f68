//! The service that answers from here on, and those before it that still have a request to answer.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use super::Service;

/// The service of one worker. Each request keeps the one that it began with.
#[derive(Debug)]
pub(super) struct Current<S> {
    now: RefCell<Rc<S>>,
    before: RefCell<Vec<Weak<S>>>,
}

impl<S: Service> Current<S> {
    pub(super) fn new(service: S) -> Self {
        Self { now: RefCell::new(Rc::new(service)), before: RefCell::default() }
    }

    /// The one that a new request is for.
    pub(super) fn get(&self) -> Rc<S> {
        Rc::clone(&self.now.borrow())
    }

    /// Puts each successor in its place, for as long as it is polled.
    pub(super) async fn follow(&self) {
        loop {
            let service = self.get();
            let successor = service.successor().await;
            self.before.borrow_mut().push(Rc::downgrade(&service));
            self.now.replace(Rc::new(successor));
        }
    }

    /// Lets all that are in use do what they do now and then.
    pub(super) fn tick(&self) {
        self.get().tick();
        let before = self.before.take();
        let in_use = before.into_iter().filter(|service| service.upgrade().inspect(|service| service.tick()).is_some());
        let in_use = in_use.collect::<Vec<_>>();
        self.before.borrow_mut().extend(in_use);
    }
}
