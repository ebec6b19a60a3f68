//! What is another in a changed configuration, key by key, and which of it a running gateway can take over. It is said
//! here and done elsewhere.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::Path,
};

use super::{
    Config,
    sections::{
        Admin, Api, App, CertificateFiles, HostPattern, IdentityHeaders, Internal, Limits, ListenAt, Log, Route,
        Server, Sessions, Tls, Upstream, WeChat,
    },
};

/// What is another, and what a gateway that runs is to run with from here on.
#[derive(Clone, Debug)]
pub struct Change {
    /// What is wanted, but for the keys that need a restart: these are as they were.
    pub config: Config,
    /// What is taken over, in the order of the file.
    pub applied: Vec<Difference>,
    /// What waits for a restart.
    pub waiting: Vec<Difference>,
}

/// One thing that is another. No value is part of it: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key with its section, or one of a list by its name: `server.workers`, `upstreams.app.servers`.
    pub key: String,
    /// How.
    pub how: How,
}

/// How something is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It is new.
    Added,
    /// It is no more.
    Removed,
    /// It has another value.
    Changed,
}

/// Compares the keys of a section. Each of them has to be named, or this does not compile: those that a running gateway takes
/// over, those that need a restart and are put back, and those that the caller compares.
macro_rules! compare {
    (
        $change:ident, $section:expr, $type:ident of $running:expr, $wanted:expr;
        live $($live:ident)*; restart $($still:ident)*; apart $($apart:ident)*
    ) => {{
        let $type { $($live: _,)* $($still: _,)* $($apart: _,)* } = &$wanted;
        $(if $running.$live != $wanted.$live {
            $change.applied(format!("{}.{}", $section, stringify!($live)), How::Changed);
        })*
        $(if $running.$still != $wanted.$still {
            $change.waits(format!("{}.{}", $section, stringify!($still)));
            $wanted.$still = $running.$still.clone();
        })*
    }};
}

impl Change {
    /// What is another in `wanted` than in what a gateway runs with.
    pub fn between(running: &Config, wanted: Config) -> Self {
        let mut change = Self { config: wanted, applied: Vec::new(), waiting: Vec::new() };
        change.server(running);
        change.whole_sections(running);
        change.internal(running.internal.as_ref());
        change.sessions(&running.sessions);
        change.lists(running);
        change
    }

    /// Whether there is nothing to be taken over.
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty()
    }

    fn server(&mut self, running: &Config) {
        let (old, mut new) = (&running.server, self.config.server.clone());
        // Who is believed without a PROXY header is not who is believed with one.
        let same_doors = proxied(old) == proxied(&new);
        compare!(self, "server", Server of old, new;
            live max_body drain_timeout drain_idle underscore_headers watch;
            restart listen listeners proxy_protocol socket_mode workers max_connections header_timeout body_timeout keepalive_timeout
                write_timeout max_header_bytes max_headers max_uri_bytes http2;
            apart tls trusted_proxies);
        if old.trusted_proxies != new.trusted_proxies && same_doors {
            self.applied("server.trusted_proxies".to_owned(), How::Changed);
        } else if old.trusted_proxies != new.trusted_proxies {
            self.waits("server.trusted_proxies".to_owned());
            new.trusted_proxies.clone_from(&old.trusted_proxies);
        }
        match (&old.tls, &mut new.tls) {
            (Some(old), Some(new)) => self.tls(old, new),
            (None, None) => {}
            (old, new) => {
                self.waits("server.tls".to_owned());
                new.clone_from(old);
            }
        }
        self.config.server = new;
    }

    fn tls(&mut self, old: &Tls, new: &mut Tls) {
        compare!(self, "server.tls", Tls of old, new;
            live;
            restart min_version strict_sni handshake_timeout max_handshakes tickets watch;
            apart certificates);
        // What is in the files is looked after by who shows it.
        if !old.certificates.iter().map(paths).eq(new.certificates.iter().map(paths)) {
            self.applied("server.tls.certificates".to_owned(), How::Changed);
        }
    }

    fn whole_sections(&mut self, running: &Config) {
        // All sections by name, so that a new one does not compile until somebody compares it.
        let Config {
            mut admin,
            internal: _,
            webhook,
            api,
            mut wechat,
            identity,
            assertion,
            limits,
            mut avatars,
            mut log,
            server: _,
            sessions: _,
            apps: _,
            upstreams: _,
            routes: _,
        } = self.config.clone();
        compare!(self, "admin", Admin of running.admin, admin; live hosts token; restart listen; apart);
        if running.webhook != webhook {
            let how = match (&running.webhook, &webhook) {
                (None, _) => How::Added,
                (_, None) => How::Removed,
                _ => How::Changed,
            };
            self.applied("webhook".to_owned(), how);
        }
        compare!(self, "api", Api of running.api, api; live prefix; restart; apart);
        compare!(self, "wechat", WeChat of running.wechat, wechat; live timeout; restart replay_window; apart);
        compare!(self, "identity", IdentityHeaders of running.identity, identity;
            live openid app_id unionid phone; restart; apart);
        if running.assertion != assertion {
            self.applied("identity.assertion".to_owned(), How::Changed);
        }
        compare!(self, "limits", Limits of running.limits, limits;
            live verify_per_ip verify_in_flight profile_per_user ipv6_prefix; restart; apart);
        compare!(self, "log", Log of running.log, log; live level access; restart format user_key; apart);
        // Who is reading pictures, and where they rest, is chosen at the start.
        if running.avatars != avatars {
            self.waits("avatars".to_owned());
            avatars.clone_from(&running.avatars);
        }
        (self.config.admin, self.config.wechat, self.config.log) = (admin, wechat, log);
        self.config.avatars = avatars;
    }

    fn internal(&mut self, old: Option<&Internal>) {
        let mut new = self.config.internal.clone();
        match (old, &mut new) {
            (Some(old), Some(new)) => {
                let paths_of = |section: &Internal| section.tls.as_ref().map(|tls| paths(&tls.files).0.to_owned());
                let keys_of = |section: &Internal| section.tls.as_ref().map(|tls| paths(&tls.files).1.to_owned());
                let asked = |section: &Internal| section.tls.as_ref().map(|tls| tls.client_ca.clone());
                if paths_of(old) != paths_of(new) || keys_of(old) != keys_of(new) || asked(old) != asked(new) {
                    self.waits("internal.tls".to_owned());
                    new.tls.clone_from(&old.tls);
                }
                // The token is not needed any more where certificates are asked for, which may have to wait.
                if new.token.is_none() && old.token.is_some() && !new.asks_for_certificates() {
                    self.waits("internal.token".to_owned());
                    new.token.clone_from(&old.token);
                }
                compare!(self, "internal", Internal of old, new;
                    live hosts token data_max_age; restart listen socket_mode; apart tls);
            }
            (None, None) => {}
            (old, new) => {
                self.waits("internal".to_owned());
                *new = old.cloned();
            }
        }
        self.config.internal = new;
    }

    fn sessions(&mut self, old: &Sessions) {
        let mut new = self.config.sessions.clone();
        compare!(self, "sessions", Sessions of old, new;
            live; restart idle lifetime capacity per_user snapshot redis seal; apart);
        self.config.sessions = new;
    }

    fn lists(&mut self, running: &Config) {
        let Config { apps, upstreams, routes, .. } = self.config.clone();
        let app = |app: &App| app.app_id.to_string();
        self.each("apps", &running.apps, &apps, app, |change, name, old, new| {
            compare!(change, name, App of old, new;
                live app_id platform secret other_secret api_base idle lifetime per_user; restart; apart);
        });
        let upstream = |upstream: &Upstream| upstream.name.clone();
        self.each("upstreams", &running.upstreams, &upstreams, upstream, |change, name, old, new| {
            compare!(change, name, Upstream of old, new;
                live name servers balance connect_timeout response_timeout idle_timeout max_idle max_connections
                    max_pending dns_refresh slow_start health eject retry tls audience;
                restart; apart);
        });
        self.each("routes", &running.routes, &routes, requests_of, |change, name, old, new| {
            compare!(change, name, Route of old, new;
                live host path methods auth upstream strip_prefix apps limit_per_ip limit_per_user token_header token_query
                    token_subprotocol forward_token forward_phone websocket
                    websocket_idle websocket_max_age websocket_per_user
                    allow_encoded_slash allow_semicolon connect_timeout response_timeout;
                restart; apart);
        });
    }

    /// Compares those of a list that have one name, and tells of those that are in one list only.
    fn each<T>(
        &mut self,
        section: &str,
        running: &[T],
        wanted: &[T],
        name: impl Fn(&T) -> String,
        compare: impl Fn(&mut Self, &str, &T, &T),
    ) {
        let old: HashMap<String, &T> = running.iter().map(|one| (name(one), one)).collect();
        let new: HashSet<String> = wanted.iter().map(&name).collect();
        for one in wanted {
            let key = format!("{section}.{}", name(one));
            match old.get(&name(one)) {
                Some(old) => compare(self, &key, old, one),
                None => self.applied(key, How::Added),
            }
        }
        for gone in running.iter().map(&name).filter(|name| !new.contains(name)) {
            self.applied(format!("{section}.{gone}"), How::Removed);
        }
    }

    fn applied(&mut self, key: String, how: How) {
        self.applied.push(Difference { key, how });
    }

    fn waits(&mut self, key: String) {
        self.waiting.push(Difference { key, how: How::Changed });
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Added => "added",
            How::Removed => "removed",
            How::Changed => "changed",
        };
        write!(f, "{how} {}", self.key)
    }
}

/// Where a PROXY header comes first.
fn proxied(server: &Server) -> Vec<ListenAt> {
    server
        .all_listeners()
        .into_iter()
        .filter(|listener| listener.proxy_protocol)
        .map(|listener| listener.listen)
        .collect()
}

fn paths(files: &CertificateFiles) -> (&Path, &Path) {
    (&files.cert, &files.key)
}

/// What a route is for, which no two routes have in common.
fn requests_of(route: &Route) -> String {
    let host = match &route.host {
        Some(HostPattern::Exact(name)) => name.clone(),
        Some(HostPattern::Suffix(name)) => format!("*{name}"),
        None => String::new(),
    };
    let methods = route.methods.iter().map(|methods| {
        let methods: Vec<&str> = methods.iter().map(http::Method::as_str).collect();
        format!("{} ", methods.join(","))
    });
    format!("{}{host}{}", methods.collect::<String>(), route.path)
}
