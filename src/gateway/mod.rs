//! The way of a request: route, authenticate, answer or forward, log.

mod access_log;
mod answer;
mod authorize;
mod body;
mod counting;
mod failure;
mod handling;
mod onward;
mod place;
mod request_id;
mod rescue;
mod snapshot;
mod stages;
mod tunnel;
mod way_in;

use std::{
    cell::RefCell,
    future::Future,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use tokio::time::Instant;

use crate::{
    api::{Api, Caller},
    auth::{self, Access, Credentials, Decision},
    limit::{RouteLimited, UserPlace},
    model::{AppId, Clock, PhoneNumber},
    profile::Profiles,
    proxy::{self, Forward, Peer, Proxy, tunnel::Scratch},
    routing::{AuthRule, Rule},
    session::{Recent, Sessions},
    telemetry::{OpenConnection, WorkerTraffic},
    web::{Answer, Refusal, RequestBody, RequestTimer, Side, TrustedProxies, headers::X_REQUEST_ID},
};

pub use access_log::{AccessLog, Entry, Ticket};
pub use body::{Body, Content};
pub use counting::traffic;
pub use failure::Failure;
pub use rescue::{Rescue, rescue};
pub use snapshot::Snapshot;
pub use tunnel::Tunnel;
pub use way_in::{Redirect, WayIn};

use self::{
    answer::{explain, finish, open, with_id},
    handling::{Handling, Head},
    request_id::RequestIds,
    stages::{Begun, Call, Late, Place, Sent, Told, Way, pass},
};

/// The gateway of one worker.
#[derive(Debug)]
pub struct Gateway {
    snapshot: Arc<Snapshot>,
    sessions: Arc<Sessions>,
    recent: Recent,
    profiles: Arc<Profiles>,
    api: Api,
    proxy: Proxy,
    log: Rc<AccessLog>,
    clock: Arc<dyn Clock>,
    ids: Rc<RequestIds>,
    scratch: Scratch,
}

/// Who is known: by a session, and as what beside that.
#[derive(Clone, Debug)]
pub struct Callers {
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// The profiles.
    pub profiles: Arc<Profiles>,
}

/// What is kept per client connection.
#[derive(Debug)]
pub struct Conn {
    peer: Peer,
    way_in: WayIn,
    /// What the connection, or a stream of it, becomes when the answer at hand has gone out.
    tunnel: RefCell<Option<Box<Tunnel>>>,
    _open: OpenConnection,
}

impl Conn {
    /// What an answer with 101 has promised. Nobody waits between the answer and this, so it is that of no other request.
    pub fn promised(&self) -> Option<Box<Tunnel>> {
        self.tunnel.take()
    }
}

impl Gateway {
    /// A gateway of these parts. `seed` makes the request ids of this worker unlike those of any other.
    pub fn new(
        snapshot: Arc<Snapshot>,
        callers: Callers,
        api: Api,
        proxy: Proxy,
        log: Rc<AccessLog>,
        clock: Arc<dyn Clock>,
        seed: [u8; 32],
    ) -> Self {
        let (ids, scratch, recent) = (Rc::new(RequestIds::new(seed)), Scratch::default(), Recent::default());
        let Callers { sessions, profiles } = callers;
        Self { snapshot, sessions, recent, profiles, api, proxy, log, clock, ids, scratch }
    }

    /// The same in the place of another on this worker, whose request ids go on.
    #[must_use]
    pub fn after(self, before: &Self) -> Self {
        Self { ids: Rc::clone(&before.ids), ..self }
    }

    /// How it forwards, for the one that comes after it.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// What it counts in, for the one that comes after it.
    pub fn traffic(&self) -> &WorkerTraffic {
        self.log.traffic()
    }

    /// Whether this is a proxy that is believed when it says for whom it connects.
    pub fn believes(&self, peer: IpAddr) -> bool {
        self.snapshot.proxies.trust(peer)
    }

    /// A connection has come in from `peer`; a `nameless` one is somebody else's, who did not come to be known. Whoever
    /// that is does not get the trust that the peer has.
    pub fn connected(&self, peer: SocketAddr, nameless: bool, way_in: WayIn) -> Conn {
        let nobody = TrustedProxies::default();
        let believed = if nameless { &nobody } else { &self.snapshot.proxies };
        let peer = Peer::new(peer, way_in.proto(), believed);
        Conn { peer, way_in, tunnel: RefCell::default(), _open: self.log.connection() }
    }

    /// Answers a request, whatever becomes of it. As far as nobody has to be waited for, the way is gone before there is
    /// a future.
    pub fn handle<'a>(
        &'a self,
        request: &mut Request<RequestBody>,
        conn: &'a Conn,
        timer: RequestTimer,
    ) -> impl Future<Output = Answer<Body>> + use<'a> {
        let mut ticket = self.ticket(request, conn);
        let begun = self.begin(request, conn, &timer, &mut ticket.entry);
        let target = match &begun {
            Ok(Begun::Late(late)) => late.request.uri().clone(),
            Ok(Begun::Sent(_)) | Err(_) => std::mem::take(request.uri_mut()),
        };
        ticket.entry.target.get_or_insert(target);
        match begun {
            Ok(Begun::Sent(sent)) => Handling::Sent { head: sent.head, asked_at: sent.asked_at, ticket: Some(ticket) },
            Ok(Begun::Late(late)) => Handling::late(async move {
                let answer = self.go_on(*late, conn, &timer, &mut ticket.entry).await;
                match conn.tunnel.take() {
                    Some(tunnel) => open(answer, ticket, tunnel, conn),
                    None => finish(answer, ticket, Instant::now()),
                }
            }),
            Err(failure) => Handling::late(std::future::ready(finish(Err(failure), ticket, Instant::now()))),
        }
    }

    /// Whether there is a route that a tunnel can be opened on.
    pub fn opens_tunnels(&self) -> bool {
        self.snapshot.table.has_websockets()
    }

    /// Takes over what was answered with 101, until the tunnel behind it ends.
    pub fn switched<'a>(
        &'a self,
        tunnel: Box<Tunnel>,
        client: impl Side + 'a,
        stopping: impl Future<Output = ()> + 'a,
    ) -> impl Future<Output = ()> + 'a {
        tunnel.run(client, stopping, &self.scratch, &self.sessions)
    }

    /// Answers what never became a request.
    pub fn refuse(&self, why: Refusal, conn: &Conn) -> Response<Bytes> {
        let id = self.ids.fresh();
        let mut ticket = Ticket::new(Rc::clone(&self.log), Entry::new(id, conn.peer.ip()));
        ticket.entry.tls = conn.way_in.tls();
        let mut response = explain(&Failure::Refused(why), &mut ticket.entry);
        // Those that go through the server's own writers are dated there; this one does not.
        let now = UNIX_EPOCH + Duration::from_millis(self.clock.now().as_millis());
        if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(now)) {
            response.headers_mut().insert(header::DATE, date);
        }
        ticket.entry.status = Some(response.status());
        ticket.entry.bytes = response.body().len() as u64;
        ticket.entry.complete = true;
        response
    }

    /// What is done a few times per second.
    pub fn tick(&self) {
        self.log.flush();
        self.proxy.sweep();
        self.recent.sweep();
    }

    /// The pipeline, as far as it goes without waiting. Each stage needs what the one before it found out, so their order
    /// is not free. What goes on with the request is taken out of it: it is large, and to hand it on costs a copy each time.
    fn begin<'a>(
        &'a self,
        request: &mut Request<RequestBody>,
        conn: &Conn,
        timer: &RequestTimer,
        entry: &mut Entry,
    ) -> Result<Begun<'a, impl Future<Output = Head> + use<'a>>, Failure> {
        let (place, credentials) = self.place(request, conn, entry)?;
        let Place::Route(way) = place else { return Ok(Late::begun(request, place, credentials)) };
        // Before the session is looked up, so that who guesses tokens is slowed down, and costs no store a question.
        self.within_limits(self.snapshot.limits.enter_from(way.rule.id, entry.client), way.rule)?;
        // A phone number may have to be asked for.
        if way.offer.is_some() || way.rule.forward_phone {
            return Ok(Late::begun(request, Place::Route(way), credentials));
        }
        // Who calls is asked before a byte of the body is read: a stranger's upload costs us nothing.
        let (rule, apps) = (way.rule.auth, way.rule.apps.as_deref());
        let decision = auth::authenticate_at_once(rule, apps, &credentials, &self.sessions, &self.recent);
        let Some(decision) = decision else { return Ok(Late::begun(request, Place::Route(way), credentials)) };
        let access = pass(decision)?;
        let sent = self.enter_as(&access, way.rule).and_then(|()| {
            let told = Told { access: &access, phone: None };
            self.forward(request, way, told, conn, timer, entry)
        });
        entry.access = Some(access);
        sent.map(Begun::Sent)
    }

    /// The rest of the pipeline, where somebody has to be waited for.
    async fn go_on(
        &self,
        late: Late<'_>,
        conn: &Conn,
        timer: &RequestTimer,
        entry: &mut Entry,
    ) -> Result<Answer<Content>, Failure> {
        let Late { mut request, place, credentials } = late;
        match place {
            Place::Elsewhere(location) => Ok(way_in::moved(location, entry.id).map(Content::Whole).into()),
            Place::Ours(call) => self.call(call, request, &credentials, entry).await,
            Place::Route(way) => {
                let (rule, apps) = (way.rule, way.rule.apps.as_deref());
                let decision = self.authenticate(rule.auth, apps, &credentials).await?;
                let access = self.admit_to(rule, decision, entry)?;
                let phone = self.phone_for(rule, &access).await?;
                let told = Told { access: &access, phone: phone.as_ref() };
                let place = if way.offer.is_some() { self.place_among(rule, &access)? } else { None };
                entry.asked = Instant::now();
                let sent = self.forward(&mut request, way, told, conn, timer, entry)?;
                let head = sent.head.await;
                entry.upstream = Some(sent.asked_at.elapsed());
                let head = with_id(head.map_err(Failure::Proxy)?, entry);
                if head.status != StatusCode::SWITCHING_PROTOCOLS {
                    return Ok(head.map(Content::Forwarded));
                }
                let mut upstream = None;
                let answer = head.map(|forwarded| {
                    upstream = forwarded.into_switched();
                    Content::Whole(Bytes::new())
                });
                let upstream = upstream.ok_or(Failure::Proxy(proxy::Error::WrongHandshake))?;
                let tunnel = Tunnel::new(upstream, rule, &access, &self.sessions, place);
                conn.tunnel.replace(Some(Box::new(tunnel)));
                Ok(answer)
            }
        }
    }

    /// Sends a request on.
    fn forward<'a>(
        &'a self,
        request: &mut Request<RequestBody>,
        way: Way<'_>,
        told: Told<'_>,
        conn: &Conn,
        timer: &RequestTimer,
        entry: &Entry,
    ) -> Result<Sent<impl Future<Output = Head> + use<'a>>, Failure> {
        let how = Forward {
            access: told.access,
            phone: told.phone,
            upstream: way.rule.upstream,
            host: way.host,
            peer: &conn.peer,
            proxies: &self.snapshot.proxies,
            request_id: entry.id,
            offer: way.offer,
            keep_authorization: way.keep_authorization,
            keep_urls: way.keep_urls,
            connect_timeout: way.rule.connect_timeout,
            response_timeout: way.rule.response_timeout,
        };
        let head = self.proxy.forward(request, way.target, how, timer.clone(), entry.asked).map_err(Failure::Proxy)?;
        Ok(Sent { head, asked_at: entry.asked })
    }

    /// Lets an endpoint of ours answer.
    async fn call(
        &self,
        call: Call<'_>,
        request: Request<RequestBody>,
        credentials: &Credentials,
        entry: &mut Entry,
    ) -> Result<Answer<Content>, Failure> {
        let (rule, apps) = call.terms();
        let decision = self.authenticate(rule, apps, credentials).await?;
        let access = match call.asked {
            Some(rule) => self.admit_to(rule, decision, entry)?,
            None => entry.access.insert(pass(decision)?).clone(),
        };
        let caller = Caller { access: &access, ip: entry.client };
        let mut response = self.api.answer(call.endpoint, request, caller).await.map_err(Failure::Api)?;
        if let Some(rule) = call.asked {
            let phone = self.phone_for(rule, &access).await?;
            let headers = response.headers_mut();
            self.proxy.introduce(headers, &access, phone.as_ref(), rule.upstream).map_err(Failure::Proxy)?;
        }
        response.headers_mut().insert(X_REQUEST_ID, entry.id.to_value());
        Ok(response.map(Content::Whole).into())
    }

    /// The caller's phone number, where the upstream of this route is to be told it. Nobody who has one is told of as one
    /// who has none: where it can't be found out, the request does not go on.
    async fn phone_for(&self, rule: &Rule, access: &Access) -> Result<Option<PhoneNumber>, Failure> {
        match access.identity().filter(|_| rule.forward_phone) {
            Some(identity) => self.profiles.phone_of(&identity.user).await.map_err(Failure::Phone),
            None => Ok(None),
        }
    }

    async fn authenticate(
        &self,
        rule: AuthRule,
        apps: Option<&[AppId]>,
        credentials: &Credentials,
    ) -> Result<Decision, Failure> {
        auth::authenticate(rule, apps, credentials, &self.sessions).await.map_err(Failure::Sessions)
    }

    /// Lets the caller pass to this route as the one the decision says, if it does, and not too often.
    fn admit_to(&self, rule: &Rule, decision: Decision, entry: &mut Entry) -> Result<Access, Failure> {
        let access = entry.access.insert(pass(decision)?).clone();
        self.enter_as(&access, rule)?;
        Ok(access)
    }

    /// Counts a request as one of this caller.
    fn enter_as(&self, access: &Access, rule: &Rule) -> Result<(), Failure> {
        let Some(identity) = access.identity() else { return Ok(()) };
        self.within_limits(self.snapshot.limits.enter_as(rule.id, &identity.user), rule)
    }

    /// A place among the tunnels of the caller, where the route says how many there may be.
    fn place_among(&self, rule: &Rule, access: &Access) -> Result<Option<UserPlace>, Failure> {
        let Some(identity) = access.identity() else { return Ok(None) };
        self.within_limits(self.snapshot.limits.enter_websocket(rule.id, &identity.user), rule)
    }

    fn within_limits<T>(&self, entered: Result<T, RouteLimited>, rule: &Rule) -> Result<T, Failure> {
        entered.map_err(|limited| {
            self.log.limited(rule.id, limited.whose);
            Failure::Limited(limited)
        })
    }

    fn ticket(&self, request: &Request<RequestBody>, conn: &Conn) -> Ticket {
        let headers = request.headers();
        let (id, client) = if conn.peer.is_trusted_still(&self.snapshot.proxies) {
            let client = self.snapshot.proxies.client(conn.peer.ip(), headers).ip;
            (request_id::told(headers).unwrap_or_else(|| self.ids.fresh()), client)
        } else {
            (self.ids.fresh(), conn.peer.ip())
        };
        let mut ticket = Ticket::new(Rc::clone(&self.log), Entry::new(id, client));
        ticket.entry.method = Some(request.method().clone());
        ticket.entry.tls = conn.way_in.tls();
        ticket
    }
}
