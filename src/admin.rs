//! The operators' listener: is it alive, can it serve, what has it counted. Never on the public address.
//!
//! | path | token | answers |
//! |---|---|---|
//! | `/healthz` | no | 200 while the process runs |
//! | `/readyz` | no | 200 while it takes new requests and can keep a login, 503 once it is stopping or its store is away |
//! | `/metrics` | no | what was counted, in the OpenMetrics text format |
//! | anything else | yes | 401 without the token, 404 with it |

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::{config::sections, model::Secret, session::Sessions, telemetry::Counters};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Answers operators.
pub struct Admin {
    token: Option<Secret>,
    ready: Arc<AtomicBool>,
    sessions: Arc<Sessions>,
    /// How many sessions there were when somebody asked last.
    live: Arc<AtomicU64>,
    registry: Registry,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("ready", &self.ready).finish_non_exhaustive()
    }
}

impl Admin {
    /// Reports on these. `ready` is turned off by whoever stops the gateway.
    pub fn new(
        section: &sections::Admin,
        ready: Arc<AtomicBool>,
        counters: Arc<Counters>,
        sessions: Arc<Sessions>,
    ) -> Self {
        let mut registry = Registry::with_prefix("wxgate");
        let live = Arc::new(AtomicU64::new(0));
        registry.register_collector(Box::new(Report { counters, live: Arc::clone(&live) }));
        Self { token: section.token.clone(), ready, sessions, live, registry }
    }

    /// Answers one request. Its body is of no interest.
    pub async fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Bytes> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/healthz" => text(StatusCode::OK, "alive\n"),
            "/readyz" if !self.ready.load(Ordering::Relaxed) => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
            "/readyz" if self.sessions.check().await.is_err() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "the session store is not available\n")
            }
            "/readyz" => text(StatusCode::OK, "ready\n"),
            "/metrics" => self.metrics().await,
            _ if self.knows(headers) => text(StatusCode::NOT_FOUND, "nothing here\n"),
            _ => {
                let mut response = text(StatusCode::UNAUTHORIZED, "the admin token is needed\n");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                response
            }
        }
    }

    /// Answers what never became a request.
    pub fn refuse() -> Response<Bytes> {
        text(StatusCode::BAD_REQUEST, "the request is not well-formed\n")
    }

    async fn metrics(&self) -> Response<Bytes> {
        if let Ok(live) = self.sessions.count().await {
            self.live.store(live, Ordering::Relaxed);
        }
        let mut out = String::new();
        if encode(&mut out, &self.registry).is_err() {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n");
        }
        let mut response = Response::new(Bytes::from(out));
        response.headers_mut().insert(header::CONTENT_TYPE, OPEN_METRICS);
        response
    }

    /// Whether the admin token is presented. Without one in the configuration nobody has it.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let line = headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
        let presented = line.strip_prefix(b"Bearer ").unwrap_or_default();
        self.token.as_ref().is_some_and(|token| token.matches(presented))
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

/// Turns the counters into metrics at the moment somebody asks.
#[derive(Debug)]
struct Report {
    counters: Arc<Counters>,
    live: Arc<AtomicU64>,
}

impl Collector for Report {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let c = &self.counters;
        for (name, help, counter) in [
            ("sessions_issued", "Sessions begun", &c.sessions_issued),
            ("sessions_evicted", "Live sessions that memory had no room for", &c.sessions_evicted),
            ("sessions_revoked", "Sessions ended on request", &c.sessions_revoked),
            ("logins_replayed", "Logins answered from a login just before", &c.logins_replayed),
            ("logins_limited", "Logins refused by our own limits", &c.logins_limited),
            ("log_lines_dropped", "Access log lines the writer could not keep up with", &c.log_lines_dropped),
            ("upstream_retries", "Requests sent again on another connection", &c.upstream_retries),
        ] {
            let metric = ConstCounter::new(counter.get());
            metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let calls = ConstCounter::new(c.wechat.total());
        let help = "Login codes sent to WeChat";
        calls.encode(encoder.encode_descriptor("wechat_calls", help, None, MetricType::Counter)?)?;
        self.lookups(&mut encoder)?;
        let live = ConstGauge::new(i64::try_from(self.live.load(Ordering::Relaxed)).unwrap_or(i64::MAX));
        let gauge: MetricEncoder<'_> =
            encoder.encode_descriptor("sessions_live", "Sessions in the store", None, MetricType::Gauge)?;
        live.encode(gauge)
    }
}

impl Report {
    /// One metric for all ways in which a look-up ends.
    fn lookups(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let c = &self.counters;
        let help = "Look-ups of a session, by what came of them";
        let mut lookups = encoder.encode_descriptor("session_lookups", help, None, MetricType::Counter)?;
        for (outcome, count) in [
            ("hit", c.lookups_hit.get()),
            ("miss", c.lookups_missed.get()),
            ("expired", c.lookups_expired.get()),
            ("denied", c.lookups_denied.get()),
            ("failed", c.lookups_failed.get()),
        ] {
            let labels = [("outcome", outcome)];
            ConstCounter::new(count).encode(lookups.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
