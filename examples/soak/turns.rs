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
        while goes_on() {
            let turn = self.reloads.fetch_add(1, Ordering::Relaxed);
            let route = format!("\n[[routes]]\npath = \"/turn/{turn}/\"\nupstream = \"app\"\n");
            self.note("a reload", gateway.write(&route).and_then(|()| gateway.signal(Signal::HUP)));
            rest(every, &goes_on);
        }
    }

    /// Has the process replaced so many times, with this much time between.
    pub(super) fn restart(&self, gateway: &Gateway, times: u32, every: Duration, goes_on: impl Fn() -> bool) {
        for _ in 0..times {
            rest(every, &goes_on);
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

/// Waits so long, or until it is over.
fn rest(time: Duration, goes_on: impl Fn() -> bool) {
    let mut left = time;
    while !left.is_zero() && goes_on() {
        let step = left.min(LOOK);
        sleep(step);
        left -= step;
    }
}
