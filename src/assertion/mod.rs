//! Who calls, signed: a short-lived JWT for one upstream, which it can verify without trusting the way it came.
//!
//! Signing costs more than all else that is done with a request, so it is done once per session, upstream and minute:
//! [`cache`] keeps what was signed. Each worker has its own, where no lock is needed and none is waited for; several
//! workers that serve one session sign for themselves.

mod cache;
mod claims;
mod error;
mod jwks;
mod signer;

use std::{cell::RefCell, fmt, sync::Arc};

use http::{HeaderName, HeaderValue};

use crate::model::{Clock, Session};

use cache::Cache;

pub use error::Error;
pub use signer::Signer;

/// Tells the upstreams who calls, on one worker.
pub struct Assertions {
    signer: Arc<Signer>,
    clock: Arc<dyn Clock>,
    cache: RefCell<Cache>,
}

impl Assertions {
    /// With nothing signed yet.
    pub fn new(signer: Arc<Signer>, clock: Arc<dyn Clock>) -> Self {
        let cache = RefCell::new(Cache::new(clock.now()));
        Self { signer, clock, cache }
    }

    /// The header that carries a token.
    pub fn header(&self) -> &HeaderName {
        self.signer.header()
    }

    /// The token that tells `upstream` whose `session` this is. That the session counts was decided before: one that was
    /// ended gets this far no more, however fresh what is kept of it.
    pub fn tell(&self, session: &Session, upstream: usize) -> Result<HeaderValue, Error> {
        let now = self.clock.now();
        let key = (*session.digest(), upstream);
        if let Some(token) = self.cache.borrow().get(&key, now) {
            return Ok(token);
        }
        let (token, renew_at) = self.signer.sign(session, upstream, now)?;
        self.cache.borrow_mut().insert(key, token.clone(), renew_at, now);
        Ok(token)
    }

    /// Forgets what is too old to be told. Called now and then.
    pub fn sweep(&self) {
        self.cache.borrow_mut().sweep(self.clock.now());
    }
}

impl fmt::Debug for Assertions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertions").field("signer", &self.signer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
