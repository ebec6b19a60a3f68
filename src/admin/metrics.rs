//! `/metrics`: what was counted, in the OpenMetrics text format.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::time::timeout;

use super::{
    answer::{Refusal, respond},
    report::Report,
};
use crate::{
    model::{Clock, Timestamp},
    session::Sessions,
    telemetry::{Counters, Traffic},
};

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// So long the store may take to say how many sessions there are. The rest of the page is wanted most when the store is in
/// trouble, so it does not wait for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// So long the number of sessions counts, also that it is not known: however many ask for the page, the store is asked no
/// more often. A Redis of several servers has to ask each of them.
const FRESH: Duration = Duration::from_secs(10);

pub(super) struct Metrics {
    sessions: Arc<Sessions>,
    live: Arc<Mutex<Option<u64>>>,
    /// When the store was last asked how many sessions there are.
    asked_at: Mutex<Option<Timestamp>>,
    clock: Arc<dyn Clock>,
    registry: Registry,
}

impl Metrics {
    pub(super) fn new(
        counters: Arc<Counters>,
        traffic: Arc<Traffic>,
        sessions: Arc<Sessions>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (live, started) = (Arc::new(Mutex::new(None)), clock.now());
        let mut registry = Registry::with_prefix("wxgate");
        registry.register_collector(Box::new(Report { counters, traffic, live: Arc::clone(&live), started }));
        Self { sessions, live, asked_at: Mutex::new(None), clock, registry }
    }

    pub(super) async fn answer(&self) -> Result<Response<Bytes>, Refusal> {
        if self.has_to_ask() {
            let count = timeout(PATIENCE, self.sessions.count()).await;
            *self.live.lock().unwrap_or_else(PoisonError::into_inner) = count.ok().and_then(Result::ok);
        }
        let mut out = String::new();
        encode(&mut out, &self.registry).map_err(|_| Refusal::Internal)?;
        Ok(respond(StatusCode::OK, OPEN_METRICS, out.into()))
    }

    /// True for one of those who come once the last answer is too old, who then asks. The others get what is known.
    fn has_to_ask(&self) -> bool {
        let (mut asked_at, now) = (self.asked_at.lock().unwrap_or_else(PoisonError::into_inner), self.clock.now());
        // A clock that was set back must not make an answer count for longer.
        let fresh = asked_at.is_some_and(|asked_at| asked_at <= now && now.since(asked_at) < FRESH);
        if !fresh {
            *asked_at = Some(now);
        }
        !fresh
    }
}
