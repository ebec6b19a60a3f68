//! `[sessions.redis]`: which servers, and how they are spoken to.

use std::path::Path;

use url::{Host, Url};

use crate::{
    config::{
        fields::{At, Fields, quoted},
        sections::{Endpoint, Redis, RedisLogin, RedisSentinels, RedisServers},
    },
    model::Secret,
};

/// Where a server listens when nothing is said of it, and where a sentinel does.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26_379;

/// An address as it stands in the file.
struct Server {
    endpoint: Endpoint,
    tls: bool,
    database: Option<u32>,
    login: RedisLogin,
}

pub(super) fn redis(mut fields: Fields<'_, '_>) -> Option<Redis> {
    let url = url(&mut fields);
    let (sentinels, cluster) =
        (servers(&mut fields, "sentinels", SENTINEL_PORT), servers(&mut fields, "cluster", PORT));
    let master = fields.text("sentinel_master");
    let sentinel_login = login(&mut fields, "sentinel_username", "sentinel_password");
    one_of_three(&mut fields);

    let tls = url.iter().chain(sentinels.iter().flatten()).chain(cluster.iter().flatten()).any(|server| server.tls);
    let endpoints = |servers: Vec<Server>| servers.into_iter().map(|server| server.endpoint).collect();
    let written = login(&mut fields, "username", "password");
    let (servers, database, in_url) = match (url, sentinels, cluster) {
        (Some(server), _, _) => (Some(RedisServers::One(server.endpoint)), server.database, server.login),
        (_, Some(sentinels), _) => {
            let sentinel = |master: At<&str>| RedisSentinels {
                sentinels: endpoints(sentinels),
                master: master.value.to_owned(),
                login: sentinel_login,
            };
            (master.map(sentinel).map(RedisServers::Sentinel), None, RedisLogin::default())
        }
        (_, _, Some(members)) => (Some(RedisServers::Cluster(endpoints(members))), None, RedisLogin::default()),
        (None, None, None) => (None, None, RedisLogin::default()),
    };
    let default = Redis::new(RedisServers::Cluster(Vec::new()));
    let redis = Redis {
        tls,
        ca: ca(&mut fields, tls),
        login: RedisLogin {
            username: written.username.or(in_url.username),
            password: written.password.or(in_url.password),
        },
        database: database.unwrap_or(default.database),
        stale_for: fields.duration_or_zero("stale_for", default.stale_for),
        timeout: fields.duration("timeout", default.timeout),
        wait_replicas: fields.whole("wait_replicas", default.wait_replicas, 0..=100),
        connections: fields.whole("connections", default.connections, 1..=64),
        key_prefix: key_prefix(&mut fields, default.key_prefix),
        servers: servers.unwrap_or(default.servers),
    };
    let given = fields.given();
    fields.finish();
    given.then_some(redis)
}

/// The one server, the sentinels or the Cluster.
fn one_of_three(fields: &mut Fields<'_, '_>) {
    let given: Vec<_> = ["url", "sentinels", "cluster"].into_iter().filter_map(|key| fields.line_of(key)).collect();
    match given.as_slice() {
        [] if fields.given() => {
            fields.error(
                fields.line,
                "url",
                "missing; write url = \"redis://127.0.0.1:6379\", or sentinels or cluster",
            );
        }
        [.., _, line] => fields.error(*line, "url", "give one of url, sentinels and cluster"),
        _ => {}
    }
    let of_sentinels = ["sentinel_master", "sentinel_username", "sentinel_password"];
    if let Some(sentinels) = fields.line_of("sentinels") {
        if !fields.has("sentinel_master") {
            fields.error(sentinels, "sentinel_master", "missing; write sentinel_master = \"mymaster\"");
        }
        return;
    }
    for key in of_sentinels {
        if let Some(line) = fields.line_of(key) {
            fields.error(line, key, "means something only beside sentinels");
        }
    }
}

fn url(fields: &mut Fields<'_, '_>) -> Option<Server> {
    let At { line, value } = fields.text("url")?;
    match server(value, PORT) {
        Ok(server) => {
            if server.login.password.is_some() {
                let advice = "a password in the address; better password = { env = \"NAME\" } or { file = \"path\" }";
                fields.warn(line, "url", advice);
            }
            for (key, twice) in
                [("username", server.login.username.is_some()), ("password", server.login.password.is_some())]
            {
                if let Some(line) = fields.line_of(key).filter(|_| twice) {
                    fields.error(line, key, "stands in the url as well; give it once");
                }
            }
            Some(server)
        }
        Err(why) => {
            fields.error(line, "url", why);
            None
        }
    }
}

/// The addresses of a list. None in it has a login or a database of its own: all are spoken to alike.
fn servers(fields: &mut Fields<'_, '_>, key: &'static str, port: u16) -> Option<Vec<Server>> {
    let At { line, value: texts } = fields.list(key)?;
    if texts.is_empty() {
        fields.error(line, key, format!("names no server; write {key} = [\"redis://10.0.0.1:6379\"]"));
        return None;
    }
    let mut servers: Vec<Server> = Vec::new();
    for text in texts {
        match server(text.value, port) {
            Ok(server) if server.login.username.is_some() || server.login.password.is_some() => {
                fields.error(text.line, key, "has an entry with a user or password in it; they have keys of their own");
            }
            Ok(server) if server.database.is_some() => {
                fields.error(text.line, key, "has an entry with a database in it; there is only database 0 here");
            }
            Ok(server) if servers.iter().any(|other| other.endpoint == server.endpoint) => {
                let server = format!("{}:{}", server.endpoint.host, server.endpoint.port);
                fields.error(text.line, key, format!("{} is listed twice", quoted(&server)));
            }
            Ok(server) if servers.first().is_some_and(|first| first.tls != server.tls) => {
                fields.error(text.line, key, "has redis:// and rediss://; it is TLS for all or for none");
            }
            Ok(server) => servers.push(server),
            Err(why) => fields.error(text.line, key, why),
        }
    }
    Some(servers)
}

/// The address is not shown where it is refused: it may have a password in it.
fn server(text: &str, port: u16) -> Result<Server, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not an address (write redis://127.0.0.1:6379)")?;
    let tls = match url.scheme() {
        "redis" => false,
        "rediss" => true,
        _ => return Err("does not start with redis:// or rediss://"),
    };
    let host = match url.host() {
        // The scheme is none that the library knows, so what looks like an address is still a text to it.
        Some(Host::Domain(name)) if !name.is_empty() => name.to_ascii_lowercase(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        _ => return Err("has no host in it (write redis://127.0.0.1:6379)"),
    };
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a ? or # in it; write what it says as keys of this section");
    }
    let database = match url.path() {
        "" | "/" => None,
        path => {
            let number = path.trim_start_matches('/').parse::<u16>();
            Some(number.map_err(|_| "has a path that is not the number of a database")?.into())
        }
    };
    let decoded = |text: &str| percent_decoded(text).ok_or("has a user or password that is not UTF-8 when decoded");
    let username = Some(url.username()).filter(|name| !name.is_empty()).map(decoded).transpose()?;
    let password = url.password().filter(|word| !word.is_empty()).map(decoded).transpose()?.map(Secret::new);
    match url.port().unwrap_or(port) {
        0 => Err("has port 0, where nobody listens"),
        port => {
            Ok(Server { endpoint: Endpoint { host, port }, tls, database, login: RedisLogin { username, password } })
        }
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    // A form has one more escape, the plus sign for a space, which here is a plus sign.
    let escaped = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
    let (_, value) = url::form_urlencoded::parse(escaped.as_bytes()).next()?;
    (!value.contains(char::REPLACEMENT_CHARACTER)).then(|| value.into_owned())
}

fn login(fields: &mut Fields<'_, '_>, username: &'static str, password: &'static str) -> RedisLogin {
    let name = fields.text(username);
    let secret = fields.secret(password);
    if let Some(At { line, .. }) = name
        && !fields.has(password)
    {
        fields.error(line, password, format!("missing; a {username} has one"));
    }
    if let Some(At { line, value }) = name
        && (value.is_empty() || value.chars().any(|c| c.is_whitespace() || c.is_control()))
    {
        fields.error(line, username, format!("{} is not the name of a user", quoted(value)));
    }
    RedisLogin { username: name.map(|name| name.value.to_owned()), password: secret.map(|secret| secret.value) }
}

/// A file that is not there or has no certificate in it must not end in trusting those of the system.
fn ca(fields: &mut Fields<'_, '_>, tls: bool) -> Option<String> {
    let At { line, value } = fields.text("ca")?;
    if !tls {
        fields.error(line, "ca", "means something only with rediss://");
        return None;
    }
    match fields.walk.outside.file(Path::new(value)) {
        Ok(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => return Some(pem),
        Ok(_) => fields.error(line, "ca", format!("{} has no certificate in it; it is to be PEM", quoted(value))),
        Err(error) => fields.error(line, "ca", format!("{} cannot be read: {error}", quoted(value))),
    }
    None
}

/// A brace would move the part of a key that decides where in a Cluster it is.
fn key_prefix(fields: &mut Fields<'_, '_>, default: String) -> String {
    fields.parsed("key_prefix", default, |text| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
        if text.is_empty() || text.len() > 32 || !text.bytes().all(fits) {
            return Err("is not 1 to 32 letters, digits, - _ . and :".to_owned());
        }
        Ok(text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, u16, bool, Option<u32>) {
        let server = server(text, PORT).map_err(|why| format!("{text}: {why}")).unwrap();
        (server.endpoint.host, server.endpoint.port, server.tls, server.database)
    }

    #[test]
    fn an_address_is_a_host_and_perhaps_a_port_and_a_database() {
        assert_eq!(read("redis://127.0.0.1:6380"), ("127.0.0.1".to_owned(), 6380, false, None));
        assert_eq!(read("rediss://Redis.Internal/"), ("redis.internal".to_owned(), 6379, true, None));
        assert_eq!(read("redis://[::1]:7000/3"), ("::1".to_owned(), 7000, false, Some(3)));
    }

    #[test]
    fn a_login_in_an_address_is_decoded_and_not_printed() {
        let server = server("redis://gate%40way:a+b%2Fc%26@redis", PORT).unwrap();
        assert_eq!(server.login.username.as_deref(), Some("gate@way"));
        assert_eq!(server.login.password.as_ref().map(Secret::expose), Some("a+b/c&"));
        assert!(!format!("{:?}", server.login).contains("a+b"));
        let nameless = super::server("redis://:word@redis", SENTINEL_PORT).unwrap();
        assert!(nameless.login.username.is_none() && nameless.login.password.is_some());
        assert_eq!(nameless.endpoint.port, 26_379);
    }
}
