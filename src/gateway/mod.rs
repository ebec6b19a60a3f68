//! The way of a request: route, authenticate, answer or forward, log.

mod access_log;
mod body;
mod failure;
mod line;
mod rescue;
mod snapshot;

use std::{
    borrow::Cow,
    cell::RefCell,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use bytes::{BufMut, Bytes};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::time::Instant;

use crate::{
    api::{Api, Caller, Endpoint},
    auth::{self, Access, Credentials, Decision, bearer},
    model::{AppId, Clock},
    proxy::{self, Forward, Peer, Proxy},
    routing::{self, AuthRule, BadTarget, Rule, Target},
    session::Sessions,
    web::{HeaderWriter, Refusal, RequestBody, RequestTimer, headers::X_REQUEST_ID},
};

pub use access_log::{AccessLog, Entry, Ticket};
pub use body::{Body, Content};
pub use failure::Failure;
pub use rescue::{Rescue, rescue};
pub use snapshot::Snapshot;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The gateway of one worker.
#[derive(Debug)]
pub struct Gateway {
    snapshot: Arc<Snapshot>,
    sessions: Arc<Sessions>,
    api: Api,
    proxy: Proxy,
    log: Rc<AccessLog>,
    clock: Arc<dyn Clock>,
    ids: RefCell<SmallRng>,
    writer: HeaderWriter,
}

/// What is kept per client connection.
#[derive(Debug)]
pub struct Conn {
    peer: Peer,
}

impl Gateway {
    /// A gateway of these parts. `seed` makes the request ids of this worker unlike those of any other.
    pub fn new(
        snapshot: Arc<Snapshot>,
        sessions: Arc<Sessions>,
        api: Api,
        proxy: Proxy,
        log: Rc<AccessLog>,
        clock: Arc<dyn Clock>,
        seed: [u8; 32],
    ) -> Self {
        let ids = RefCell::new(SmallRng::from_seed(seed));
        Self { snapshot, sessions, api, proxy, log, clock, ids, writer: HeaderWriter::default() }
    }

    /// A connection has come in.
    pub fn connected(&self, peer: SocketAddr) -> Conn {
        Conn { peer: Peer::new(peer, &self.snapshot.proxies) }
    }

    /// Answers a request, whatever becomes of it.
    pub async fn handle(&self, request: Request<RequestBody>, conn: &Conn, timer: RequestTimer) -> Response<Body> {
        let mut ticket = Ticket::new(Rc::clone(&self.log), self.entry(&request, conn));
        let response = match self.answer(request, conn, &timer, &mut ticket.entry).await {
            Ok(response) => response,
            Err(failure) => explain(&failure, &mut ticket.entry).map(Content::Whole),
        };
        ticket.entry.status = Some(response.status());
        response.map(|content| Body::new(content, ticket))
    }

    /// Answers what never became a request.
    pub fn refuse(&self, why: Refusal, conn: &Conn) -> Response<Bytes> {
        let id = self.new_id();
        let mut ticket = Ticket::new(Rc::clone(&self.log), Entry::new(id, conn.peer.ip()));
        let mut response = explain(&Failure::Refused(why), &mut ticket.entry);
        // hyper dates the answers that go through it; this one does not.
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
    }

    /// The pipeline. Each stage needs what the one before it found out, so their order is not free.
    async fn answer(
        &self,
        request: Request<RequestBody>,
        conn: &Conn,
        timer: &RequestTimer,
        entry: &mut Entry,
    ) -> Result<Response<Content>, Failure> {
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return Err(Failure::Method);
        }
        // Nothing is decided on a target that could be read in two ways. The head is taken out of the request, so that
        // what was checked can be looked at while the request itself moves on; the copies are reference counts.
        let uri = request.uri().clone();
        let target = routing::target_of(request.version(), &uri, request.headers()).map_err(Failure::Target)?;
        let host = host_line(&request, &target);
        let ours = bearer::holds_a_token(request.headers());
        let credentials = bearer::find(request.headers()).map_err(Failure::Credentials)?;

        // Our own endpoints first: no route can take their place.
        if let Some(endpoint) = self.api.endpoint(target.path.as_str()) {
            entry.endpoint = Some(endpoint.label());
            let methods = self.api.methods(target.path.as_str());
            if !methods.split(", ").any(|method| method == request.method().as_str()) {
                return Err(Failure::WrongMethod(methods));
            }
            return self.call(endpoint, request, &credentials, entry).await;
        }
        let rule = self.snapshot.table.find(target.host_name(), target.path.as_str(), request.method());
        let rule = rule.ok_or(Failure::NoRoute)?;
        entry.route = Some(rule.id);
        let (path, target) = upstream_path(&target, rule)?;
        let target = proxy::target(path.as_ref(), target, &uri).map_err(Failure::Proxy)?;

        // Who calls is asked before a byte of the body is read: a stranger's upload costs us nothing.
        let access = self.authenticate(rule.auth, rule.apps.as_deref(), &credentials, entry).await?;
        let how = Forward {
            access: &access,
            upstream: rule.upstream,
            target,
            host,
            peer: &conn.peer,
            proxies: &self.snapshot.proxies,
            request_id: &entry.id,
            keep_authorization: rule.forward_token || !ours,
        };
        let asked_at = Instant::now();
        let response = self.proxy.forward(request, how, timer).await;
        entry.upstream = Some(asked_at.elapsed());
        Ok(response.map_err(Failure::Proxy)?.map(Content::Forwarded))
    }

    /// Lets an endpoint of ours answer.
    async fn call(
        &self,
        endpoint: Endpoint,
        request: Request<RequestBody>,
        credentials: &Credentials,
        entry: &mut Entry,
    ) -> Result<Response<Content>, Failure> {
        let rule = if endpoint.needs_session() { AuthRule::Required } else { AuthRule::None };
        let access = self.authenticate(rule, None, credentials, entry).await?;
        let caller = Caller { access: &access, ip: entry.client };
        let mut response = self.api.answer(endpoint, request, caller).await.map_err(Failure::Api)?;
        response.headers_mut().insert(X_REQUEST_ID, entry.id.clone());
        Ok(response.map(Content::Whole))
    }

    async fn authenticate(
        &self,
        rule: AuthRule,
        apps: Option<&[AppId]>,
        credentials: &Credentials,
        entry: &mut Entry,
    ) -> Result<Access, Failure> {
        match auth::authenticate(rule, apps, credentials, &self.sessions).await.map_err(Failure::Sessions)? {
            Decision::Pass(access) => {
                entry.access = Some(access.clone());
                Ok(access)
            }
            Decision::Denied(why) => Err(Failure::Denied(why)),
        }
    }

    fn entry(&self, request: &Request<RequestBody>, conn: &Conn) -> Entry {
        let headers = request.headers();
        let (id, client) = if conn.peer.is_trusted() {
            let client = self.snapshot.proxies.client(conn.peer.ip(), headers).ip;
            (told_id(headers).unwrap_or_else(|| self.new_id()), client)
        } else {
            (self.new_id(), conn.peer.ip())
        };
        Entry { method: Some(request.method().clone()), target: request.uri().clone(), ..Entry::new(id, client) }
    }

    /// An id nobody else has: 128 random bits. Nothing rests on its being hard to guess.
    fn new_id(&self) -> HeaderValue {
        let (high, low) = {
            let mut ids = self.ids.borrow_mut();
            (ids.next_u64(), ids.next_u64())
        };
        let value = self.writer.value(|out| {
            for byte in high.to_be_bytes().into_iter().chain(low.to_be_bytes()) {
                out.put_u8(HEX[usize::from(byte >> 4)]);
                out.put_u8(HEX[usize::from(byte & 15)]);
            }
        });
        value.unwrap_or_else(|| HeaderValue::from_static("-"))
    }
}

/// What the upstream is told as `Host`: the line as received, or the absolute target's authority, which an HTTP/1.0 client
/// may send without one.
fn host_line(request: &Request<RequestBody>, target: &Target<'_>) -> Option<HeaderValue> {
    let line = request.headers().get(header::HOST).cloned();
    line.or_else(|| HeaderValue::from_str(target.host.as_ref()?.received()).ok())
}

/// A trusted proxy's own request id, if it is one: 1 to 64 visible characters.
fn told_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(X_REQUEST_ID)?;
    let fits = (1..=64).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
    fits.then(|| id.clone())
}

/// The path to ask the upstream for, and the query, which goes along untouched.
fn upstream_path<'a>(target: &'a Target<'_>, rule: &Rule) -> Result<(Cow<'a, str>, Option<&'a str>), Failure> {
    let bad_path = |error| Failure::Target(BadTarget::Path(error));
    target.path.refuse_unless_allowed(rule).map_err(bad_path)?;
    let path = match &rule.strip_prefix {
        None => Cow::Borrowed(target.path.as_str()),
        Some(prefix) => {
            let stripped = routing::strip_prefix(&target.path, prefix).map_err(bad_path)?;
            stripped.refuse_unless_allowed(rule).map_err(bad_path)?;
            Cow::Owned(stripped.as_str().to_owned())
        }
    };
    Ok((path, target.query))
}

/// The answer to a failure, with its cause told to the log.
fn explain(failure: &Failure, entry: &mut Entry) -> Response<Bytes> {
    let rescue = rescue(failure);
    entry.code = Some(rescue.code);
    entry.cause = failure.cause();
    if let Some(app) = failure.app() {
        entry.app = Some(app.clone());
        if let Some(advice) = failure.advice() {
            let request = entry.id.to_str().unwrap_or_default();
            tracing::error!(request, app = app.as_str(), advice, "a login failed because of the set-up");
        }
    }
    rescue.into_response(&entry.id)
}
