//! The routing table: a tree of path segments, with the hosts of each path at its node.
//!
//! A look-up walks down the path as far as the tree goes, then back up until a node has a rule for the host and the
//! method: the longest path wins, then the most telling host. It allocates nothing, and what it costs is bounded by the
//! depth of the routes, not by the length of what a client sends.

use std::time::Duration;

use http::{HeaderName, Method};

use super::{CanonicalPath, PathError};
use crate::{
    config::sections::{AuthRule, HostPattern, Rate, Route},
    model::AppId,
};

/// What holds for the requests of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own, independent of the others")]
pub struct Rule {
    /// Its place among the routes of the config.
    pub id: usize,
    /// What logs and people call it: `api.example.com/x`, `*.example.com/`, `GET,HEAD /public`.
    pub label: String,
    /// Whether a session is asked for.
    pub auth: AuthRule,
    /// Whose sessions may pass; those of every app when absent.
    pub apps: Option<Vec<AppId>>,
    /// How many requests one client address may send.
    pub limit_per_ip: Option<Rate>,
    /// How many requests one user of one app may send.
    pub limit_per_user: Option<Rate>,
    /// The place of its upstream among those of the config.
    pub upstream: usize,
    /// What is cut off the path before forwarding. Ends in no slash.
    pub strip_prefix: Option<String>,
    /// Where the session token may come in beside `Authorization`.
    pub carriers: Carriers,
    /// Whether the upstream sees the session token.
    pub forward_token: bool,
    /// Whether the upstream is told the caller's phone number.
    pub forward_phone: bool,
    /// Whether `%2f` in a path is let through.
    pub allow_encoded_slash: bool,
    /// Whether `;` in a path is let through.
    pub allow_semicolon: bool,
    /// Whether a client may open a WebSocket.
    pub websocket: bool,
    /// How long one may stay open without a byte in either direction.
    pub websocket_idle: Duration,
    /// How long one may stay open at all; for ever when absent.
    pub websocket_max_age: Option<Duration>,
    /// How many one user may have open at once; as many as there is room for when absent.
    pub websocket_per_user: Option<usize>,
    /// How long a connection to its upstream may take; what the upstream says when absent.
    pub connect_timeout: Option<Duration>,
    /// How long its upstream may think; what the upstream says when absent.
    pub response_timeout: Option<Duration>,
    /// What it takes; every method when absent.
    pub methods: Option<Vec<Method>>,
}

/// Where a session token may come in beside `Authorization`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carriers {
    /// In this header.
    pub header: Option<HeaderName>,
    /// In the parameter of the query with this name.
    pub query: Option<String>,
    /// Among the subprotocols that a client offers for a WebSocket.
    pub subprotocol: bool,
}

impl Carriers {
    /// Whether there is any.
    pub fn any(&self) -> bool {
        self.header.is_some() || self.query.is_some() || self.subprotocol
    }
}

/// A route leads to an upstream that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the route {label} leads to the unknown upstream {upstream}")]
pub struct UnknownUpstream {
    /// The route.
    pub label: String,
    /// What it calls its upstream.
    pub upstream: String,
}

/// Every rule, laid out for finding. Immutable: new routes make a new table.
#[derive(Debug)]
pub struct Table {
    rules: Vec<Rule>,
    /// The first is the root, `/`.
    nodes: Vec<Node>,
    tokens_in_queries: bool,
    websockets: bool,
}

impl Table {
    /// Builds the table of these routes, whose upstreams are among these names.
    pub fn new(routes: &[Route], upstreams: &[impl AsRef<str>]) -> Result<Self, UnknownUpstream> {
        let mut table = Self {
            rules: Vec::with_capacity(routes.len()),
            nodes: vec![Node::default()],
            tokens_in_queries: routes.iter().any(|route| route.token_query.is_some()),
            websockets: routes.iter().any(|route| route.websocket),
        };
        for (id, route) in routes.iter().enumerate() {
            let label = label(route);
            let Some(upstream) = upstreams.iter().position(|name| name.as_ref() == route.upstream) else {
                return Err(UnknownUpstream { label, upstream: route.upstream.clone() });
            };
            table.rules.push(Rule::new(id, label, upstream, route));
            let node = table.node_of(&route.path);
            let place = table.nodes[node].place_of(route.host.as_ref());
            let rules = &table.rules;
            place.push(id);
            // Those that name methods come first, or they could never be reached; the sort keeps the file's order else.
            place.sort_by_key(|id| rules[*id].methods.is_none());
        }
        Ok(table)
    }

    /// The rule for a request: `host` as [`Host::name`](super::Host::name) gives it, `path` canonical.
    ///
    /// The longest path wins; among equal ones the exact host, then the longer suffix, then the route without a host;
    /// and then the one that names the method before the one that takes any.
    pub fn find(&self, host: &str, path: &str, method: &Method) -> Option<&Rule> {
        let mut at = Some(self.deepest(path));
        while let Some(node) = at.and_then(|at| self.nodes.get(at)) {
            let mut places = node.places(host);
            if let Some(rule) = places.find_map(|place| self.first_for(method, place)) {
                return Some(rule);
            }
            at = node.parent;
        }
        None
    }

    /// The same for a path that may have a semicolon or an encoded slash in it. Where the rule lets it through, servers that cut
    /// parameters off or decode slashes serve another path, which must be one of the same rule: or else what is let through
    /// on a broad route would open the narrower ones beside it.
    pub fn rule_for(&self, host: &str, path: &CanonicalPath<'_>, method: &Method) -> Result<Option<&Rule>, PathError> {
        let Some(rule) = self.find(host, path.as_str(), method) else { return Ok(None) };
        if path.has_semicolon() && rule.allow_semicolon || path.has_encoded_slash() && rule.allow_encoded_slash {
            for reading in path.readings() {
                let read = self.find(host, reading?.as_str(), method);
                if read.is_none_or(|other| other.id != rule.id) {
                    return Err(PathError::OtherRoute);
                }
            }
        }
        Ok(Some(rule))
    }

    /// Every rule, in the order of the config.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether any route lets tokens come in the query, so that URLs may have some in them.
    pub fn has_tokens_in_queries(&self) -> bool {
        self.tokens_in_queries
    }

    /// Whether a WebSocket can be opened on any route.
    pub fn has_websockets(&self) -> bool {
        self.websockets
    }

    fn first_for(&self, method: &Method, place: &[usize]) -> Option<&Rule> {
        place.iter().filter_map(|id| self.rules.get(*id)).find(|rule| rule.takes(method))
    }

    fn deepest(&self, path: &str) -> usize {
        let mut at = 0;
        for segment in segments(path) {
            match self.nodes[at].children.get(segment) {
                Some(child) => at = *child,
                None => break,
            }
        }
        at
    }

    fn node_of(&mut self, path: &str) -> usize {
        let mut at = 0;
        for segment in segments(path) {
            let fresh = self.nodes.len();
            let child = *self.nodes[at].children.entry(segment, fresh);
            if child == fresh {
                self.nodes.push(Node { parent: Some(at), ..Node::default() });
            }
            at = child;
        }
        at
    }
}

impl Rule {
    fn new(id: usize, label: String, upstream: usize, route: &Route) -> Self {
        let prefix = route.path.trim_end_matches('/');
        Self {
            id,
            label,
            auth: route.auth,
            apps: route.apps.clone(),
            limit_per_ip: route.limit_per_ip,
            limit_per_user: route.limit_per_user,
            upstream,
            strip_prefix: (route.strip_prefix && !prefix.is_empty()).then(|| prefix.to_owned()),
            carriers: Carriers::of(route),
            forward_token: route.forward_token,
            forward_phone: route.forward_phone,
            allow_encoded_slash: route.allow_encoded_slash,
            allow_semicolon: route.allow_semicolon,
            websocket: route.websocket,
            websocket_idle: route.websocket_idle,
            websocket_max_age: route.websocket_max_age,
            websocket_per_user: route.websocket_per_user,
            connect_timeout: route.connect_timeout,
            response_timeout: route.response_timeout,
            methods: route.methods.clone(),
        }
    }

    fn takes(&self, method: &Method) -> bool {
        self.methods.as_ref().is_none_or(|methods| methods.contains(method))
    }

    #[cfg(test)]
    pub(super) fn for_tests(path: &str) -> Self {
        let route = Route::new(path, "app");
        Self::new(0, label(&route), 0, &route)
    }
}

impl Carriers {
    fn of(route: &Route) -> Self {
        Self {
            header: route.token_header.clone(),
            query: route.token_query.clone(),
            subprotocol: route.token_subprotocol,
        }
    }
}

/// The rules of one path.
#[derive(Debug, Default)]
struct Node {
    parent: Option<usize>,
    children: Sorted<usize>,
    exact: Sorted<Vec<usize>>,
    /// By the text that the host ends in, its first dot included.
    suffix: Sorted<Vec<usize>>,
    any: Vec<usize>,
}

impl Node {
    fn place_of(&mut self, host: Option<&HostPattern>) -> &mut Vec<usize> {
        match host {
            Some(HostPattern::Exact(name)) => self.exact.entry(name, Vec::new()),
            Some(HostPattern::Suffix(end)) => self.suffix.entry(end, Vec::new()),
            None => &mut self.any,
        }
    }

    /// The rules for this host, the most telling first.
    fn places(&self, host: &str) -> impl Iterator<Item = &[usize]> {
        let dots = if self.suffix.is_empty() { "" } else { host };
        let ends = dots.match_indices('.').filter(|(at, _)| *at > 0).map(move |(at, _)| &dots[at..]);
        let suffixes = ends.filter_map(|end| self.suffix.get(end));
        self.exact.get(host).into_iter().chain(suffixes).map(Vec::as_slice).chain([self.any.as_slice()])
    }
}

/// A small map by text. Searched by halves: no hash to compute, and none to collide on purpose.
#[derive(Debug)]
struct Sorted<T>(Vec<(Box<str>, T)>);

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Sorted<T> {
    fn get(&self, key: &str) -> Option<&T> {
        self.position(key).ok().map(|at| &self.0[at].1)
    }

    /// What is kept under `key`, `fresh` from now on if that is nothing.
    fn entry(&mut self, key: &str, fresh: T) -> &mut T {
        let at = self.position(key).unwrap_or_else(|at| {
            self.0.insert(at, (key.into(), fresh));
            at
        });
        &mut self.0[at].1
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(name, _)| (**name).cmp(key))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What stands between the slashes. `/a` and `/a/` are alike.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

fn label(route: &Route) -> String {
    let methods = route.methods.iter().flatten().map(Method::as_str).collect::<Vec<_>>().join(",");
    let space = if methods.is_empty() { "" } else { " " };
    let host = match &route.host {
        Some(HostPattern::Exact(name)) => name.clone(),
        Some(HostPattern::Suffix(end)) => format!("*{end}"),
        None => String::new(),
    };
    format!("{methods}{space}{host}{}", route.path)
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;
    use crate::routing::Host;

    fn route(host: &str, path: &str) -> Route {
        let host = match host.strip_prefix('*') {
            Some(end) => Some(HostPattern::Suffix(end.to_owned())),
            None if host.is_empty() => None,
            None => Some(HostPattern::Exact(host.to_owned())),
        };
        Route { host, ..Route::new(path, "app") }
    }

    fn only(methods: &[Method], route: Route) -> Route {
        Route { methods: Some(methods.to_vec()), ..route }
    }

    fn table(routes: &[Route]) -> Table {
        Table::new(routes, &["app"]).unwrap()
    }

    fn found<'t>(table: &'t Table, host: &str, path: &str) -> &'t str {
        table.find(host, path, &Method::GET).map_or("none", |rule| &rule.label)
    }

    #[test]
    fn a_prefix_matches_at_segment_borders() {
        let table = table(&[route("", "/a"), route("", "/b/")]);
        for (path, expected) in [
            ("/a", "/a"),
            ("/a/", "/a"),
            ("/a/x/y", "/a"),
            ("/ab", "none"),
            ("/b", "/b/"),
            ("/b/x", "/b/"),
            ("/bx", "none"),
            ("/A", "none"),
            ("/", "none"),
        ] {
            assert_eq!(found(&table, "h", path), expected, "{path}");
        }
    }

    #[test]
    fn the_longest_path_wins_whatever_the_host_says() {
        let table =
            table(&[route("", "/"), route("api.example.com", "/"), route("", "/a/b"), route("*.example.com", "/a")]);
        assert_eq!(found(&table, "api.example.com", "/a/b/c"), "/a/b");
        assert_eq!(found(&table, "api.example.com", "/a/x"), "*.example.com/a");
        assert_eq!(found(&table, "api.example.com", "/x"), "api.example.com/");
        assert_eq!(found(&table, "other", "/a/x"), "/");
        assert_eq!(found(&table, "", "/x"), "/", "a request without Host can only meet routes without one");
    }

    #[test]
    fn among_equal_paths_the_most_telling_host_wins() {
        let table = table(&[
            route("", "/"),
            route("*.example.com", "/"),
            route("*.b.example.com", "/"),
            route("a.b.example.com", "/"),
        ]);
        for (host, expected) in [
            ("a.b.example.com", "a.b.example.com/"),
            ("x.b.example.com", "*.b.example.com/"),
            ("x.a.b.example.com", "*.b.example.com/"),
            ("b.example.com", "*.example.com/"),
            ("example.com", "/"),
            ("notexample.com", "/"),
            (".example.com", "/"),
            ("example.com.evil", "/"),
        ] {
            assert_eq!(found(&table, host, "/x"), expected, "{host}");
        }
    }

    #[test]
    fn a_route_without_the_method_is_passed_over() {
        let routes = [
            route("", "/"),
            only(&[Method::GET, Method::HEAD], route("", "/a")),
            route("h", "/b"),
            only(&[Method::PUT], route("h", "/b")),
        ];
        let table = table(&routes);
        let find = |path, method| table.find("h", path, method).map(|rule| rule.label.as_str());
        assert_eq!(find("/a", &Method::GET), Some("GET,HEAD /a"));
        assert_eq!(find("/a", &Method::POST), Some("/"));
        assert_eq!(find("/b", &Method::PUT), Some("PUT h/b"), "the one that names the method comes first");
        assert_eq!(find("/b", &Method::GET), Some("h/b"));
    }

    #[test]
    fn a_rule_carries_what_its_route_says() {
        let app = AppId::parse("wx1").unwrap();
        let routes = [
            Route::new("/", "second"),
            Route {
                auth: AuthRule::Optional,
                strip_prefix: true,
                apps: Some(vec![app.clone()]),
                forward_token: true,
                allow_semicolon: true,
                ..Route::new("/api/", "first")
            },
            Route { strip_prefix: true, ..route("h", "/") },
        ];
        let table = Table::new(&routes, &["first".to_owned(), "second".to_owned(), "app".to_owned()]).unwrap();
        let [plain, rich, root] = table.rules() else { unreachable!("three routes make three rules") };
        assert_eq!((plain.id, plain.upstream, plain.auth, &plain.strip_prefix), (0, 1, AuthRule::Required, &None));
        assert_eq!((rich.id, rich.upstream, rich.auth), (1, 0, AuthRule::Optional));
        assert_eq!((rich.strip_prefix.as_deref(), &rich.apps), (Some("/api"), &Some(vec![app])));
        assert_eq!((rich.forward_token, rich.allow_encoded_slash, rich.allow_semicolon), (true, false, true));
        assert_eq!(root.strip_prefix, None, "there is nothing to cut off for the root");
    }

    #[test]
    fn a_route_to_nowhere_makes_no_table() {
        let error = Table::new(&[route("h", "/x")], &["other"]).unwrap_err();
        assert_eq!(error.to_string(), "the route h/x leads to the unknown upstream app");
    }

    #[test]
    fn a_path_of_thousands_of_segments_is_looked_at_no_deeper_than_the_routes() {
        let table = table(&[route("", "/"), route("", "/a/b")]);
        assert_eq!(found(&table, "h", &"/a".repeat(4000)), "/");
    }

    /// The rule as the documentation of routes reads, tried on every route in turn.
    fn oracle<'r>(routes: &'r [Route], host: &str, path: &str, method: &Method) -> Option<&'r Route> {
        let under = |route: &Route| {
            let prefix = route.path.trim_end_matches('/');
            path == prefix || path.starts_with(&format!("{prefix}/"))
        };
        let host_rank = |route: &Route| match &route.host {
            Some(HostPattern::Exact(name)) => (name == host).then_some(usize::MAX),
            Some(HostPattern::Suffix(end)) => (host.len() > end.len() && host.ends_with(end)).then_some(end.len()),
            None => Some(0),
        };
        let takes = |route: &Route| route.methods.as_ref().is_none_or(|methods| methods.contains(method));
        let matching = routes.iter().filter(|route| under(route) && takes(route) && host_rank(route).is_some());
        matching
            .rev()
            .max_by_key(|route| (route.path.trim_end_matches('/').len(), host_rank(route), route.methods.is_some()))
    }

    fn some_path() -> impl Strategy<Value = String> {
        let segment = select(vec!["a", "b", "ab", "a%2fb", "..."]);
        (prop::collection::vec(segment, 0..4), any::<bool>()).prop_map(|(segments, slash)| {
            let path: String = segments.iter().flat_map(|segment| ["/", segment]).collect();
            if slash || path.is_empty() { path + "/" } else { path }
        })
    }

    fn some_host() -> impl Strategy<Value = String> {
        prop_oneof![
            3 => (0..150_u8).prop_map(|n| format!("h{n}.example.com")),
            3 => select(vec!["example.com", "a.example.com", "b.a.example.com", "other", "[::1]"]).prop_map(str::to_owned),
        ]
    }

    fn some_route() -> impl Strategy<Value = Route> {
        let host = prop_oneof![
            some_host().prop_map(|name| Some(HostPattern::Exact(name))),
            select(vec![".example.com", ".a.example.com", ".com"])
                .prop_map(|s| Some(HostPattern::Suffix(s.to_owned()))),
            Just(None),
        ];
        let methods = prop::option::weighted(0.3, select(vec![vec![Method::GET], vec![Method::POST, Method::PUT]]));
        (host, some_path(), methods).prop_map(|(host, path, methods)| Route {
            host,
            methods,
            ..Route::new(path, "app")
        })
    }

    fn some_table() -> impl Strategy<Value = Vec<Route>> {
        prop_oneof![prop::collection::vec(some_route(), 0..400), many_hosts()]
    }

    /// More than a hundred hosts of one path, among other routes.
    fn many_hosts() -> impl Strategy<Value = Vec<Route>> {
        let others = prop::collection::vec(some_route(), 0..100);
        let routes = (101..150_u8, some_path(), others).prop_map(|(hosts, path, mut routes)| {
            let names = (0..hosts).map(|n| format!("h{n}.example.com"));
            routes.extend(names.map(|name| route(&name, &path)));
            routes
        });
        routes.prop_shuffle()
    }

    /// The same host as a client may write it.
    fn disguised(host: &str, upper: bool, dot: bool, port: bool) -> String {
        let mut text = if upper { host.to_ascii_uppercase() } else { host.to_owned() };
        if dot && !host.starts_with('[') {
            text.push('.');
        }
        if port {
            text.push_str(":8443");
        }
        text
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_tree_finds_what_trying_every_route_finds(
            routes in some_table(),
            requests in prop::collection::vec((some_host(), any::<(bool, bool, bool)>(), some_path()), 50),
        ) {
            let table = table(&routes);
            for (host, (upper, dot, port), path) in requests {
                let received = disguised(&host, upper, dot, port);
                let normal = Host::parse(&received).unwrap();
                for method in [Method::GET, Method::POST, Method::DELETE] {
                    let expected = oracle(&routes, &host, &path, &method);
                    let found = table.find(normal.name(), &path, &method).map(|rule| &routes[rule.id]);
                    prop_assert_eq!(found, expected, "{} {} {}", method, received, path);
                }
            }
        }
    }
}
