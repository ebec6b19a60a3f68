//! `/healthz` and `/readyz`: what an orchestrator asks, under whatever name it knows the machine by.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::{
    sync::watch,
    task::spawn_local,
    time::{Instant, timeout},
};

use super::answer::text;
use crate::session::Sessions;

/// A store that is asked and says nothing is not there.
const PATIENCE: Duration = Duration::from_secs(2);

/// So long an answer of the store counts. Whoever reaches the listener may ask, without a token, and each answer of a file
/// is a trip to the disk: however many ask, the store is asked no more often.
const FRESH: Duration = Duration::from_secs(1);

pub(super) struct Health {
    ready: Arc<AtomicBool>,
    sessions: Arc<Sessions>,
    last: RefCell<Option<Probe>>,
}

/// A question to the store.
struct Probe {
    asked_at: Instant,
    /// Whether the store has answered well, once that is known.
    outcome: watch::Receiver<Option<bool>>,
}

impl Health {
    pub(super) fn new(ready: Arc<AtomicBool>, sessions: Arc<Sessions>) -> Self {
        Self { ready, sessions, last: RefCell::new(None) }
    }

    pub(super) async fn answer(&self, path: &str) -> Response<Bytes> {
        if path == "/healthz" {
            return text(StatusCode::OK, "alive\n");
        }
        if !self.ready.load(Ordering::Relaxed) {
            return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
        }
        let mut outcome = self.probe();
        let answered_well = outcome.wait_for(Option::is_some).await.is_ok_and(|outcome| *outcome == Some(true));
        if answered_well {
            text(StatusCode::OK, "ready\n")
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, "the session store is not available\n")
        }
    }

    /// The question that was asked last, or a new one where that is too long ago. It goes on when nobody waits for it: who
    /// hangs up at once would otherwise have the store asked each time.
    fn probe(&self) -> watch::Receiver<Option<bool>> {
        let mut last = self.last.borrow_mut();
        if let Some(probe) = last.as_ref().filter(|probe| probe.asked_at.elapsed() < FRESH) {
            return probe.outcome.clone();
        }
        let (tell, outcome) = watch::channel(None);
        let sessions = Arc::clone(&self.sessions);
        spawn_local(async move {
            let checked = timeout(PATIENCE, sessions.check()).await;
            tell.send_replace(Some(matches!(checked, Ok(Ok(())))));
        });
        *last = Some(Probe { asked_at: Instant::now(), outcome: outcome.clone() });
        outcome
    }
}
