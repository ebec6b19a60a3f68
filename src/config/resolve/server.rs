//! `[server]` and `[admin]`: listeners and what they put up with.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::{http2, listeners, tls};
use crate::{
    config::{
        fields::{At, Fields, quoted},
        sections::{Admin, ListenAt, Listener, Server, UnderscoreHeaders},
    },
    model::Secret,
};

const KIB: u64 = 1024;
const UNDERSCORES: [(&str, UnderscoreHeaders); 3] =
    [("drop", UnderscoreHeaders::Drop), ("reject", UnderscoreHeaders::Reject), ("keep", UnderscoreHeaders::Keep)];

/// A token shorter than this can be guessed by trying.
pub(super) const LEAST_KEY_BYTES: usize = 16;

/// The section, with the line of its `listen`.
pub(super) fn server(mut fields: Fields<'_, '_>) -> At<Server> {
    let default = Server::default();
    let At { line, value: listen } = listeners::listen(&mut fields, default.listen);
    let trusted_proxies = trusted_proxies(&mut fields);
    let others = listeners::listeners(&mut fields, &trusted_proxies);
    none_twice(&mut fields, &listen, &others);
    let (max_header_bytes, max_uri_bytes) = head_sizes(&mut fields, default.max_header_bytes, default.max_uri_bytes);
    let places = listen.iter().map(|at| &at.value);
    let proxy_protocol = listeners::proxy_protocol(&mut fields, places, &trusted_proxies);
    let value = Server {
        listen: listen.into_iter().map(|at| at.value).collect(),
        listeners: others.into_iter().map(|at| at.value).collect(),
        socket_mode: socket_mode(&mut fields, default.socket_mode),
        tls: tls::tls(fields.section("tls")),
        http2: http2::http2(fields.section("http2")),
        workers: fields.whole("workers", default.workers, 0..=1024),
        max_connections: fields.whole("max_connections", default.max_connections, 1..=10_000_000),
        header_timeout: fields.duration("header_timeout", default.header_timeout),
        body_timeout: fields.duration("body_timeout", default.body_timeout),
        keepalive_timeout: fields.duration("keepalive_timeout", default.keepalive_timeout),
        write_timeout: fields.duration("write_timeout", default.write_timeout),
        max_header_bytes,
        max_headers: fields.whole("max_headers", default.max_headers, 1..=1000),
        max_uri_bytes,
        max_body: fields.size("max_body", default.max_body, 1..=1 << 40, "between 1 byte and 1TiB"),
        drain_timeout: fields.duration("drain_timeout", default.drain_timeout),
        drain_idle: fields.duration_or_zero("drain_idle", default.drain_idle),
        proxy_protocol,
        trusted_proxies,
        underscore_headers: fields.choice("underscore_headers", default.underscore_headers, &UNDERSCORES),
        watch: fields.duration_or_zero("watch", default.watch),
    };
    who_is_local(&mut fields, line, &value);
    fields.finish();
    At { line, value }
}

/// The section, with the line of its `listen`.
pub(super) fn admin(mut fields: Fields<'_, '_>) -> At<Admin> {
    let default = Admin::default();
    let given = fields.text("listen");
    let listen = match &given {
        Some(text) => address(&mut fields, text).unwrap_or(default.listen),
        None => default.listen,
    };
    let hosts = hosts(&mut fields);
    let token = token(&mut fields);
    let line = given.map_or(fields.line, |text| text.line);
    if !listen.ip().is_loopback() {
        let advice = "operators are answered without TLS, and /metrics, /healthz and /readyz without a token; let nobody else reach it";
        fields.warn(line, "listen", advice);
    }
    fields.finish();
    At { line, value: Admin { listen, hosts, token } }
}

/// What is shown in `Authorization`.
pub(super) fn token(fields: &mut Fields<'_, '_>) -> Option<Secret> {
    let At { line, value } = fields.secret("token")?;
    if value.expose().len() < LEAST_KEY_BYTES {
        fields.error(line, "token", format!("the secret is shorter than {LEAST_KEY_BYTES} bytes"));
    } else if !value.expose().bytes().all(|b| b.is_ascii_graphic()) {
        fields.error(line, "token", "the secret has a character in it that no Authorization header can carry");
    }
    Some(value)
}

/// Names as they come in a `Host`, in lower case.
pub(super) fn hosts(fields: &mut Fields<'_, '_>) -> Vec<String> {
    let Some(At { value: texts, .. }) = fields.list("hosts") else { return Vec::new() };
    let mut hosts = Vec::new();
    for text in texts {
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if text.value.is_empty() || !text.value.bytes().all(is_name) {
            let message = format!("{} is not a host name (write wxgate.internal, without a port)", quoted(text.value));
            fields.error(text.line, "hosts", message);
            continue;
        }
        hosts.push(text.value.to_ascii_lowercase());
    }
    hosts
}

/// No place is listened at twice, whichever list it stands in.
fn none_twice(fields: &mut Fields<'_, '_>, listen: &[At<ListenAt>], others: &[At<Listener>]) {
    let others: Vec<_> = others.iter().map(|at| At { line: at.line, value: at.value.listen.clone() }).collect();
    let places = listen.iter().map(|at| ("server.listen", at));
    let places: Vec<_> = places.chain(others.iter().map(|at| ("server.listeners.listen", at))).collect();
    listeners::none_twice(fields.walk, &places);
}

/// Whoever comes by a Unix socket has the address of this machine, and so all of its clients do, unless it is believed
/// what it says of them.
fn who_is_local(fields: &mut Fields<'_, '_>, line: usize, server: &Server) {
    let unix = server.all_listeners().iter().any(|listener| matches!(listener.listen, ListenAt::Unix(_)));
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    if unix && !server.trusted_proxies.iter().any(|net| net.contains(&here)) {
        let advice = "all that come by a Unix socket count as 127.0.0.1; with \"127.0.0.1\" in server.trusted_proxies, what \
                      stands in front may tell them apart";
        fields.warn(line, "listen", advice);
    }
}

/// Three or four octal digits, as chmod takes them.
pub(super) fn socket_mode(fields: &mut Fields<'_, '_>, default: u32) -> u32 {
    fields.parsed("socket_mode", default, |text| {
        let digits = text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
        mode.ok_or_else(|| "is not the mode of a file (write 0660)".to_owned())
    })
}

fn address(fields: &mut Fields<'_, '_>, text: &At<&str>) -> Option<SocketAddr> {
    let address = text.value.parse().ok();
    if address.is_none() {
        let message = format!("{} is not an address with a port (write 127.0.0.1:8080)", quoted(text.value));
        fields.error(text.line, "listen", message);
    }
    address
}

fn head_sizes(fields: &mut Fields<'_, '_>, header: usize, uri: usize) -> (usize, usize) {
    let bytes = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    let count = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    let header = fields.size("max_header_bytes", bytes(header), KIB..=KIB * KIB, "between 1KiB and 1MiB");
    let given = fields.line_of("max_uri_bytes");
    // Where only the headers' limit is lowered, the target's follows it down.
    let uri = if given.is_some() { bytes(uri) } else { bytes(uri).min(header) };
    let uri = fields.size("max_uri_bytes", uri, 1..=KIB * KIB, "between 1 byte and 1MiB");
    if uri > header {
        let line = given.unwrap_or(fields.line);
        fields.error(line, "max_uri_bytes", "is more than server.max_header_bytes, which holds the target too");
    }
    (count(header), count(uri))
}

fn trusted_proxies(fields: &mut Fields<'_, '_>) -> Vec<IpNet> {
    let Some(At { value: texts, .. }) = fields.list("trusted_proxies") else { return Vec::new() };
    let mut nets = Vec::new();
    for text in texts {
        let net = text.value.parse::<IpNet>().or_else(|_| text.value.parse::<IpAddr>().map(IpNet::from));
        let Ok(net) = net else {
            let message = format!("{} is not a network (write 10.0.0.0/8 or 10.0.0.1)", quoted(text.value));
            fields.error(text.line, "trusted_proxies", message);
            continue;
        };
        if net.prefix_len() == 0 {
            let message = format!("{} believes everybody's X-Forwarded-For", quoted(text.value));
            fields.warn(text.line, "trusted_proxies", message);
        }
        nets.push(net);
    }
    nets
}
