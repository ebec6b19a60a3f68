//! Who a request comes from, where a load balancer stands in between.
//!
//! A client can write what it likes into `X-Forwarded-For`. So the list is read from its end, which our own peer wrote,
//! and only as far as each hop is one of the trusted proxies; the first that is not is the client. What can't be read
//! ends the walk as well: then the client is the last proxy that could be.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use smallvec::SmallVec;

use super::headers::{FORWARDED, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};

/// The peers whose forwarding headers are believed. By default nobody's are.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// Who a request comes from, as far as it can be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client<'h> {
    /// The client's address; an IPv4 address is never in its IPv6 disguise.
    pub ip: IpAddr,
    /// The scheme that the client used, where a trusted peer says so.
    pub proto: Option<Proto>,
    /// The host that the client asked for, where a trusted peer says so. Visible ASCII, otherwise unchecked.
    pub host: Option<&'h str>,
    /// Whether the peer is a trusted proxy.
    pub peer_is_trusted: bool,
}

/// A scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl TrustedProxies {
    /// Trusts the addresses in these networks.
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.iter().map(|network| as_ipv4(*network)).collect())
    }

    /// Whether this address is a trusted proxy's.
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Who sent the request that came with these headers over a connection from `peer`.
    pub fn client<'h>(&self, peer: IpAddr, headers: &'h HeaderMap) -> Client<'h> {
        let peer = peer.to_canonical();
        if !self.trust(peer) {
            return Client { ip: peer, proto: None, host: None, peer_is_trusted: false };
        }
        let forwarded = if headers.contains_key(X_FORWARDED_FOR) { Elements::new() } else { elements(headers) };
        let ip = if forwarded.is_empty() {
            self.walk(peer, backwards(headers, &X_FORWARDED_FOR).map(address))
        } else {
            self.walk(peer, forwarded.iter().rev().map(|element| element.client.and_then(address)))
        };
        // Of several values the last is the peer's own; anything before it the client may have written.
        let nearest = forwarded.last();
        let proto = backwards(headers, &X_FORWARDED_PROTO).next().or(nearest.and_then(|element| element.proto));
        let host = backwards(headers, &X_FORWARDED_HOST).next().or(nearest.and_then(|element| element.host));
        Client { ip, proto: proto.and_then(Proto::parse), host: host.filter(is_host_like), peer_is_trusted: true }
    }

    /// Goes from hop to hop, away from us.
    fn walk(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut at = peer;
        for hop in hops {
            let Some(hop) = hop else { break };
            at = hop;
            if !self.trust(hop) {
                break;
            }
        }
        at
    }
}

impl Proto {
    /// The scheme as a URL has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|proto| proto.as_str().eq_ignore_ascii_case(text))
    }
}

/// One element of `Forwarded`. What it says twice, or in a form that is no plain text, it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Element<'h> {
    /// `for=`: who sent the request to the proxy that wrote this.
    pub client: Option<&'h str>,
    /// `proto=`
    pub proto: Option<&'h str>,
    /// `host=`
    pub host: Option<&'h str>,
}

type Elements<'h> = SmallVec<[Element<'h>; 4]>;

/// Reads one `Forwarded` line. `None` when it is not well-formed: then nobody can say where its elements end.
pub fn parse_forwarded(line: &str) -> Option<SmallVec<[Element<'_>; 4]>> {
    let mut found = Elements::new();
    let mut element = Element::default();
    let mut seen = [false; 3];
    let mut rest = line;
    loop {
        let (name, after_name) = rest.trim_start_matches([' ', '\t']).split_once('=')?;
        let (value, after) = value(after_name)?;
        let name = name.trim_matches([' ', '\t']);
        if !is_token(name) {
            return None;
        }
        note(&mut element, &mut seen, name, value);
        rest = after.trim_start_matches([' ', '\t']);
        match rest.as_bytes().first() {
            Some(b';') => {}
            Some(b',') | None => {
                found.push(std::mem::take(&mut element));
                seen = [false; 3];
            }
            Some(_) => return None,
        }
        match rest.get(1..) {
            Some(next) => rest = next,
            None => return Some(found),
        }
    }
}

/// Every element of every `Forwarded` line, in order. An unreadable line becomes one element that says nothing, which
/// stops the walk there.
fn elements(headers: &HeaderMap) -> Elements<'_> {
    let lines = headers.get_all(FORWARDED).iter();
    lines
        .flat_map(|line| {
            let read = line.to_str().ok().and_then(parse_forwarded);
            read.unwrap_or_else(|| Elements::from_iter([Element::default()]))
        })
        .collect()
}

fn note<'h>(element: &mut Element<'h>, seen: &mut [bool; 3], name: &str, value: Option<&'h str>) {
    let names = ["for", "proto", "host"];
    let Some(which) = names.iter().position(|known| known.eq_ignore_ascii_case(name)) else { return };
    let places = [&mut element.client, &mut element.proto, &mut element.host];
    for (at, place) in places.into_iter().enumerate().filter(|(at, _)| *at == which) {
        *place = if seen[at] { None } else { value };
        seen[at] = true;
    }
}

/// A token or a quoted string, and what follows it. A quoted string with a backslash reads as nothing: no address, scheme
/// or host needs one.
fn value(text: &str) -> Option<(Option<&str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ';', ',']).unwrap_or(text.len());
        // RFC 7239 wants quotes round colons and brackets; proxies in the wild leave them out.
        let plain = text[..end].bytes().all(|b| is_token_byte(b) || b":[]".contains(&b));
        return (end > 0 && plain).then(|| (Some(&text[..end]), &text[end..]));
    };
    let mut escaped = false;
    let end = quoted.bytes().position(|b| {
        let closes = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        closes
    })?;
    let inner = &quoted[..end];
    Some((Some(inner).filter(|inner| !inner.contains('\\')), &quoted[end + 1..]))
}

/// The values of a list header, the last first, its lines taken as one. One that is not ASCII reads as empty, and no other does for
/// it: a proxy adds what it knows to whatever its client has sent.
fn backwards<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).iter().rev();
    lines.flat_map(|line: &HeaderValue| {
        let values = line.as_bytes().rsplit(|byte| *byte == b',');
        values.map(|value| {
            let text = str::from_utf8(value).ok().filter(|text| text.is_ascii());
            text.unwrap_or_default().trim_matches([' ', '\t'])
        })
    })
}

/// `1.2.3.4`, `1.2.3.4:5678`, `::1`, `[::1]` or `[::1]:5678`.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let found = text.parse().ok().or_else(bracketed).or_else(with_port);
    found.map(|address: IpAddr| address.to_canonical())
}

/// A network of IPv4 addresses in their IPv6 disguise, as the network of IPv4 addresses that it is.
fn as_ipv4(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let (Some(address), Some(prefix)) = (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) else {
        return network;
    };
    IpNet::new(address.into(), prefix).unwrap_or(network)
}

fn is_host_like(text: &&str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> TrustedProxies {
        TrustedProxies::new(&["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()])
    }

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).unwrap();
        let mut headers = HeaderMap::new();
        for (name, text) in lines {
            headers.append(name, value(text));
        }
        headers
    }

    fn client_ip(peer: &str, lines: &[(HeaderName, &str)]) -> String {
        proxies().client(peer.parse().unwrap(), &headers(lines)).ip.to_string()
    }

    /// Envoy once trusted every private address; a neighbour in the same network could be anybody.
    #[test]
    fn a_peer_nobody_named_is_the_client_whatever_it_says() {
        let lines = [
            (X_FORWARDED_FOR, "1.2.3.4"),
            (FORWARDED, "for=1.2.3.4;proto=https;host=a"),
            (X_FORWARDED_PROTO, "https"),
            (X_FORWARDED_HOST, "internal"),
        ];
        let headers = headers(&lines);
        for (trusted, peer) in
            [(TrustedProxies::default(), "10.0.0.5"), (proxies(), "192.168.0.1"), (proxies(), "11.0.0.1")]
        {
            let peer = peer.parse().unwrap();
            let expected = Client { ip: peer, proto: None, host: None, peer_is_trusted: false };
            assert_eq!(trusted.client(peer, &headers), expected);
        }
    }

    #[test]
    fn the_list_is_read_from_its_end_as_far_as_proxies_are_trusted() {
        for (list, expected) in [
            ("1.2.3.4", "1.2.3.4"),
            ("9.9.9.9, 1.2.3.4", "1.2.3.4"),
            ("9.9.9.9, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
            ("127.0.0.1,9.9.9.9,1.2.3.4,10.0.0.2,10.0.0.3", "1.2.3.4"),
            ("10.0.0.9, 10.0.0.2", "10.0.0.9"),
            ("9.9.9.9, 2001:db8::5", "9.9.9.9"),
        ] {
            assert_eq!(client_ip("10.0.0.1", &[(X_FORWARDED_FOR, list)]), expected, "{list}");
        }
        assert_eq!(client_ip("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines =
            [(X_FORWARDED_FOR, "9.9.9.9"), (X_FORWARDED_FOR, "1.2.3.4, 10.0.0.3"), (X_FORWARDED_FOR, "10.0.0.2")];
        assert_eq!(client_ip("10.0.0.1", &lines), "1.2.3.4");
    }

    #[test]
    fn junk_ends_the_walk_at_the_last_proxy_that_could_be_read() {
        for (list, expected) in [
            ("1.2.3.4, junk", "10.0.0.1"),
            ("1.2.3.4, junk, 10.0.0.2", "10.0.0.2"),
            ("1.2.3.4, , 10.0.0.2", "10.0.0.2"),
            ("1.2.3.4,", "10.0.0.1"),
            ("", "10.0.0.1"),
            ("unknown", "10.0.0.1"),
            ("1.2.3", "10.0.0.1"),
            ("1.2.3.4:x", "10.0.0.1"),
            ("[1.2.3.4]", "10.0.0.1"),
            ("1.2.3.4é", "10.0.0.1"),
            ("01.2.3.4", "10.0.0.1"),
        ] {
            assert_eq!(client_ip("10.0.0.1", &[(X_FORWARDED_FOR, list)]), expected, "{list}");
        }
    }

    #[test]
    fn ports_and_brackets_are_taken_off() {
        for (list, expected) in [
            ("1.2.3.4:5678", "1.2.3.4"),
            ("[2001:dead::1]:443", "2001:dead::1"),
            ("[2001:dead::1]", "2001:dead::1"),
            ("2001:dead::1", "2001:dead::1"),
            ("1.2.3.4, 10.0.0.2:80", "1.2.3.4"),
        ] {
            assert_eq!(client_ip("10.0.0.1", &[(X_FORWARDED_FOR, list)]), expected, "{list}");
        }
    }

    #[test]
    fn an_ipv4_address_in_ipv6_disguise_is_an_ipv4_address() {
        assert_eq!(client_ip("::ffff:10.0.0.1", &[(X_FORWARDED_FOR, "::ffff:1.2.3.4")]), "1.2.3.4");
        assert_eq!(client_ip("::ffff:11.0.0.1", &[(X_FORWARDED_FOR, "1.2.3.4")]), "11.0.0.1");
        let disguised = TrustedProxies::new(&["::ffff:10.0.0.0/104".parse().unwrap()]);
        assert!(disguised.trust("10.255.0.1".parse().unwrap()));
        assert!(!disguised.trust("11.0.0.1".parse().unwrap()));
    }

    #[test]
    fn forwarded_is_read_by_the_same_rules_where_the_other_is_absent() {
        for (line, expected) in [
            ("for=1.2.3.4", "1.2.3.4"),
            ("For=\"1.2.3.4:80\";proto=https;by=10.0.0.1", "1.2.3.4"),
            ("for=9.9.9.9, for=1.2.3.4;proto=http , for=10.0.0.2", "1.2.3.4"),
            ("for=\"[2001:dead::1]:4711\"", "2001:dead::1"),
            ("for=[2001:dead::1]:4711", "2001:dead::1"),
            ("for=1.2.3.4, by=\"a,b;for=9.9.9.9\";for=10.0.0.2", "1.2.3.4"),
            ("for=unknown", "10.0.0.1"),
            ("for=1.2.3.4, for=_hidden, for=10.0.0.2", "10.0.0.2"),
            ("for=1.2.3.4, proto=https", "10.0.0.1"),
            ("for=1.2.3.4;for=5.6.7.8", "10.0.0.1"),
            ("for=\"1.2.3.4", "10.0.0.1"),
            ("for=\"1.2\\.3.4\"", "10.0.0.1"),
            ("for", "10.0.0.1"),
            ("for=1.2.3.4,", "10.0.0.1"),
            ("for=1.2.3.4 x", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(client_ip("10.0.0.1", &[(FORWARDED, line)]), expected, "{line}");
        }
        let both = [(FORWARDED, "for=1.2.3.4"), (X_FORWARDED_FOR, "5.6.7.8")];
        assert_eq!(client_ip("10.0.0.1", &both), "5.6.7.8");
        let lines = [(FORWARDED, "for=1.2.3.4"), (FORWARDED, "for=\"junk"), (FORWARDED, "for=10.0.0.2")];
        assert_eq!(client_ip("10.0.0.1", &lines), "10.0.0.2", "an unreadable line ends the walk, not those after it");
    }

    #[test]
    fn scheme_and_host_are_the_nearest_proxys() {
        let said = |lines: &[(HeaderName, &str)]| {
            let headers = headers(lines);
            let client = proxies().client("10.0.0.1".parse().unwrap(), &headers);
            (client.proto, client.host.map(str::to_owned))
        };
        let host = |text: &str| Some(text.to_owned());
        assert_eq!(said(&[(X_FORWARDED_PROTO, "HTTPS"), (X_FORWARDED_HOST, "a:1")]), (Some(Proto::Https), host("a:1")));
        assert_eq!(
            said(&[(X_FORWARDED_PROTO, "https, http"), (X_FORWARDED_HOST, "evil, b")]),
            (Some(Proto::Http), host("b"))
        );
        assert_eq!(
            said(&[(FORWARDED, "proto=http;host=x, proto=https;host=\"y:8\"")]),
            (Some(Proto::Https), host("y:8"))
        );
        assert_eq!(said(&[(X_FORWARDED_PROTO, "javascript"), (X_FORWARDED_HOST, "a/b@c")]), (None, None));
        assert_eq!(said(&[(X_FORWARDED_HOST, "")]), (None, None));
    }
}
