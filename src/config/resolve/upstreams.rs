//! `[[upstreams]]`: the backends, and how they are treated.

use std::path::Path;

use super::{across::Named, assertion, servers::servers};
use crate::{
    config::{
        fields::{At, Fields, quoted},
        paths::canonical,
        sections::{Balance, ClientCertificate, Ejection, HealthChecks, Retry, StatusPattern, Upstream, UpstreamTls},
    },
    model::Secret,
};

const BALANCES: [(&str, Balance); 3] = [
    ("least_outstanding", Balance::LeastOutstanding),
    ("round_robin", Balance::RoundRobin),
    ("hash_openid", Balance::HashOpenid),
];

/// What most sums of counts stay far below.
const MANY: usize = 1_000_000;

pub(super) fn upstreams(root: &mut Fields<'_, '_>) -> Vec<Named<Upstream>> {
    let tables = root.tables("upstreams");
    tables.into_iter().map(|At { line, value }| upstream(root.item("upstreams", line, value))).collect()
}

fn upstream(mut fields: Fields<'_, '_>) -> Named<Upstream> {
    let name = name(&mut fields);
    let servers = servers(&mut fields);
    let has_tls = servers.iter().any(|server| server.address.is_tls());
    let default = Upstream::new(name.as_ref().map(|name| name.value.clone()).unwrap_or_default(), servers);
    let value = Upstream {
        balance: fields.choice("balance", default.balance, &BALANCES),
        connect_timeout: fields.duration("connect_timeout", default.connect_timeout),
        response_timeout: fields.duration("response_timeout", default.response_timeout),
        idle_timeout: fields.duration("idle_timeout", default.idle_timeout),
        max_idle: fields.whole("max_idle", default.max_idle, 0..=100_000),
        audience: fields.parsed("audience", None, |text| assertion::name(text).map(Some)),
        max_connections: fields.whole("max_connections", default.max_connections, 0..=MANY),
        max_pending: fields.whole("max_pending", default.max_pending, 0..=MANY),
        dns_refresh: fields.duration("dns_refresh", default.dns_refresh),
        slow_start: fields.duration_or_zero("slow_start", default.slow_start),
        health: health(fields.section("health")),
        eject: eject(fields.section("eject")),
        retry: retry(fields.section("retry")),
        tls: tls(fields.section("tls"), has_tls),
        ..default
    };
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

fn health(mut fields: Fields<'_, '_>) -> HealthChecks {
    let default = HealthChecks::default();
    let path = fields.text("path").map(|At { line, value }| {
        let path = value.split('?').next().unwrap_or_default();
        if let Err(why) = canonical(path) {
            fields.error(line, "path", format!("{} {why}", quoted(value)));
        } else if value.chars().any(|c| !c.is_ascii_graphic() || c == '#') {
            fields.error(line, "path", format!("{} has a query that no request can have", quoted(value)));
        }
        value.to_owned()
    });
    let health = HealthChecks {
        path,
        interval: fields.duration("interval", default.interval),
        timeout: fields.duration("timeout", default.timeout),
        healthy_after: fields.whole("healthy_after", default.healthy_after, 1..=100),
        unhealthy_after: fields.whole("unhealthy_after", default.unhealthy_after, 1..=100),
        status: fields.parsed("status", default.status, status),
    };
    fields.finish();
    health
}

fn status(text: &str) -> Result<StatusPattern, String> {
    let digits: Vec<u16> = text.chars().map_while(|c| c.to_digit(10)).filter_map(|d| d.try_into().ok()).collect();
    match (digits.as_slice(), text.len()) {
        ([first @ 1..=5], 3) if text.ends_with("xx") => Ok(StatusPattern::Class(*first)),
        ([first @ 1..=5, second, third], 3) => Ok(StatusPattern::Exactly(100 * first + 10 * second + third)),
        _ => Err("is not a status (write 200 or 2xx)".to_owned()),
    }
}

fn eject(mut fields: Fields<'_, '_>) -> Ejection {
    let default = Ejection::default();
    let time = fields.duration("time", default.time);
    let max_time = fields.duration("max_time", default.max_time.max(time));
    if max_time < time {
        let line = fields.line_of("max_time").unwrap_or(fields.line);
        fields.error(line, "max_time", "is shorter than time, which is where it begins");
    }
    let eject = Ejection { failures: fields.whole("failures", default.failures, 0..=1000), time, max_time };
    fields.finish();
    eject
}

fn retry(mut fields: Fields<'_, '_>) -> Retry {
    let default = Retry::default();
    let retry = Retry {
        percent: fields.whole("percent", default.percent, 0..=100),
        min_per_second: fields.whole("min_per_second", default.min_per_second, 0..=10_000),
    };
    fields.finish();
    retry
}

/// A file that is not there, or holds something else, must not end in trusting those that the system trusts, nor in
/// going without a certificate of ours.
fn tls(mut fields: Fields<'_, '_>, has_tls: bool) -> UpstreamTls {
    let ca = pem(&mut fields, "ca", "CERTIFICATE");
    let cert = pem(&mut fields, "cert", "CERTIFICATE");
    let key = pem(&mut fields, "key", "PRIVATE KEY");
    for (given, missing) in [("cert", "key"), ("key", "cert")] {
        if let Some(line) = fields.line_of(given).filter(|_| !fields.has(missing)) {
            fields.error(line, missing, format!("missing; {given} is of no use without it"));
        }
    }
    let server_name = fields.text("server_name").and_then(|At { line, value }| {
        let label = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let fits = value.parse::<std::net::IpAddr>().is_ok() || (value.len() <= 253 && value.split('.').all(label));
        if !fits {
            fields.error(line, "server_name", format!("{} is neither a DNS name nor an address", quoted(value)));
        }
        fits.then(|| value.to_owned())
    });
    if let Some(line) = ["ca", "cert", "key", "server_name"].iter().find_map(|key| fields.line_of(key))
        && !has_tls
    {
        fields.error(line, "ca", "and the rest of this section mean something only for servers with https:// or h2://");
    }
    fields.finish();
    let client = cert.zip(key).map(|(cert, key)| ClientCertificate { cert, key: Secret::new(key) });
    UpstreamTls { ca, client, server_name }
}

/// The text of a file in which there is such a thing.
pub(super) fn pem(fields: &mut Fields<'_, '_>, key: &'static str, what: &str) -> Option<String> {
    let At { line, value } = fields.text(key)?;
    let (outside, path) = (fields.walk.outside, Path::new(value));
    match outside.file(path) {
        Ok(pem) if pem.contains("-----BEGIN ") && pem.contains(&format!("{what}-----")) => {
            if key == "key" && outside.open_to_others(path) {
                fields.warn(
                    line,
                    key,
                    format!("{} can be read by others; chmod 600 keeps it to its owner", quoted(value)),
                );
            }
            return Some(pem);
        }
        Ok(_) => {
            let message = format!("{} has no {} in it; it is to be PEM", quoted(value), what.to_ascii_lowercase());
            fields.error(line, key, message);
        }
        Err(error) => fields.error(line, key, format!("{} cannot be read: {error}", quoted(value))),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_or_a_class() {
        assert_eq!(status("2xx"), Ok(StatusPattern::Class(2)));
        assert_eq!(status("204"), Ok(StatusPattern::Exactly(204)));
        for text in ["", "2", "2x", "20x", "6xx", "099", "2xxx", "xx2", "２xx"] {
            assert!(status(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_fits_its_statuses_and_no_other() {
        assert_eq!([199, 200, 299, 300].map(|n| StatusPattern::Class(2).fits(n)), [false, true, true, false]);
        assert_eq!([200, 204].map(|n| StatusPattern::Exactly(204).fits(n)), [false, true]);
    }
}
