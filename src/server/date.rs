//! The present second as answers tell it.

use std::{
    cell::RefCell,
    time::{Duration, UNIX_EPOCH},
};

use crate::model::{Clock, SystemClock};

/// `Date`, written out now and then for all answers until the next time.
#[derive(Debug)]
pub(super) struct Date(RefCell<String>);

impl Default for Date {
    fn default() -> Self {
        Self(RefCell::new(now()))
    }
}

impl Date {
    /// It is later. To be said a few times per second.
    pub(super) fn update(&self) {
        self.0.replace(now());
    }

    /// Does something with it.
    pub(super) fn with<T>(&self, what: impl FnOnce(&[u8]) -> T) -> T {
        what(self.0.borrow().as_bytes())
    }
}

fn now() -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(SystemClock.now().as_millis()))
}
