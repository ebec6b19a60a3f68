//! The parts as each other see them: the gateway and the operators' answers as services of their listeners, and the
//! sessions as what a login ends in.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

use crate::{
    admin::Admin,
    gateway::{Body, Conn, Gateway, Redirect, WayIn},
    login::{Issued, Issuing, SessionIssuer},
    model::{CertificateShelf, Clock, Identity, Secret, SessionKey},
    server::{Arrival, Handshake, Introduction, Service},
    session::Sessions,
    telemetry::Counters,
    web::{Refusal, RequestBody, RequestTimer},
};

/// The seam between a login and the sessions.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) sessions: Arc<Sessions>,
    pub(super) clock: Arc<dyn Clock>,
}

impl SessionIssuer for Issuer {
    fn issue(&self, identity: Identity, key: SessionKey) -> Issuing<'_> {
        Box::pin(async move {
            let issued = self.sessions.issue(identity, key).await;
            let issued = issued.map_err(|error| -> Arc<dyn std::error::Error + Send + Sync> { Arc::new(error) })?;
            let token = Secret::new(issued.token.expose());
            Ok(Issued { token, expires_in: issued.session.expires_in(self.clock.now()) })
        })
    }
}

/// The gateway as the public listener's service.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) gateway: Gateway,
    /// The ports of https that each listener sends to, where it does nothing else.
    pub(super) redirects: Arc<[Option<u16>]>,
    pub(super) shelf: Option<Arc<CertificateShelf>>,
    pub(super) counters: Arc<Counters>,
}

impl Service for Front {
    type Conn = Conn;
    type Body = Body;

    fn connected(&self, arrival: Arrival) -> Conn {
        let redirect = || {
            let port = (*self.redirects.get(arrival.listener)?)?;
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

    fn introduced(&self, how: Introduction) {
        self.counters.proxy_headers.count(how.word());
    }

    fn call<'a>(
        &'a self,
        request: Request<RequestBody>,
        conn: &'a Rc<Conn>,
        timer: RequestTimer,
    ) -> impl Future<Output = Response<Body>> {
        self.gateway.handle(request, conn, timer)
    }

    fn refuse(&self, why: Refusal, conn: &Conn) -> Response<Bytes> {
        self.gateway.refuse(why, conn)
    }

    fn tick(&self) {
        self.gateway.tick();
    }
}

/// The operators' answers as their listener's service.
pub(super) struct Back(pub(super) Arc<Admin>);

impl Service for Back {
    type Conn = ();
    type Body = Full<Bytes>;

    fn connected(&self, _arrival: Arrival) {}

    async fn call<'a>(
        &'a self,
        request: Request<RequestBody>,
        _conn: &'a Rc<()>,
        _timer: RequestTimer,
    ) -> Response<Full<Bytes>> {
        // The body lives as long as the answer is made, and is never read.
        let (head, _body) = request.into_parts();
        self.0.answer(&head).await.map(Full::new)
    }

    fn refuse(&self, _why: Refusal, _conn: &()) -> Response<Bytes> {
        Admin::refuse()
    }
}
