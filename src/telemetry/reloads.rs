//! How the configuration stands: whether the last one that was read could be used, which one it is, and what of it waits
//! for a restart.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

/// How the configuration stands.
#[derive(Debug, Default)]
pub struct ConfigState {
    is_refused: AtomicBool,
    read_at_millis: AtomicU64,
    hash: AtomicU64,
    waiting: AtomicU64,
}

impl ConfigState {
    /// A configuration was read and could be used, so long after the Unix epoch. So many of its keys wait for a restart.
    pub fn taken(&self, at: Duration, hash: u64, waiting: usize) {
        self.read_at_millis.store(at.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        self.hash.store(hash, Ordering::Relaxed);
        self.waiting.store(waiting.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        self.is_refused.store(false, Ordering::Relaxed);
    }

    /// One could not be used; the one before stays.
    pub fn refused(&self) {
        self.is_refused.store(true, Ordering::Relaxed);
    }

    /// Whether the last one that was read could be used.
    pub fn is_taken(&self) -> bool {
        !self.is_refused.load(Ordering::Relaxed)
    }

    /// When the last one that could be used was read, since the Unix epoch.
    pub fn read_at(&self) -> Duration {
        Duration::from_millis(self.read_at_millis.load(Ordering::Relaxed))
    }

    /// Which one that is.
    pub fn hash(&self) -> u64 {
        self.hash.load(Ordering::Relaxed)
    }

    /// How many of its keys wait for a restart.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }
}
