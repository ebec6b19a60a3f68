//! `[[routes]]`: which requests go where, and who may make them.

use std::time::Duration;

use http::{HeaderName, Method};

use super::Rate;
use crate::model::AppId;

/// One rule: what it matches, who may pass, where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own, independent of the others")]
pub struct Route {
    /// Which `Host`; any when left out.
    pub host: Option<HostPattern>,
    /// A path prefix in canonical form, compared at segment borders: `/a` and `/a/` both match `/a` and `/a/b`, never `/ab`.
    pub path: String,
    /// Which methods; any when left out. A request with another method goes on to the next best route.
    pub methods: Option<Vec<Method>>,
    /// Whether a session is asked for.
    pub auth: AuthRule,
    /// The name of an upstream.
    pub upstream: String,
    /// Whether `path` is cut off before forwarding.
    pub strip_prefix: bool,
    /// Whose sessions may pass; those of every app when left out.
    pub apps: Option<Vec<AppId>>,
    /// How many requests one client address may send.
    pub limit_per_ip: Option<Rate>,
    /// How many requests one user of one app may send.
    pub limit_per_user: Option<Rate>,
    /// A header that the session token may come in, beside `Authorization`.
    pub token_header: Option<HeaderName>,
    /// The name of a parameter of the query that it may come in.
    pub token_query: Option<String>,
    /// Whether it may come among the subprotocols that a client offers for a WebSocket.
    pub token_subprotocol: bool,
    /// Whether the upstream sees the session token. It is the user's key to everything, so: hardly ever.
    pub forward_token: bool,
    /// Whether the upstream is told the caller's phone number, where it is known.
    pub forward_phone: bool,
    /// Whether `%2f` in a path is let through.
    pub allow_encoded_slash: bool,
    /// Whether `;` in a path is let through.
    pub allow_semicolon: bool,
    /// Whether a client may open a WebSocket.
    pub websocket: bool,
    /// How long one may stay open without a byte in either direction.
    pub websocket_idle: Duration,
    /// How long one may stay open at all; for ever when left out.
    pub websocket_max_age: Option<Duration>,
    /// Instead of the upstream's `connect_timeout`.
    pub connect_timeout: Option<Duration>,
    /// Instead of the upstream's `response_timeout`.
    pub response_timeout: Option<Duration>,
}

impl Route {
    /// A route with every optional key at its default.
    pub fn new(path: impl Into<String>, upstream: impl Into<String>) -> Self {
        Self {
            host: None,
            path: path.into(),
            methods: None,
            auth: AuthRule::Required,
            upstream: upstream.into(),
            strip_prefix: false,
            apps: None,
            limit_per_ip: None,
            limit_per_user: None,
            token_header: None,
            token_query: None,
            token_subprotocol: false,
            forward_token: false,
            forward_phone: false,
            allow_encoded_slash: false,
            allow_semicolon: false,
            websocket: false,
            websocket_idle: Duration::from_mins(10),
            websocket_max_age: None,
            connect_timeout: None,
            response_timeout: None,
        }
    }
}

/// Whether a session is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AuthRule {
    /// No live session, no entry.
    #[default]
    Required,
    /// A live session is told to the upstream; without one the caller is anonymous.
    Optional,
    /// Nobody looks for a session; the caller is always anonymous.
    None,
}

/// A host as a route names it: lower case, without port and trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// `*.example.com`, held as `.example.com`: any name that ends so, however many labels deep, not the bare domain.
    Suffix(String),
}
