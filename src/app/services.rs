//! The parts as each other see them: the gateway and the operators' answers as services of their listeners, and the
//! sessions as what a login ends in.

use std::{
    collections::HashMap,
    future::pending,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::sync::watch;

use super::parts::{Parts, Seeds};
use crate::{
    admin::{Admin, Ingredients},
    config::{Config, sections::App},
    gateway::{Body, Conn, Gateway, Redirect, Tunnel, WayIn},
    login::{Issued, Issuing, SessionIssuer},
    model::{AppId, CertificateShelf, Clock, Identity, Secret, SessionKey, Timestamp},
    server::{Arrival, Broken, Handshake, Introduction, Service},
    session::{Sessions, Stay},
    telemetry::{Counters, LineWriter},
    web::{Answer, Refusal, RequestBody, RequestTimer, Side, taken},
};

/// The seam between a login and the sessions.
#[derive(Debug)]
pub(super) struct Issuer {
    sessions: Arc<Sessions>,
    /// How long the sessions of each app stay.
    stays: HashMap<AppId, Stay>,
    clock: Arc<dyn Clock>,
}

impl Issuer {
    /// Sessions that stay as this configuration says.
    pub(super) fn new(config: &Config, sessions: &Arc<Sessions>, clock: &Arc<dyn Clock>) -> Self {
        let stay = |app: &App| (app.app_id.clone(), Stay::in_app(app, &config.sessions));
        let stays = config.apps.iter().map(stay).collect();
        Self { sessions: Arc::clone(sessions), stays, clock: Arc::clone(clock) }
    }
}

impl SessionIssuer for Issuer {
    fn issue(&self, identity: Identity, key: SessionKey) -> Issuing<'_> {
        Box::pin(async move {
            let issued = match self.stays.get(&identity.user.app) {
                Some(stay) => self.sessions.issue_for(*stay, identity, key).await,
                None => self.sessions.issue(identity, key).await,
            };
            let issued = issued.map_err(|error| -> Arc<dyn std::error::Error + Send + Sync> { Arc::new(error) })?;
            let token = Secret::new(issued.token.expose());
            Ok(Issued { token, expires_in: issued.session.expires_in(self.clock.now()) })
        })
    }
}

/// The gateway as the public listener's service.
#[derive(Debug)]
pub(super) struct Front {
    gateway: Gateway,
    shelf: Option<Arc<CertificateShelf>>,
    counters: Arc<Counters>,
    made_of: FrontParts,
}

/// What the gateway of one worker is made of, and its successors too.
#[derive(Clone, Debug)]
pub(super) struct FrontParts {
    pub(super) parts: watch::Receiver<Arc<Parts>>,
    pub(super) lines: Arc<Mutex<LineWriter>>,
    pub(super) seeds: Seeds,
    /// The ports of https that each listener sends to, where it does nothing else.
    pub(super) redirects: Arc<[Option<u16>]>,
}

impl Front {
    pub(super) fn new(mut from: FrontParts, before: Option<&Gateway>) -> Self {
        let parts = Arc::clone(&from.parts.borrow_and_update());
        let lines = || from.lines.lock().unwrap_or_else(PoisonError::into_inner).handle();
        let gateway = parts.gateway(parts.config.log.access.then(lines), from.seeds, before);
        Self { gateway, shelf: parts.shelf.clone(), counters: Arc::clone(&parts.counters), made_of: from }
    }
}

impl Service for Front {
    type Conn = Conn;
    type Tunnel = Box<Tunnel>;
    type Body = Body;

    fn connected(&self, arrival: Arrival) -> Conn {
        let redirect = || {
            let port = (*self.made_of.redirects.get(arrival.listener)?)?;
            Some(Redirect { port, certificates: self.shelf.as_ref()?.current() })
        };
        let way_in = match arrival.secured {
            Some(secured) => WayIn::Secured(secured),
            None => redirect().map_or(WayIn::Plain, WayIn::Redirected),
        };
        self.gateway.connected(arrival.peer, arrival.nameless, way_in)
    }

    fn shook_hands(&self, how: Handshake) {
        self.counters.tls_handshakes.count(how.word());
    }

    fn believes(&self, peer: IpAddr) -> bool {
        self.gateway.believes(peer)
    }

    fn introduced(&self, how: Introduction) {
        self.counters.proxy_headers.count(how.word());
    }

    fn broke(&self, why: Broken) {
        self.counters.http2_broken.count(why.word());
    }

    fn call<'a>(
        &'a self,
        request: &mut Request<RequestBody>,
        conn: &'a Rc<Conn>,
        timer: RequestTimer,
    ) -> impl Future<Output = Answer<Body>> + use<'a> {
        self.gateway.handle(request, conn, timer)
    }

    fn refuse(&self, why: Refusal, conn: &Conn) -> Response<Bytes> {
        self.gateway.refuse(why, conn)
    }

    fn opens_tunnels(&self) -> bool {
        self.gateway.opens_tunnels()
    }

    fn promised(&self, conn: &Conn) -> Option<Box<Tunnel>> {
        conn.promised()
    }

    fn switched<'a>(
        &'a self,
        promised: Box<Tunnel>,
        client: impl Side + 'a,
        stopping: impl Future<Output = ()> + 'a,
    ) -> impl Future<Output = ()> + 'a {
        self.gateway.switched(promised, client, stopping)
    }

    fn tick(&self) {
        self.gateway.tick();
    }

    async fn successor(&self) -> Self {
        let mut from = self.made_of.clone();
        changed(&mut from.parts).await;
        Self::new(from, Some(&self.gateway))
    }
}

/// Returns when there are other parts.
pub(super) async fn changed(parts: &mut watch::Receiver<Arc<Parts>>) {
    if parts.changed().await.is_err() {
        // Nobody is left who could change them.
        pending::<()>().await;
    }
}

/// The operators' answers as their listener's service.
pub(super) struct Back {
    admin: Admin,
    made_of: BackParts,
}

/// What the operators' answers are made of, and their successors too.
#[derive(Clone)]
pub(super) struct BackParts {
    pub(super) parts: watch::Receiver<Arc<Parts>>,
    pub(super) addr: SocketAddr,
    pub(super) ready: Arc<AtomicBool>,
    /// The certificate that backends are shown, where they are.
    pub(super) backends: Option<Arc<CertificateShelf>>,
    pub(super) started: Timestamp,
}

impl Back {
    pub(super) fn new(mut from: BackParts) -> Self {
        let parts = Arc::clone(&from.parts.borrow_and_update());
        let admin = Admin::new(Ingredients {
            section: &parts.config.admin,
            addr: from.addr,
            ready: Arc::clone(&from.ready),
            counters: Arc::clone(&parts.counters),
            traffic: Arc::clone(&parts.traffic),
            sessions: Arc::clone(&parts.sessions),
            profiles: Arc::clone(&parts.profiles),
            upstreams: Arc::clone(&parts.upstreams),
            apps: parts.apps(),
            certificates: parts.shelf.clone(),
            backends: parts.config.internal.is_some(),
            backends_certificates: from.backends.clone(),
            started: from.started,
            clock: Arc::clone(&parts.clock),
            entropy: Arc::clone(&parts.entropy),
        });
        Self { admin, made_of: from }
    }
}

impl Service for Back {
    type Conn = ();
    type Tunnel = ();
    type Body = Full<Bytes>;

    fn connected(&self, _arrival: Arrival) {}

    fn call<'a>(
        &'a self,
        request: &mut Request<RequestBody>,
        _conn: &'a Rc<()>,
        _timer: RequestTimer,
    ) -> impl Future<Output = Answer<Full<Bytes>>> + use<'a> {
        // The body lives as long as the answer is made, and is never read.
        let (head, body) = taken(request).into_parts();
        async move {
            let _body = body;
            self.admin.answer(&head).await.map(Full::new).into()
        }
    }

    fn refuse(&self, _why: Refusal, _conn: &()) -> Response<Bytes> {
        Admin::refuse()
    }

    async fn successor(&self) -> Self {
        let mut from = self.made_of.clone();
        changed(&mut from.parts).await;
        Self::new(from)
    }
}
