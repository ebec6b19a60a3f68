//! `servers` of an upstream: where each listens, and how much it gets.

use std::{borrow::Cow, path::PathBuf};

use toml::de::DeValue;
use url::{Host, Url};

use crate::config::{
    fields::{At, Fields, kind, quoted},
    sections::{Endpoint, ServerAddress, UpstreamServer},
};

/// So many servers can be told apart in one word of the processor.
const MOST: usize = 64;

/// What the system takes as the path of a socket, the byte behind it included.
const LONGEST_SOCKET: usize = 107;

pub(super) fn servers(fields: &mut Fields<'_, '_>) -> Vec<UpstreamServer> {
    if !fields.has("servers") {
        fields.error(fields.line, "servers", "missing; write servers = [\"http://127.0.0.1:3000\"]");
    }
    let Some(At { line, value }) = fields.take("servers") else { return Vec::new() };
    let DeValue::Array(items) = value else {
        fields.error(line, "servers", format!("must be a list of texts, [\"…\"], not {}", kind(value)));
        return Vec::new();
    };
    if items.is_empty() {
        fields.error(line, "servers", "names no server; write servers = [\"http://127.0.0.1:3000\"]");
    }
    if items.len() > MOST {
        fields.error(line, "servers", format!("names more than {MOST} servers"));
    }
    let mut servers: Vec<UpstreamServer> = Vec::new();
    for item in items {
        let line = fields.walk.line_of(item.span().start);
        let Some(server) = server(fields, line, item.get_ref()) else { continue };
        if servers.iter().any(|other| same_place(&other.address, &server.address)) {
            let address = quoted(&server.address.to_string());
            fields.error(line, "servers", format!("{address} is listed twice"));
            continue;
        }
        servers.push(server);
    }
    servers
}

/// One server: its address, or a table with its address and its weight.
fn server<'t>(fields: &mut Fields<'_, 't>, line: usize, item: &'t DeValue<'t>) -> Option<UpstreamServer> {
    let (text, weight) = match item {
        DeValue::String(text) => (Some(text.as_ref()), 1),
        DeValue::Table(table) => {
            let mut entry = fields.inline("servers", line, table);
            let url = entry.required("url", "\"http://127.0.0.1:3000\"").map(|url| url.value);
            let weight = entry.whole("weight", 1, 1..=100);
            entry.finish();
            (url, weight)
        }
        other => {
            let wanted = "must be a list of addresses or { url = \"…\", weight = 1 }";
            fields.error(line, "servers", format!("{wanted}, but has {}", kind(other)));
            (None, 1)
        }
    };
    match address(text?) {
        Ok(address) => Some(UpstreamServer { address, weight }),
        Err(why) => {
            fields.error(line, "servers", why);
            None
        }
    }
}

/// The same port of the same host can't speak two things.
fn same_place(one: &ServerAddress, other: &ServerAddress) -> bool {
    one == other || (one.endpoint().is_some() && one.endpoint() == other.endpoint())
}

/// The address is not shown where it is refused: it may have a password in it.
fn address(text: &str) -> Result<ServerAddress, &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket(path);
    }
    let (speaking, text) = protocol(text);
    let url = Url::parse(&text).map_err(|_| "has an entry that is not a URL (write http://127.0.0.1:3000)")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("has an entry that does not start with http://, https://, h2://, h2c:// or unix:/");
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
        Some(port) if port != 0 => Ok(speaking(Endpoint { host, port })),
        _ => Err("has an entry with port 0, where nobody listens"),
    }
}

/// What is spoken, and the address as one of HTTP/1.1 would be written: only of such does the parser of URLs know what a
/// host is and which port is meant.
fn protocol(text: &str) -> (fn(Endpoint) -> ServerAddress, Cow<'_, str>) {
    let (scheme, rest) = text.split_once("://").unwrap_or((text, ""));
    match scheme.to_ascii_lowercase().as_str() {
        "h2" => (ServerAddress::Http2, format!("https://{rest}").into()),
        "h2c" => (ServerAddress::ClearHttp2, format!("http://{rest}").into()),
        "https" => (ServerAddress::Https, text.into()),
        _ => (ServerAddress::Http, text.into()),
    }
}

fn socket(path: &str) -> Result<ServerAddress, &'static str> {
    if !path.starts_with('/') || path.starts_with("//") {
        return Err("has a unix: entry without a path from the root (write unix:/run/app.sock)");
    }
    if path.len() > LONGEST_SOCKET || path.chars().any(char::is_control) {
        return Err("has a unix: entry whose path the system does not take");
    }
    Ok(ServerAddress::Unix(PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Endpoint {
        Endpoint { host: host.to_owned(), port }
    }

    #[test]
    fn a_server_is_a_host_and_a_port_or_a_socket() {
        assert_eq!(address("http://127.0.0.1:3000"), Ok(ServerAddress::Http(at("127.0.0.1", 3000))));
        assert_eq!(address("http://App.Internal/"), Ok(ServerAddress::Http(at("app.internal", 80))));
        assert_eq!(address("https://[::1]"), Ok(ServerAddress::Https(at("::1", 443))));
        assert_eq!(address("unix:/run/app.sock"), Ok(ServerAddress::Unix("/run/app.sock".into())));
        assert_eq!(address("h2://App.Internal"), Ok(ServerAddress::Http2(at("app.internal", 443))));
        assert_eq!(address("H2C://127.1:50051/"), Ok(ServerAddress::ClearHttp2(at("127.0.0.1", 50051))));
    }

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in
            ["http://127.0.0.1:3000", "https://[::1]:443", "unix:/run/app.sock", "h2://[::1]:443", "h2c://127.0.0.1:80"]
        {
            assert_eq!(address(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_path_of_a_socket_is_refused() {
        let long = format!("unix:/{}", "a".repeat(LONGEST_SOCKET));
        for text in ["unix:", "unix:app.sock", "unix://run/app.sock", "unix:/a\0b", &long] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
