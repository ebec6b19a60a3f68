//! `wxgate check`: validates the configuration and says what the gateway would do with it.

use std::{
    cmp::Reverse,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use bytesize::ByteSize;
use clap::Args;

use super::{Unusable, diff};
use crate::{
    app,
    config::{
        Change, Config, Loaded, load,
        sections::{
            AuthRule, AvatarStorage, Avatars, HostPattern, Limits, Listener, NewestSealKey, PlatformKind, Route,
            Sessions, Speaks, Tls, TlsVersion, Upstream,
        },
    },
    model::{Clock, SigningKey, SystemClock, Timestamp},
    routing::own_paths,
    session::Stay,
};

/// What to say of it.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Say instead what would change for a gateway that runs this file, and what of it needs a restart
    #[arg(long, value_name = "RUNNING")]
    pub diff: Option<PathBuf>,
}

/// Prints the configuration as understood; a wrong one is the error, with every fault on a line of its own.
pub fn run(config: &Path, args: &CheckArgs) -> anyhow::Result<()> {
    let loaded = load(config)?;
    app::rehearse(&loaded.config).map_err(|why| Unusable(config.to_owned(), why))?;
    if let Some(running) = &args.diff {
        let change = Change::between(&load(running)?.config, loaded.config);
        diff::describe(&mut io::stdout().lock(), &change)?;
        return Ok(());
    }
    describe(&mut io::stdout().lock(), &config.display().to_string(), &loaded, SystemClock.now())?;
    Ok(())
}

/// Writes what a gateway with this configuration would do at this moment. No secret is part of it.
pub fn describe(out: &mut dyn Write, file_name: &str, loaded: &Loaded, now: Timestamp) -> io::Result<()> {
    let Loaded { config, warnings, .. } = loaded;
    writeln!(out, "{file_name} is valid\n")?;
    listeners(out, config, now)?;
    apps(out, config)?;
    sessions_and_limits(out, config)?;
    avatars(out, config)?;
    identity(out, config)?;
    routes(out, config)?;
    if !warnings.is_empty() {
        writeln!(out, "\nwarnings")?;
    }
    for warning in warnings {
        writeln!(out, "  {}", warning.in_file(file_name))?;
    }
    Ok(())
}

fn listeners(out: &mut dyn Write, config: &Config, now: Timestamp) -> io::Result<()> {
    let all = config.server.all_listeners();
    let (listed, others) = all.split_at(config.server.listen.len());
    let listed: Vec<String> = listed.iter().map(listener).collect();
    let lines = Some(listed.join(", ")).filter(|line| !line.is_empty()).into_iter().chain(others.iter().map(listener));
    let operators = match config.admin.token {
        Some(_) => "with a token",
        None => "without a token: only /healthz, /readyz and /metrics",
    };
    writeln!(out, "listens    {}", lines.collect::<Vec<_>>().join("\n           "))?;
    if let Some(tls) = &config.server.tls {
        certificates(out, tls, now)?;
    }
    writeln!(out, "answers    {} itself", own_paths(config).join(", "))?;
    writeln!(out, "operators  {}, {operators}", config.admin.listen)?;
    names(out, &config.admin.hosts)?;
    if let Some(webhook) = &config.webhook {
        // Its path and query may be secrets.
        writeln!(out, "tells      {} of changes of profiles", webhook.url.origin().ascii_serialization())?;
    }
    let Some(internal) = &config.internal else { return Ok(()) };
    let tls = if internal.tls.is_some() { " with TLS" } else { "" };
    let proof = match (&internal.token, internal.asks_for_certificates()) {
        (Some(_), true) => "with a token and a certificate",
        (Some(_), false) => "with a token",
        (None, _) => "with a certificate",
    };
    writeln!(out, "backends   {}{tls}, {proof}", internal.listen)?;
    names(out, &internal.hosts)
}

/// Further names of a listener.
fn names(out: &mut dyn Write, hosts: &[String]) -> io::Result<()> {
    if hosts.is_empty() { Ok(()) } else { writeln!(out, "           also under the name {}", hosts.join(" or ")) }
}

fn listener(listener: &Listener) -> String {
    let behind = if listener.proxy_protocol { " behind a PROXY header" } else { "" };
    let listen = format!("{}{behind}", listener.listen);
    match listener.speaks {
        Speaks::Http => listen,
        Speaks::Https => format!("{listen} with TLS"),
        Speaks::Redirect(port) => format!("{listen}, which sends everybody to https on port {port}"),
    }
}

fn certificates(out: &mut dyn Write, tls: &Tls, now: Timestamp) -> io::Result<()> {
    let version = match tls.min_version {
        TlsVersion::Tls12 => "1.2 and 1.3",
        TlsVersion::Tls13 => "1.3",
    };
    let whom = if tls.strict_sni { "those who ask for a name that a certificate is for" } else { "everybody" };
    writeln!(out, "speaks     TLS {version} with {whom}")?;
    for files in &tls.certificates {
        let certificate = &files.certificate;
        let days = certificate.not_after().since(now).as_secs() / (24 * 60 * 60);
        let until = match (certificate.is_valid_at(now), certificate.not_after() > now) {
            (true, _) => format!("valid for {days} more days"),
            (false, true) => "NOT VALID YET".to_owned(),
            (false, false) => "EXPIRED".to_owned(),
        };
        writeln!(out, "           {} for {}; {until}", files.cert.display(), certificate.names().join(", "))?;
    }
    Ok(())
}

fn apps(out: &mut dyn Write, config: &Config) -> io::Result<()> {
    writeln!(out, "\napps")?;
    for app in &config.apps {
        let host = app.api_base.host_str().unwrap_or_default();
        let platform = match app.platform {
            PlatformKind::WeChat => String::new(),
            PlatformKind::Douyin => format!(" as one of {}'s", app.platform.word()),
        };
        let secrets = if app.other_secret.is_some() { ", with one secret or the other" } else { "" };
        writeln!(out, "  {}, known to {}://{host}{platform}{secrets}", app.app_id, app.api_base.scheme())?;
        if [app.idle, app.lifetime] != [None; 2] || app.per_user.is_some() {
            let stay = Stay::in_app(app, &config.sessions);
            writeln!(out, "      its sessions {}", stays(&stay))?;
        }
    }
    Ok(())
}

fn stays(stay: &Stay) -> String {
    let per_user = match stay.per_user {
        0 => "any number of them per user".to_owned(),
        most => format!("the newest {most} of a user stay"),
    };
    let (idle, lifetime) = (time(stay.terms.idle), time(stay.terms.lifetime));
    format!("end {idle} after their last use, {lifetime} after login; {per_user}")
}

fn sessions_and_limits(out: &mut dyn Write, config: &Config) -> io::Result<()> {
    let (sessions, server, limits) = (&config.sessions, &config.server, &config.limits);
    writeln!(out, "\nsessions   {}", stays(&Stay::usual(sessions)))?;
    writeln!(out, "           {} of them in memory; {}", sessions.capacity, rest(sessions))?;
    writeln!(out, "logins     {} from one address, {} at once", limits.verify_per_ip, limits.verify_in_flight)?;
    let changes = limits.profile_per_user;
    writeln!(out, "profiles   {} changes per {} by one user", changes.count, time(changes.per))?;
    writeln!(out, "limits     {}", whose(limits))?;
    let connections = server.max_connections;
    let (head, target) = (bytes(server.max_header_bytes), bytes(server.max_uri_bytes));
    let body = ByteSize::b(server.max_body).display().iec();
    writeln!(out, "requests   head {head}, target {target}, {} headers, body {body}", server.max_headers)?;
    writeln!(out, "           on {connections} connections")?;
    let proxies: Vec<String> = server.trusted_proxies.iter().map(ToString::to_string).collect();
    let believed = if proxies.is_empty() { "nobody".to_owned() } else { proxies.join(", ") };
    writeln!(out, "believes   the X-Forwarded-For of {believed}")
}

/// What is one address to a limit.
fn whose(limits: &Limits) -> String {
    format!("take a /{} of IPv6 for one address", limits.ipv6_prefix)
}

/// Where sessions are kept beyond memory.
fn rest(sessions: &Sessions) -> String {
    let key = match sessions.seal.as_ref().map(|seal| &seal.key) {
        Some(NewestSealKey::ToBeMade(path)) => format!("the key {} that the first start makes", path.display()),
        _ => "the key of [sessions.seal]".to_owned(),
    };
    match (&sessions.snapshot, &sessions.redis) {
        (Some(snapshot), _) => {
            format!("all of them in {}\n           and their session_keys sealed with {key}", snapshot.path.display())
        }
        (None, Some(_)) => format!("all of them in Redis\n           and their session_keys sealed with {key}"),
        (None, None) => "a restart ends all".to_owned(),
    }
}

fn avatars(out: &mut dyn Write, config: &Config) -> io::Result<()> {
    let Some(avatars) = &config.avatars else { return Ok(()) };
    let Avatars { size, max_pixels, public_url, .. } = avatars;
    let body = ByteSize::b(avatars.max_body).display().iec();
    let place = match &avatars.storage {
        AvatarStorage::Folder(path) => path.display().to_string(),
        AvatarStorage::S3(s3) => format!("the bucket {} at {}", s3.bucket, s3.endpoint.origin().ascii_serialization()),
    };
    writeln!(out, "avatars    up to {body} and {max_pixels} pixels, kept as {size}x{size} at most in {place}")?;
    writeln!(out, "           and shown at {public_url}{}/avatars/", config.api.prefix)
}

fn identity(out: &mut dyn Write, config: &Config) -> io::Result<()> {
    let names = &config.identity;
    writeln!(out, "upstreams  see {}, {} and {}", names.openid, names.app_id, names.unionid)?;
    if config.routes.iter().any(|route| route.forward_phone) {
        writeln!(out, "           and, where their route says so, {}", names.phone)?;
    }
    let Some(assertion) = &config.assertion else { return Ok(()) };
    let (header, issuer, ttl) = (&assertion.header, &assertion.issuer, time(assertion.ttl));
    writeln!(out, "signs      who calls, in {header} as {issuer}, for {ttl} at most")?;
    for upstream in &config.upstreams {
        writeln!(out, "           meant for {} where {} is the upstream", upstream.audience(), upstream.name)?;
    }
    writeln!(out, "           with the key {}", key(&assertion.key))?;
    for other in &assertion.other_keys {
        writeln!(out, "           and publishes {} too", key(other))?;
    }
    Ok(())
}

/// A key by its public name.
fn key(key: &SigningKey) -> String {
    format!("{} ({})", key.kid(), key.algorithm())
}

fn routes(out: &mut dyn Write, config: &Config) -> io::Result<()> {
    writeln!(out, "\nroutes, in the order they are tried")?;
    let mut routes: Vec<&Route> = config.routes.iter().collect();
    routes.sort_by_key(|route| rank(route));
    for route in routes {
        let methods = match &route.methods {
            None => "every method".to_owned(),
            Some(methods) => methods.iter().map(http::Method::as_str).collect::<Vec<_>>().join(" "),
        };
        writeln!(out, "  {}{}  {methods}", host(route.host.as_ref()), route.path)?;
        writeln!(out, "      {}", policy(route))?;
        if let Some(carriers) = carriers(route) {
            writeln!(out, "      its token also in {carriers}")?;
        }
        if let Some(limits) = limits(route) {
            writeln!(out, "      at most {limits}")?;
        }
        writeln!(out, "      to {}", target(route, &config.upstreams))?;
    }
    Ok(())
}

/// The longest path comes first, then a host before a wildcard (the longer one first) before any host.
fn rank(route: &Route) -> (Reverse<usize>, u8, Reverse<usize>) {
    let (kind, length) = match &route.host {
        Some(HostPattern::Exact(name)) => (0, name.len()),
        Some(HostPattern::Suffix(name)) => (1, name.len()),
        None => (2, 0),
    };
    (Reverse(route.path.trim_end_matches('/').len()), kind, Reverse(length))
}

fn host(host: Option<&HostPattern>) -> String {
    match host {
        Some(HostPattern::Exact(name)) => name.clone(),
        Some(HostPattern::Suffix(name)) => format!("*{name}"),
        None => "any host ".to_owned(),
    }
}

fn policy(route: &Route) -> String {
    let whose = match &route.apps {
        None => "any app".to_owned(),
        Some(apps) => apps.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "),
    };
    let mut policy = match route.auth {
        AuthRule::Required => format!("auth required: a session of {whose}"),
        AuthRule::Optional => format!("auth optional: a session of {whose}, or anonymous"),
        AuthRule::None => "auth none: always anonymous".to_owned(),
    };
    let exceptions = [
        (route.forward_token, "the upstream sees the token"),
        (route.forward_phone, "the upstream sees the phone number"),
        (route.allow_encoded_slash, "%2f passes"),
        (route.allow_semicolon, "; passes"),
    ];
    for (_, exception) in exceptions.iter().filter(|(set, _)| *set) {
        policy.push_str("; ");
        policy.push_str(exception);
    }
    policy
}

/// Where the session token may come in beside `Authorization`.
fn carriers(route: &Route) -> Option<String> {
    let header = route.token_header.as_ref().map(|name| format!("the header {name}"));
    let query = route.token_query.as_ref().map(|name| format!("the query's {name}"));
    let subprotocol = route.token_subprotocol.then(|| "a WebSocket's subprotocols".to_owned());
    let carriers: Vec<String> = header.into_iter().chain(query).chain(subprotocol).collect();
    (!carriers.is_empty()).then(|| carriers.join(", "))
}

fn limits(route: &Route) -> Option<String> {
    let address = route.limit_per_ip.map(|rate| format!("{rate} from one address"));
    let user = route.limit_per_user.map(|rate| format!("{rate} of one user"));
    let sockets = route.websocket_per_user.map(|most| format!("{most} WebSockets of one user at once"));
    let limits: Vec<String> = address.into_iter().chain(user).chain(sockets).collect();
    (!limits.is_empty()).then(|| limits.join(", "))
}

fn target(route: &Route, upstreams: &[Upstream]) -> String {
    let servers = upstreams.iter().filter(|upstream| upstream.name == route.upstream).flat_map(|up| &up.servers);
    let servers: Vec<String> = servers
        .map(|server| match server.weight {
            1 => server.address.to_string(),
            weight => format!("{} (weight {weight})", server.address),
        })
        .collect();
    let strip = if route.strip_prefix { ", path cut off" } else { "" };
    format!("{} at {}{strip}", route.upstream, servers.join(", "))
}

fn time(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn bytes(size: usize) -> String {
    ByteSize::b(u64::try_from(size).unwrap_or(u64::MAX)).display().iec().to_string()
}
