//! What an operator does meanwhile: changes the configuration again and again, and has the process replaced.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::sleep,
    time::Duration,
};

use rustix::process::Signal;
use wxgate::model::{Clock, SystemClock, Timestamp};

use super::processes::Gateway;

/// How often it is looked whether it is time for something.
const LOOK: Duration = Duration::from_millis(20);

/// What was done so far.
#[derive(Default)]
pub(super) struct Turns {
    pub(super) reloads: AtomicU64,
    pub(super) restarts: AtomicU64,
    /// What did not go as it should.
    pub(super) wrong: Mutex<Vec<String>>,
}

impl Turns {
    /// Changes the configuration every so often, as long as it goes on.
    pub(super) fn reload(&self, gateway: &Gateway, every: Duration, goes_on: impl Fn() -> bool) {
        let begin = SystemClock.now();
        while goes_on() {
            let turn = self.reloads.fetch_add(1, Ordering::Relaxed);
            let route = format!("\n[[routes]]\npath = \"/turn/{turn}/\"\nupstream = \"app\"\n");
            self.note("a reload", gateway.write(&route).and_then(|()| gateway.signal(Signal::HUP)));
            rest_until(begin, every * u32::try_from(turn + 1).unwrap_or(u32::MAX), &goes_on);
        }
    }

    /// Has the process replaced so many times, with this much time between.
    pub(super) fn restart(&self, gateway: &Gateway, times: u32, every: Duration, goes_on: impl Fn() -> bool) {
        let begin = SystemClock.now();
        for turn in 1..=times {
            rest_until(begin, every * turn, &goes_on);
            if !goes_on() {
                return;
            }
            self.note("a restart", gateway.replace());
            self.restarts.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn note(&self, what: &str, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{what}: {error}"));
        }
    }
}

/// Waits until so much time has passed, or it is over.
fn rest_until(begin: Timestamp, passed: Duration, goes_on: impl Fn() -> bool) {
    while SystemClock.now().since(begin) < passed && goes_on() {
        sleep(LOOK);
    }
}
