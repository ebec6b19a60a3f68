//! What two parts of a file have to agree on: names that point to something, and no two things that are the same.

use std::{collections::HashMap, net::SocketAddr};

use http::Method;

use super::routes::RouteLines;
use crate::config::{
    fields::{At, Walk, quoted},
    sections::{
        Admin, App, Assertion, AvatarStorage, Avatars, HostPattern, IdentityHeaders, Internal, ListenAt, Server,
        Sessions, Upstream,
    },
    suggest::did_you_mean,
};

/// One of a list whose members have names. The name is known even where the rest is wrong, so that one mistake is not
/// reported again by everything that points to it.
pub(super) struct Named<T> {
    pub(super) name: Option<At<String>>,
    pub(super) value: Option<T>,
}

pub(super) fn listeners(walk: &mut Walk<'_>, server: &At<Server>, admin: &At<Admin>, internal: Option<&At<Internal>>) {
    let listeners = server.value.all_listeners();
    let operators = admin.value.listen;
    if let Some(public) = listeners.iter().filter_map(|listener| listener.listen.addr()).find(|at| meet(*at, operators))
    {
        // The section that the file has is the one to point to; a default has no line.
        let line = if admin.line > 1 { admin.line } else { server.line };
        let message = format!("{operators} is where the public listens too ({public}); give it a port of its own");
        walk.error(line, "admin.listen", message);
    }
    let Some(At { line, value: internal }) = internal else { return };
    let is_taken = |other: &ListenAt| match (other.addr(), internal.listen.addr()) {
        (Some(other), Some(own)) => meet(other, own),
        _ => *other == internal.listen,
    };
    let others = listeners.into_iter().map(|listener| (listener.listen, "the public listens"));
    let others = others.chain([(ListenAt::Tcp(operators), "operators are listened to")]);
    for (other, who) in others.filter(|(other, _)| is_taken(other)).take(1) {
        let own = &internal.listen;
        walk.error(*line, "internal.listen", format!("{own} is where {who} too ({other}); give it a place of its own"));
    }
    if internal.token.is_some() && internal.token == admin.value.token {
        walk.error(*line, "internal.token", "is the admin token too: backends would be operators; make another");
    }
}

/// Whether two listeners would want the same address.
fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    let ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && ip
}

pub(super) fn apps(walk: &mut Walk<'_>, apps: &[Named<App>]) {
    present(walk, apps.len(), "apps", "there must be at least one [[apps]]");
    unique(walk, "apps.app_id", apps.iter().filter_map(|app| app.name.as_ref()));
}

pub(super) fn upstreams(walk: &mut Walk<'_>, upstreams: &[Named<Upstream>], routes: &[RouteLines]) {
    present(walk, upstreams.len(), "upstreams", "there must be at least one [[upstreams]]");
    unique(walk, "upstreams.name", upstreams.iter().filter_map(|upstream| upstream.name.as_ref()));
    for At { line, value } in upstreams.iter().filter_map(|upstream| upstream.name.as_ref()) {
        let led_to = |route: &RouteLines| route.upstream.as_ref().is_some_and(|to| to.value == *value);
        if !routes.iter().any(led_to) {
            walk.warn(*line, "upstreams.name", format!("no route leads to {}", quoted(value)));
        }
    }
}

/// What is meant for one upstream must not be good for another: who receives it there could show it here.
pub(super) fn audiences(walk: &mut Walk<'_>, upstreams: &[Named<Upstream>], signed: bool) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let known = upstreams.iter().filter_map(|upstream| Some((upstream.name.as_ref()?.line, upstream.value.as_ref()?)));
    for (line, upstream) in known {
        if !signed && upstream.audience.is_some() {
            walk.warn(line, "upstreams.audience", "means something only with [identity.assertion]");
        }
        if let Some(first) = seen.insert(upstream.audience(), line).filter(|_| signed) {
            let message = format!(
                "{} is that of line {first} too: either could pass an assertion on to the other",
                quoted(upstream.audience())
            );
            walk.warn(line, "upstreams.audience", message);
        }
    }
}

pub(super) fn routes(walk: &mut Walk<'_>, apps: &[Named<App>], upstreams: &[Named<Upstream>], routes: &[RouteLines]) {
    present(walk, routes.len(), "routes", "there must be at least one [[routes]]");
    let app_ids = names(apps);
    let upstream_names = names(upstreams);
    for route in routes {
        if let Some(At { line, value }) = &route.upstream {
            points_to(walk, *line, "routes.upstream", value, "upstream", upstream_names.as_deref());
        }
        websocket(walk, route, upstreams);
        for At { line, value } in &route.apps {
            points_to(walk, *line, "routes.apps", value.as_str(), "app", app_ids.as_deref());
        }
    }
    no_ties(walk, routes);
}

/// A folder is one instance's own.
pub(super) fn pictures(walk: &mut Walk<'_>, line: usize, avatars: Option<&Avatars>, sessions: &Sessions) {
    let in_a_folder = avatars.is_some_and(|avatars| matches!(avatars.storage, AvatarStorage::Folder(_)));
    if in_a_folder && sessions.redis.is_some() {
        let message =
            "what is uploaded to one instance is missing at the others; where there are several, write [avatars.s3]";
        walk.warn(line, "avatars", message);
    }
}

/// A name that only we may use comes from nobody, so no token can come under it.
pub(super) fn token_headers(
    walk: &mut Walk<'_>,
    names: &IdentityHeaders,
    signed: Option<&Assertion>,
    routes: &[RouteLines],
) {
    let ours = [&names.openid, &names.app_id, &names.unionid, &names.phone]
        .into_iter()
        .chain(signed.map(|signed| &signed.header));
    let ours = ours.collect::<Vec<_>>();
    for route in routes {
        if let Some(name) = route.route.token_header.as_ref().filter(|name| ours.contains(name)) {
            let message = format!("{} is a header of [identity]; choose another", quoted(name.as_str()));
            walk.error(route.line, "routes.token_header", message);
        }
    }
}

fn present(walk: &mut Walk<'_>, count: usize, key: &str, message: &str) {
    // A section of the wrong kind has been reported, and is not missing as well.
    if count == 0 && !walk.errors.iter().any(|finding| finding.key == key) {
        walk.error(1, key, message);
    }
}

fn unique<'a>(walk: &mut Walk<'_>, key: &str, names: impl Iterator<Item = &'a At<String>>) {
    let mut seen = HashMap::new();
    for At { line, value } in names {
        if let Some(first) = seen.insert(value, *line) {
            walk.error(*line, key, format!("{} is taken by line {first}", quoted(value)));
        }
    }
}

/// The names of a list; none where one can't be read, or the list is missing: then nobody can say which is unknown.
fn names<T>(list: &[Named<T>]) -> Option<Vec<&str>> {
    let names: Option<Vec<&str>> = list.iter().map(|item| Some(item.name.as_ref()?.value.as_str())).collect();
    names.filter(|names| !names.is_empty())
}

fn points_to(walk: &mut Walk<'_>, line: usize, key: &str, name: &str, what: &str, known: Option<&[&str]>) {
    let Some(known) = known else { return };
    if !known.contains(&name) {
        let suggestion = did_you_mean(name, known.iter().copied());
        walk.error(line, key, format!("there is no {what} {}{suggestion}", quoted(name)));
    }
}

/// An upgrade is something of HTTP/1.1.
fn websocket(walk: &mut Walk<'_>, route: &RouteLines, upstreams: &[Named<Upstream>]) {
    let Some(to) = route.upstream.as_ref().filter(|_| route.route.websocket) else { return };
    let named = |upstream: &&Upstream| upstream.name == to.value;
    let Some(upstream) = upstreams.iter().filter_map(|upstream| upstream.value.as_ref()).find(named) else { return };
    if let Some(server) = upstream.servers.iter().find(|server| server.address.is_http2()) {
        let message = format!("means nothing to {}, which speaks HTTP/2", quoted(&server.address.to_string()));
        walk.error(route.line, "routes.websocket", message);
    }
}

/// Two routes that a request could fit equally well leave it to chance who may pass.
fn no_ties(walk: &mut Walk<'_>, routes: &[RouteLines]) {
    let mut seen: HashMap<(Option<&HostPattern>, &str), Vec<&RouteLines>> = HashMap::new();
    for route in routes.iter().filter(|route| route.comparable) {
        let path = route.route.path.trim_end_matches('/');
        let alike = seen.entry((route.route.host.as_ref(), path)).or_default();
        let ties = |first: &&&RouteLines| overlap(first.route.methods.as_deref(), route.route.methods.as_deref());
        if let Some(first) = alike.iter().find(ties) {
            let message = format!("matches the same requests as the route on line {}", first.line);
            walk.error(route.line, "routes.path", message);
        }
        alike.push(route);
    }
}

fn overlap(one: Option<&[Method]>, other: Option<&[Method]>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.iter().any(|method| other.contains(method)),
        _ => true,
    }
}
