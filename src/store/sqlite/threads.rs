//! Threads that are waited for at the end, but not for ever: a disk that hangs holds whoever has asked it for something.

use std::{
    convert::Infallible,
    io,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// Threads that do the same.
#[derive(Debug)]
pub(super) struct Threads {
    /// Each of them holds a copy of this, and lets go of it by ending.
    alive: Option<mpsc::Sender<Infallible>>,
    ended: Mutex<mpsc::Receiver<Infallible>>,
}

impl Threads {
    pub(super) fn new() -> Self {
        let (alive, ended) = mpsc::channel();
        Self { alive: Some(alive), ended: Mutex::new(ended) }
    }

    pub(super) fn start(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let alive = self.alive.clone();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            work();
            drop(alive);
        })?;
        Ok(())
    }

    /// Waits for all of them, who have been told to end. True where they have.
    pub(super) fn end_within(&mut self, patience: Duration) -> bool {
        self.alive = None;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        matches!(ended.recv_timeout(patience), Err(mpsc::RecvTimeoutError::Disconnected))
    }
}
