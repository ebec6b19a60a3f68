//! `server.listen` and `[[server.listeners]]`: where the public listens, and what is spoken there.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use ipnet::IpNet;

use crate::config::{
    fields::{At, Fields, Walk, quoted},
    sections::{ListenAt, Listener, Speaks},
};

/// The path of a Unix socket has to fit into the kernel's `sun_path`, with a zero behind it.
const LONGEST_PATH: usize = 107;

/// The port of https where nothing is said of it.
const HTTPS: usize = 443;

/// The list, with its line.
pub(super) fn listen(fields: &mut Fields<'_, '_>, default: Vec<ListenAt>) -> At<Vec<At<ListenAt>>> {
    let Some(At { line, value: texts }) = fields.list("listen") else {
        let line = fields.line;
        return At { line, value: default.into_iter().map(|value| At { line, value }).collect() };
    };
    if texts.is_empty() && !fields.has("listeners") {
        fields.error(line, "listen", "names no address; leave the key out for 0.0.0.0:8080");
    }
    let value = texts.iter().filter_map(|text| place(fields, text)).collect();
    At { line, value }
}

/// Each further listener with the line of its place.
pub(super) fn listeners(fields: &mut Fields<'_, '_>, trusted: &[IpNet]) -> Vec<At<Listener>> {
    let tables = fields.tables("listeners");
    let has_tls = fields.has("tls");
    tables
        .into_iter()
        .filter_map(|At { line, value }| {
            let mut item = fields.item("server.listeners", line, value);
            let listener = listener(&mut item, has_tls, trusted);
            item.finish();
            listener
        })
        .collect()
}

fn listener(fields: &mut Fields<'_, '_>, has_tls: bool, trusted: &[IpNet]) -> Option<At<Listener>> {
    let listen = fields.required("listen", "\"0.0.0.0:80\"").and_then(|text| place(fields, &text));
    let tls = fields.boolean("tls", false);
    let redirect = fields.boolean("redirect", false);
    let place = listen.as_ref().map(|at| &at.value);
    let proxy_protocol = proxy_protocol(fields, place.into_iter(), trusted);
    let port = fields.whole("redirect_port", HTTPS, 1..=usize::from(u16::MAX));
    let port = u16::try_from(port).unwrap_or(u16::MAX);
    for (key, wanted) in [("tls", tls), ("redirect", redirect)] {
        if let (true, false, Some(line)) = (wanted, has_tls, fields.line_of(key)) {
            fields.error(line, key, "needs a certificate; write [server.tls]");
        }
    }
    let speaks = match (tls, redirect) {
        (true, true) => {
            let line = fields.line_of("redirect").unwrap_or(fields.line);
            fields.error(line, "redirect", "who has come over TLS need not be sent there; leave out tls or redirect");
            return None;
        }
        (true, false) => Speaks::Https,
        (false, true) => Speaks::Redirect(port),
        (false, false) => Speaks::Http,
    };
    let At { line, value: listen } = listen?;
    Some(At { line, value: Listener { listen, speaks, proxy_protocol } })
}

/// Whether a PROXY header comes first at these places. It is a client's word for who the client is, so somebody has to be
/// believed, and somebody who can come there.
pub(super) fn proxy_protocol<'l>(
    fields: &mut Fields<'_, '_>,
    mut places: impl Iterator<Item = &'l ListenAt>,
    trusted: &[IpNet],
) -> bool {
    let key = "proxy_protocol";
    let wanted = fields.boolean(key, false);
    let line = fields.line_of(key).unwrap_or(fields.line);
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    if wanted && trusted.is_empty() {
        fields.error(line, key, "needs somebody to be believed; write the load balancers into server.trusted_proxies");
    } else if wanted
        && places.any(|place| matches!(place, ListenAt::Unix(_)))
        && !trusted.iter().any(|net| net.contains(&here))
    {
        let message = "all that come by a Unix socket count as 127.0.0.1, and it is not in server.trusted_proxies";
        fields.error(line, key, message);
    }
    wanted
}

/// Refuses a place that is listed twice. Port 0 is a free port, another one each time.
pub(super) fn none_twice(walk: &mut Walk<'_>, listed: &[(&str, &At<ListenAt>)]) {
    for (at, (key, place)) in listed.iter().enumerate() {
        let is_any = place.value.addr().is_some_and(|addr| addr.port() == 0);
        if !is_any && listed[..at].iter().any(|(_, other)| other.value == place.value) {
            walk.error(place.line, *key, format!("{} is listed twice", quoted(&place.value.to_string())));
        }
    }
}

/// A place as the file has it.
pub(super) fn place(fields: &mut Fields<'_, '_>, text: &At<&str>) -> Option<At<ListenAt>> {
    let At { line, value } = *text;
    let read = if let Some(path) = value.strip_prefix("unix:") {
        let At { value: path, .. } = fields.place(&At { line, value: path });
        unix(&path)
    } else if let Some(name) = value.strip_prefix("systemd:") {
        systemd(name)
    } else {
        let why = "is not an address with a port (write 127.0.0.1:8080), unix:/path or systemd:name";
        value.parse().map(ListenAt::Tcp).map_err(|_| why.to_owned())
    };
    match read {
        Ok(value) => Some(At { line, value }),
        Err(why) => {
            fields.error(line, "listen", format!("{} {why}", quoted(value)));
            None
        }
    }
}

fn unix(path: &Path) -> Result<ListenAt, String> {
    if path.file_name().is_none() {
        return Err("is not the path of a file".to_owned());
    }
    if path.as_os_str().len() > LONGEST_PATH {
        return Err(format!("is longer than the {LONGEST_PATH} bytes that the path of a Unix socket may have"));
    }
    Ok(ListenAt::Unix(path.to_owned()))
}

fn systemd(name: &str) -> Result<ListenAt, String> {
    // systemd.socket(5): what FileDescriptorName= may be.
    if !(1..=255).contains(&name.len()) || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
        return Err("is not a name that systemd gives to sockets (write systemd:wxgate.socket)".to_owned());
    }
    Ok(ListenAt::Systemd(name.to_owned()))
}
