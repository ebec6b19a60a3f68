//! What is counted. One struct of plain cells, resolved at compile time: nothing is hashed or looked up to count.
//! Cells of rare events only; what happens on every request is counted per worker.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted process-wide.
#[derive(Debug, Default)]
pub struct Counters {
    /// Sessions begun.
    pub sessions_issued: Counter,
    /// Live sessions that memory had no room for: each of these logged somebody out.
    pub sessions_evicted: Counter,
    /// Sessions ended by a log-out, by `per_user` or by an operator.
    pub sessions_revoked: Counter,
    /// Logins answered from the memory of a login that went before.
    pub logins_replayed: Counter,
    /// Login codes sent to WeChat.
    pub wechat_calls: Counter,
    /// Logins refused by our own limits.
    pub logins_limited: Counter,
    /// Access log lines that were thrown away because the writer could not keep up.
    pub log_lines_dropped: Counter,
    /// Requests sent again on another connection, because a reused one turned out closed.
    pub upstream_retries: Counter,
}
