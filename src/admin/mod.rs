//! The operators' listener: is it alive, can it serve, what has it counted, who has sessions. Never on the public address.
//!
//! | path | method | asks for | answers |
//! |---|---|---|---|
//! | `/healthz` | GET | – | 200 while the process runs |
//! | `/readyz` | GET | – | 200 while it takes new requests and can keep a login, 503 once it is stopping or its store is away |
//! | `/metrics` | GET | – | what was counted, in the OpenMetrics text format |
//! | `/v1/sessions/count` | GET | token | how many sessions there are |
//! | `/v1/upstreams` | GET | token | how the upstreams stand |
//! | `/v1/users/{app}/{openid}/sessions` | GET | token | the user's sessions |
//! | `/v1/users/{app}/{openid}/sessions` | DELETE | token | ends all of them |
//! | `/v1/users/{app}/{openid}/sessions/{id}` | DELETE | token | ends one |
//! | `/v1/users/{app}/{openid}/profile` | DELETE | token | removes the user's profile |
//! | anything else | | token | 404 |
//!
//! All but the first two are for a `Host` of the listener's own only, and for no other origin's pages: see [`Gate`]. No
//! body is read. `docs/ADMIN.md` tells the same to operators.

mod answer;
mod health;
mod metrics;
mod profiles;
mod report;
mod session_id;
mod sessions;
mod upstreams;

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
};

use bytes::Bytes;
use http::{Response, request::Parts};

use self::{
    answer::Refusal, health::Health, metrics::Metrics, profiles::ProfileApi, report::Report, sessions::SessionApi,
};
use crate::{
    config::sections,
    model::{AppId, CertificateShelf, Clock, Entropy, Secret, Timestamp},
    profile::Profiles,
    session::Sessions,
    telemetry::{Counters, Traffic},
    upstream::Upstreams,
    web::Gate,
};

/// What the operators' answers are made of.
pub struct Ingredients<'a> {
    /// The section.
    pub section: &'a sections::Admin,
    /// Where the listener is, with its real port.
    pub addr: SocketAddr,
    /// Turned off by whoever stops the gateway.
    pub ready: Arc<AtomicBool>,
    /// What the process has counted.
    pub counters: Arc<Counters>,
    /// What the workers have counted.
    pub traffic: Arc<Traffic>,
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// The profiles.
    pub profiles: Arc<Profiles>,
    /// The upstreams.
    pub upstreams: Arc<Upstreams>,
    /// The apps that are configured.
    pub apps: Vec<AppId>,
    /// The certificates that clients are shown, where there are any.
    pub certificates: Option<Arc<CertificateShelf>>,
    /// Whether there is a listener for backends.
    pub backends: bool,
    /// The certificate that they are shown, where they are.
    pub backends_certificates: Option<Arc<CertificateShelf>>,
    /// When the process began to serve.
    pub started: Timestamp,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For the ids of requests.
    pub entropy: Arc<dyn Entropy>,
}

/// Answers operators.
pub struct Admin {
    gate: Gate,
    health: Health,
    metrics: Metrics,
    sessions: SessionApi,
    profiles: ProfileApi,
    upstreams: Arc<Upstreams>,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl Admin {
    /// The answers made of these.
    pub fn new(from: Ingredients<'_>) -> Self {
        let token = from.section.token.as_ref().map(Secret::expose);
        Self {
            gate: Gate::new(Some(from.addr.ip()), &from.section.hosts, token),
            health: Health::new(from.ready, Arc::clone(&from.sessions)),
            metrics: Metrics::new(
                Report {
                    counters: from.counters,
                    traffic: from.traffic,
                    upstreams: Arc::clone(&from.upstreams),
                    certificates: from.certificates,
                    backends: from.backends,
                    backends_certificates: from.backends_certificates,
                    live: Arc::default(),
                    started: from.started,
                },
                Arc::clone(&from.sessions),
                Arc::clone(&from.clock),
            ),
            profiles: ProfileApi::new(from.profiles, Arc::clone(&from.sessions), from.apps.clone()),
            sessions: SessionApi::new(from.sessions, from.apps, from.clock),
            upstreams: from.upstreams,
            entropy: from.entropy,
        }
    }

    /// Answers one request. Its body is of no interest.
    pub async fn answer(&self, head: &Parts) -> Response<Bytes> {
        let id = answer::new_id(&*self.entropy);
        self.go(head, &id).await.unwrap_or_else(|refusal| refusal.into_response(&id))
    }

    /// Answers what never became a request.
    pub fn refuse() -> Response<Bytes> {
        answer::malformed()
    }

    async fn go(&self, head: &Parts, id: &str) -> Result<Response<Bytes>, Refusal> {
        let path = head.uri.path();
        if matches!(path, "/healthz" | "/readyz") {
            answer::only_get(&head.method)?;
            return Ok(self.health.answer(path).await);
        }
        self.gate.is_for_us(head)?;
        if path == "/metrics" {
            answer::only_get(&head.method)?;
            return self.metrics.answer().await;
        }
        self.gate.knows(head)?;
        if path == "/v1/upstreams" {
            answer::only_get(&head.method)?;
            return upstreams::answer(&self.upstreams, id);
        }
        if let Some(user) = profiles::whose(path) {
            return self.profiles.answer(&head.method, &user?, id).await;
        }
        self.sessions.answer(&head.method, path, id).await
    }
}
