//! Who may ask at a listener that is not the public's: by the name of the listener, from which page, with which token.
//!
//! It mostly listens on loopback, and there a browser is the danger: a page from anywhere can send requests to it, and by
//! DNS rebinding even read the answers, under a name of the page's own that suddenly leads to this machine. So the name
//! that a request came under must be one of ours, and where a browser names the page's origin, that must be ours as well.
//! The token comes in `Authorization` only, which no browser sends by itself as it would a cookie.

use std::{fmt, net::IpAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts, uri::Authority};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Lets in who comes under the right name, from no foreign page, and with the token.
pub struct Gate {
    /// Where the listener is; a Unix socket has no address.
    addr: Option<IpAddr>,
    /// More names for the listener, in lower case.
    hosts: Vec<String>,
    /// The SHA-256 of the token: what is compared takes the same time however long the two are.
    token: Option<[u8; 32]>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The request came under a name that is not this listener's.
    Host,
    /// A page of another origin asks.
    Origin,
    /// No token is configured, so nobody can have it.
    TokenUnset,
    /// No token came.
    TokenMissing,
    /// Another token came.
    TokenInvalid,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("addr", &self.addr).field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Gate {
    /// The gate of a listener at this address, with these further names, and this token where there is one.
    pub fn new(addr: Option<IpAddr>, hosts: &[String], token: Option<&str>) -> Self {
        Self { addr, hosts: hosts.to_vec(), token: token.map(|token| Sha256::digest(token).into()) }
    }

    /// Whether the request was meant for this listener, and by nobody's page but its own.
    pub fn is_for_us(&self, head: &Parts) -> Result<(), Closed> {
        let host = self.named(head).filter(|host| self.is_ours(host)).ok_or(Closed::Host)?;
        match only(&head.headers, &header::ORIGIN) {
            Some(origin) if is_origin_of(host, origin) => Ok(()),
            None if !head.headers.contains_key(header::ORIGIN) => Ok(()),
            _ => Err(Closed::Origin),
        }
    }

    /// Whether the token is presented. Without one in the configuration nobody has it.
    pub fn knows(&self, head: &Parts) -> Result<(), Closed> {
        let expected = self.token.ok_or(Closed::TokenUnset)?;
        if !head.headers.contains_key(header::AUTHORIZATION) {
            return Err(Closed::TokenMissing);
        }
        let line = only(&head.headers, &header::AUTHORIZATION).unwrap_or_default();
        let presented = line.strip_prefix("Bearer ").unwrap_or_default();
        let matches: bool = expected.ct_eq(Sha256::digest(presented).as_slice()).into();
        if matches { Ok(()) } else { Err(Closed::TokenInvalid) }
    }

    /// The name that the request came under. HTTP/2 has it apart from the fields, and an absolute target in itself. A `Host`
    /// beside it has to say the same: two names are somebody's attempt at being taken for two things.
    fn named<'h>(&self, head: &'h Parts) -> Option<&'h str> {
        let line = only(&head.headers, &header::HOST);
        let Some(authority) = head.uri.authority() else { return line };
        let default = match head.uri.scheme_str()? {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let agrees = |line: &str| {
            let Ok(line) = line.parse::<Authority>() else { return false };
            let port = |of: &Authority| of.port_u16().unwrap_or(default);
            line.host().eq_ignore_ascii_case(authority.host()) && port(&line) == port(authority)
        };
        let alone = !head.headers.contains_key(header::HOST);
        (alone || line.is_some_and(|line| self.is_ours(line) && agrees(line))).then_some(authority.as_str())
    }

    /// A name under which this listener is known. The port is not looked at: behind a forwarded port it is another one,
    /// and who rebinds a name gains nothing by it.
    fn is_ours(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        // Nothing beside a name and a port: the crate lets a user and other things through.
        let port = host.strip_prefix(authority.host()).map(|rest| rest.strip_prefix(':').unwrap_or(rest));
        if !port.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit())) {
            return false;
        }
        let name = authority.host().to_ascii_lowercase();
        // A listener on all addresses is known by each of them. No name can be rebound to look like an address.
        let is_here = |ip: IpAddr| self.addr.is_some_and(|addr| ip == addr || addr.is_unspecified());
        let ip = name.trim_start_matches('[').trim_end_matches(']').parse();
        name == "localhost" || self.hosts.contains(&name) || ip.is_ok_and(|ip: IpAddr| ip.is_loopback() || is_here(ip))
    }
}

/// The only value of a header, if it has exactly one and that is text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter().map(HeaderValue::to_str);
    values.next()?.ok().filter(|_| values.next().is_none())
}

/// Behind a proxy that ends TLS the page is an https one.
fn is_origin_of(host: &str, origin: &str) -> bool {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn gate(at: &str, hosts: &[&str], token: Option<&str>) -> Gate {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        Gate::new(at.parse().ok(), &hosts, token)
    }

    fn head(headers: &[(&str, &str)]) -> Parts {
        let request = headers.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    fn hosts_let_in(gate: &Gate, hosts: &[&'static str]) -> Vec<&'static str> {
        hosts.iter().copied().filter(|host| gate.is_for_us(&head(&[("host", host)])).is_ok()).collect()
    }

    /// CVE-2026-27589, and DNS rebinding at large.
    #[test]
    fn only_names_of_the_listener_are_let_in() {
        let hosts = [
            "localhost",
            "LocalHost:9901",
            "127.0.0.1",
            "127.0.0.1:1",
            "[::1]:9901",
            "10.1.2.3:9901",
            "ops.internal",
            "OPS.internal:443",
        ];
        let foreign = [
            "",
            "evil.example",
            "evil.example:9901",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "localhost:x",
            "10.9.9.9",
            "ops.internal.evil.example",
            "0.0.0.0",
            "127.1",
        ];
        let all = [hosts.as_slice(), foreign.as_slice()].concat();
        assert_eq!(hosts_let_in(&gate("10.1.2.3", &["ops.internal"], None), &all), hosts);
        assert_eq!(hosts_let_in(&gate("127.0.0.1", &[], None), &all), &hosts[..5]);
        let everywhere = hosts_let_in(&gate("0.0.0.0", &[], None), &all);
        assert_eq!(everywhere, [&hosts[..6], &["10.9.9.9", "0.0.0.0"]].concat());
        let by_a_socket = hosts_let_in(&gate("unix", &["ops.internal"], None), &all);
        assert_eq!(by_a_socket, [&hosts[..5], &hosts[6..]].concat(), "a socket has no address");
    }

    #[test]
    fn a_request_has_one_host() {
        let gate = gate("127.0.0.1", &[], None);
        for headers in [&[][..], &[("host", "localhost"), ("host", "localhost")]] {
            assert_eq!(gate.is_for_us(&head(headers)), Err(Closed::Host));
        }
    }

    #[test]
    fn a_target_with_an_authority_names_the_listener_and_a_host_beside_it_must_agree() {
        let gate = gate("127.0.0.1", &["ops.internal"], None);
        let ask = |target: &str, hosts: &[&str]| {
            let hosts: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let mut head = head(&hosts);
            head.uri = target.parse().unwrap();
            gate.is_for_us(&head)
        };
        for (target, hosts) in [
            ("https://ops.internal/", &[][..]),
            ("https://OPS.internal/", &["ops.internal:443"]),
            ("http://localhost:80/", &["LocalHost"]),
            ("http://[::1]:9901/", &["[::1]:9901"]),
        ] {
            assert_eq!(ask(target, hosts), Ok(()), "{target} {hosts:?}");
        }
        for (target, hosts) in [
            ("https://evil.example/", &[][..]),
            ("https://evil.example/", &["ops.internal"]),
            ("https://ops.internal/", &["evil.example"]),
            ("https://ops.internal/", &["localhost"]),
            ("https://ops.internal/", &["ops.internal:80"]),
            ("https://ops.internal/", &["x@ops.internal"]),
            ("https://x@ops.internal/", &["ops.internal"]),
            ("https://ops.internal/", &["ops.internal", "ops.internal"]),
            ("ftp://ops.internal/", &[]),
            ("ops.internal:80", &[]),
            ("ops.internal", &["ops.internal"]),
        ] {
            assert_eq!(ask(target, hosts), Err(Closed::Host), "{target} {hosts:?}");
        }
    }

    #[test]
    fn no_page_but_the_listeners_own_is_let_in() {
        let gate = gate("127.0.0.1", &[], None);
        let from = |origins: &[&str]| {
            let mut headers = vec![("host", "localhost:9901")];
            headers.extend(origins.iter().map(|origin| ("origin", *origin)));
            gate.is_for_us(&head(&headers))
        };
        let own = "http://localhost:9901";
        for origins in [&[][..], &[own], &["https://LOCALHOST:9901"]] {
            assert_eq!(from(origins), Ok(()), "{origins:?}");
        }
        for origin in [
            "",
            "null",
            "http://localhost",
            "http://localhost:9902",
            "http://evil.example",
            "file://",
            "localhost:9901",
        ] {
            assert_eq!(from(&[origin]), Err(Closed::Origin), "{origin}");
        }
        assert_eq!(from(&[own, own]), Err(Closed::Origin));
    }

    #[test]
    fn only_the_whole_token_in_one_line_is_the_token() {
        let gate = gate("127.0.0.1", &[], Some("operators-token!"));
        let say = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("authorization", *line)).collect();
            gate.knows(&head(&lines))
        };
        assert_eq!(say(&["Bearer operators-token!"]), Ok(()));
        assert_eq!(say(&[]), Err(Closed::TokenMissing));
        for line in [
            "",
            "Bearer ",
            "Bearer operators-token",
            "Bearer operators-token!!",
            "Bearer  operators-token!",
            "bearer operators-token!",
            "Basic operators-token!",
            "operators-token!",
        ] {
            assert_eq!(say(&[line]), Err(Closed::TokenInvalid), "{line}");
        }
        assert_eq!(say(&["Bearer operators-token!", "Bearer operators-token!"]), Err(Closed::TokenInvalid));
    }

    #[test]
    fn where_no_token_is_configured_nobody_has_it() {
        let gate = gate("127.0.0.1", &[], None);
        for lines in [&[][..], &[("authorization", "Bearer ")], &[("authorization", "")]] {
            assert_eq!(gate.knows(&head(lines)), Err(Closed::TokenUnset));
        }
    }

    /// Nothing but the fixed 32 bytes of two digests is compared, so how much of a guess is right takes no time to tell.
    #[test]
    fn what_is_compared_is_as_long_for_every_guess() {
        let gate = gate("127.0.0.1", &[], Some("operators-token!"));
        assert_eq!(gate.token, Some(Sha256::digest("operators-token!").into()));
        assert!(!format!("{gate:?}").contains("token"), "{gate:?}");
    }
}
