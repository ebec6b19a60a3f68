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
    model::{CertificateShelf, Timestamp},
    session::Sessions,
    telemetry::{Counters, Traffic},
};

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// So long the store may take to say how many sessions there are. The rest of the page is wanted most when the store is in
/// trouble, so it does not wait for it.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Metrics {
    sessions: Arc<Sessions>,
    live: Arc<Mutex<Option<u64>>>,
    registry: Registry,
}

impl Metrics {
    pub(super) fn new(
        counters: Arc<Counters>,
        traffic: Arc<Traffic>,
        sessions: Arc<Sessions>,
        started: Timestamp,
        certificates: Option<Arc<CertificateShelf>>,
    ) -> Self {
        let live = Arc::new(Mutex::new(None));
        let mut registry = Registry::with_prefix("wxgate");
        registry.register_collector(Box::new(Report {
            counters,
            traffic,
            live: Arc::clone(&live),
            started,
            certificates,
        }));
        Self { sessions, live, registry }
    }

    pub(super) async fn answer(&self) -> Result<Response<Bytes>, Refusal> {
        let count = timeout(PATIENCE, self.sessions.count()).await;
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = count.ok().and_then(Result::ok);
        let mut out = String::new();
        encode(&mut out, &self.registry).map_err(|_| Refusal::Internal)?;
        Ok(respond(StatusCode::OK, OPEN_METRICS, out.into()))
    }
}
