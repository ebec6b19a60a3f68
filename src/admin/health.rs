//! `/healthz` and `/readyz`: what an orchestrator asks, under whatever name it knows the machine by.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::time::timeout;

use super::answer::text;
use crate::session::Sessions;

/// A store that is asked and says nothing is not there.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Health {
    ready: Arc<AtomicBool>,
    sessions: Arc<Sessions>,
}

impl Health {
    pub(super) fn new(ready: Arc<AtomicBool>, sessions: Arc<Sessions>) -> Self {
        Self { ready, sessions }
    }

    pub(super) async fn answer(&self, path: &str) -> Response<Bytes> {
        if path == "/healthz" {
            return text(StatusCode::OK, "alive\n");
        }
        if !self.ready.load(Ordering::Relaxed) {
            return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
        }
        match timeout(PATIENCE, self.sessions.check()).await {
            Ok(Ok(())) => text(StatusCode::OK, "ready\n"),
            Ok(Err(_)) | Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the session store is not available\n"),
        }
    }
}
