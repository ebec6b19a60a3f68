//! What becomes of notices that are sent to somebody, and how many wait.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::Counter;

/// What becomes of notices.
#[derive(Debug, Default)]
pub struct WebhookCounts {
    /// Tries that were answered with 2xx.
    pub delivered: Counter,
    /// Tries that were not, and are made again.
    pub failed: Counter,
    /// Notices that were answered with 410.
    pub gone: Counter,
    /// Notices that were too old.
    pub expired: Counter,
    /// Notices that can't be opened any more.
    pub unreadable: Counter,
    /// Notices that there was no room for.
    pub crowded: Counter,
    waiting: AtomicU64,
    oldest_millis: AtomicU64,
}

impl WebhookCounts {
    /// Each outcome by name.
    pub fn each(&self) -> [(&'static str, u64); 6] {
        [
            ("delivered", self.delivered.get()),
            ("failed", self.failed.get()),
            ("gone", self.gone.get()),
            ("expired", self.expired.get()),
            ("unreadable", self.unreadable.get()),
            ("crowded", self.crowded.get()),
        ]
    }

    /// So many wait, and the oldest has done so for so long.
    pub fn wait(&self, notices: u64, oldest: Duration) {
        self.waiting.store(notices, Ordering::Relaxed);
        self.oldest_millis.store(u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many wait.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How long the oldest has waited.
    pub fn oldest(&self) -> Duration {
        Duration::from_millis(self.oldest_millis.load(Ordering::Relaxed))
    }
}
