//! Connections to backends: one pool per worker and server.
//!
//! A pool belongs to one worker and never leaves its thread, so taking a connection is popping from a vector. What a
//! shared pool would save in connections it would cost in locks and cross-thread wake-ups on every request.

mod error;
mod link;
mod pool;
mod socket;

use std::{cell::Cell, rc::Rc};

use http_body::Body;
use tokio::time::Instant;

use crate::config::sections;

pub use error::{ConnectError, SendError};
pub use pool::Lease;
use pool::Pool;

/// One upstream as one worker sees it.
#[derive(Debug)]
pub struct Upstream<B: Body + 'static> {
    section: Rc<sections::Upstream>,
    pools: Vec<Rc<Pool<B>>>,
    next: Cell<usize>,
}

impl<B> Upstream<B>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Connects to nothing yet.
    pub fn new(section: &sections::Upstream) -> Self {
        let section = Rc::new(section.clone());
        let pools = section.servers.iter().map(|server| Rc::new(Pool::new(server, &section))).collect();
        Self { section, pools, next: Cell::new(0) }
    }

    /// Its settings.
    pub fn section(&self) -> &sections::Upstream {
        &self.section
    }

    /// A kept connection to the next server in turn, if there is one that can be used at once.
    pub fn kept_now(&self, now: Instant) -> Option<Lease<B>> {
        let lease = self.pools.get(self.next.get() % self.pools.len().max(1))?.kept_now(now)?;
        self.next.set(self.next.get().wrapping_add(1));
        Some(lease)
    }

    /// A connection to the next server in turn: a kept one, or a new one. A server that can't be connected to is passed
    /// over; the last one's error is told when none can.
    pub async fn lease(&self, reuse: Reuse) -> Result<Lease<B>, ConnectError> {
        let first = self.next.get();
        self.next.set(first.wrapping_add(1));
        let mut failed = None;
        for turn in 0..self.pools.len() {
            let pool = &self.pools[first.wrapping_add(turn) % self.pools.len()];
            match pool.lease(reuse).await {
                Ok(lease) => return Ok(lease),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or(ConnectError::NoServer))
    }

    /// Lets go of connections that were idle for too long or that the server closed.
    pub fn sweep(&self) {
        for pool in &self.pools {
            pool.sweep();
        }
    }
}

/// Whether a kept connection will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Yes, it saves a round trip.
    Allowed,
    /// No: one has just failed, and the next may be as stale.
    Forbidden,
}
