//! `[[upstreams]]`: the backends and where they listen.

use url::{Host, Url};

use super::{across::Named, assertion};
use crate::config::{
    fields::{At, Fields, quoted},
    sections::{Endpoint, Upstream},
};

pub(super) fn upstreams(root: &mut Fields<'_, '_>) -> Vec<Named<Upstream>> {
    let tables = root.tables("upstreams");
    tables.into_iter().map(|At { line, value }| upstream(root.item("upstreams", line, value))).collect()
}

fn upstream(mut fields: Fields<'_, '_>) -> Named<Upstream> {
    let name = name(&mut fields);
    let servers = servers(&mut fields);
    let default = Upstream::new(name.as_ref().map(|name| name.value.clone()).unwrap_or_default(), servers);
    let value = Upstream {
        connect_timeout: fields.duration("connect_timeout", default.connect_timeout),
        response_timeout: fields.duration("response_timeout", default.response_timeout),
        idle_timeout: fields.duration("idle_timeout", default.idle_timeout),
        max_idle: fields.whole("max_idle", default.max_idle, 0..=100_000),
        audience: fields.parsed("audience", None, |text| assertion::name(text).map(Some)),
        ..default
    };
    fields.later("health", "leave the section out");
    fields.finish();
    Named { name, value: Some(value) }
}

fn name(fields: &mut Fields<'_, '_>) -> Option<At<String>> {
    let At { line, value } = fields.required("name", "\"app\"")?;
    let fits = value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if value.is_empty() || value.len() > 64 || !fits {
        let message = format!("{} is not a name of 1 to 64 letters, digits, - _ and .", quoted(value));
        fields.error(line, "name", message);
        return None;
    }
    Some(At { line, value: value.to_owned() })
}

fn servers(fields: &mut Fields<'_, '_>) -> Vec<Endpoint> {
    if !fields.has("servers") {
        fields.error(fields.line, "servers", "missing; write servers = [\"http://127.0.0.1:3000\"]");
    }
    let Some(At { line, value: texts }) = fields.list("servers") else { return Vec::new() };
    if texts.is_empty() {
        fields.error(line, "servers", "names no server; write servers = [\"http://127.0.0.1:3000\"]");
    }
    let mut endpoints = Vec::new();
    for text in texts {
        match endpoint(text.value) {
            Ok(endpoint) if endpoints.contains(&endpoint) => {
                let server = format!("{}:{}", endpoint.host, endpoint.port);
                fields.error(text.line, "servers", format!("{} is listed twice", quoted(&server)));
            }
            Ok(endpoint) => endpoints.push(endpoint),
            Err(why) => fields.error(text.line, "servers", why),
        }
    }
    endpoints
}

/// The address is not shown where it is refused: it may have a password in it.
fn endpoint(text: &str) -> Result<Endpoint, &'static str> {
    let url = Url::parse(text).map_err(|_| "has an entry that is not a URL (write http://127.0.0.1:3000)")?;
    match url.scheme() {
        "http" => {}
        "https" => return Err("https:// is not built yet in this version; write http://"),
        _ => return Err("has an entry that does not start with http://"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has an entry with a user or password in it; send credentials another way");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("has an entry with a path; a request's own path is what the server sees");
    }
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return Err("has an entry without a host"),
    };
    match url.port_or_known_default() {
        Some(port) if port != 0 => Ok(Endpoint { host, port }),
        _ => Err("has an entry with port 0, where nobody listens"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Endpoint {
        Endpoint { host: host.to_owned(), port }
    }

    #[test]
    fn a_server_is_a_host_and_a_port() {
        assert_eq!(endpoint("http://127.0.0.1:3000"), Ok(at("127.0.0.1", 3000)));
        assert_eq!(endpoint("http://App.Internal/"), Ok(at("app.internal", 80)));
        assert_eq!(endpoint("http://[::1]:8000"), Ok(at("::1", 8000)));
    }
}
