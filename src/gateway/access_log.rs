//! One line per request, written when its answer has gone out whole or has been cut short. `docs/LOGGING.md` lists the
//! fields. A query string, a token or an openid never gets here: [`Entry`] has no place for one.

use std::{
    cell::RefCell,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use http::{HeaderValue, Method, StatusCode, Uri};
use tokio::time::Instant;

use super::line::Line;
use crate::{
    auth::Access,
    model::{AppId, Clock},
    telemetry::LineBuffer,
};

/// The status that stands for "the client went away before there was an answer". It is only ever logged.
const CLIENT_GONE: u16 = 499;

/// What one line tells.
#[derive(Debug)]
pub struct Entry {
    /// The request's id, also sent to the client and the upstream.
    pub id: HeaderValue,
    /// The client's address, as the trusted proxies tell it.
    pub client: IpAddr,
    /// The method; `None` when there never was a request.
    pub method: Option<Method>,
    /// The target as received. Only its path is written.
    pub target: Uri,
    /// The route's place in match order.
    pub route: Option<usize>,
    /// The endpoint of ours that answered.
    pub endpoint: Option<&'static str>,
    /// The app that a login was for, where it failed.
    pub app: Option<AppId>,
    /// What was found out about the caller.
    pub access: Option<Access>,
    /// What was answered; `None` while there is no answer.
    pub status: Option<StatusCode>,
    /// The machine word of an error of ours.
    pub code: Option<&'static str>,
    /// The chain of causes of an error of ours.
    pub cause: Option<String>,
    /// Body bytes of the answer.
    pub bytes: u64,
    /// Whether the answer's body went out whole.
    pub complete: bool,
    /// When the request was there.
    pub started: Instant,
    /// How long the upstream took to the head of its answer.
    pub upstream: Option<Duration>,
}

impl Entry {
    /// A line about which nothing is known but who and when.
    pub fn new(id: HeaderValue, client: IpAddr) -> Self {
        Self {
            id,
            client,
            method: None,
            target: Uri::default(),
            route: None,
            endpoint: None,
            app: None,
            access: None,
            status: None,
            code: None,
            cause: None,
            bytes: 0,
            complete: false,
            started: Instant::now(),
            upstream: None,
        }
    }
}

/// Writes the lines of one worker.
#[derive(Debug)]
pub struct AccessLog {
    lines: Option<RefCell<LineBuffer>>,
    json: bool,
    clock: Arc<dyn Clock>,
    /// Labels of the routes, in match order.
    routes: Vec<String>,
    /// The present second as text. It is written out once and used for all lines of that second.
    second: RefCell<(u64, String)>,
}

impl AccessLog {
    /// A log that writes to `lines`, or nowhere, as JSON or as `key=value` pairs.
    pub fn new(lines: Option<LineBuffer>, json: bool, clock: Arc<dyn Clock>, routes: Vec<String>) -> Rc<Self> {
        let second = RefCell::new((u64::MAX, String::new()));
        Rc::new(Self { lines: lines.map(RefCell::new), json, clock, routes, second })
    }

    /// Hands over what has been written so far.
    pub fn flush(&self) {
        if let Some(lines) = &self.lines {
            lines.borrow_mut().flush();
        }
    }

    fn write(&self, entry: &Entry) {
        let Some(lines) = &self.lines else { return };
        lines.borrow_mut().push(|out| {
            let mut line = Line::begin(out, self.json);
            self.fields(&mut line, entry);
            line.end();
        });
    }

    fn fields(&self, line: &mut Line<'_>, entry: &Entry) {
        let now = self.clock.now();
        let mut second = self.second.borrow_mut();
        if second.0 != now.as_secs() {
            let time = UNIX_EPOCH + Duration::from_secs(now.as_secs());
            let text = humantime::format_rfc3339_seconds(time).to_string();
            *second = (now.as_secs(), text.trim_end_matches('Z').to_owned());
        }
        line.moment("ts", &second.1, now.as_millis() % 1000);
        line.text("kind", "access");
        line.text("id", entry.id.to_str().unwrap_or_default());
        line.address("client", entry.client);
        line.text("method", entry.method.as_ref().map_or("-", Method::as_str));
        line.text("path", if entry.method.is_some() { entry.target.path() } else { "-" });
        if let Some(route) = entry.route.and_then(|n| self.routes.get(n)) {
            line.text("route", route);
        }
        if let Some(endpoint) = entry.endpoint {
            line.text("endpoint", endpoint);
        }
        if let Some(session) = entry.access.as_ref().and_then(Access::session) {
            line.text("app", session.identity().user.app.as_str());
            line.hex("user", session.tag().as_bytes());
        } else if let Some(app) = &entry.app {
            line.text("app", app.as_str());
        }
        line.integer("status", entry.status.map_or(CLIENT_GONE, |s| s.as_u16()).into());
        if let Some(code) = entry.code {
            line.text("code", code);
        }
        if let Some(cause) = &entry.cause {
            line.text("cause", cause);
        }
        line.integer("bytes", entry.bytes);
        line.millis("ms", entry.started.elapsed());
        if let Some(upstream) = entry.upstream {
            line.millis("upstream_ms", upstream);
        }
        line.flag("complete", entry.complete);
    }
}

/// An entry on its way to the log. It is written when this is dropped, so no way out of the pipeline can forget it.
#[derive(Debug)]
pub struct Ticket {
    log: Rc<AccessLog>,
    /// What is known so far.
    pub entry: Entry,
}

impl Ticket {
    /// Opens a line.
    pub fn new(log: Rc<AccessLog>, entry: Entry) -> Self {
        Self { log, entry }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.log.write(&self.entry);
    }
}
