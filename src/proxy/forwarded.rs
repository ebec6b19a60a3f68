//! Where a request came from, told to the upstream: `X-Forwarded-*` and `Forwarded` are rebuilt, and what the client says
//! in them is believed only from a trusted proxy.

use std::{
    cell::{Cell, RefCell},
    fmt::Write,
    net::{IpAddr, SocketAddr},
};

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    upstream::Fields,
    web::{
        HeaderWriter, Lines, Proto, TrustedProxies,
        client_ip::parse_forwarded,
        headers::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REAL_IP},
    },
};

/// What a target is called behind `X-Original-` and `X-Forwarded-`.
const TARGET: [&str; 5] = ["method", "path", "request-uri", "uri", "url"];

/// What is told of a longer host is not kept: a name and a port.
const LONGEST_KEPT: usize = 260;

const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");

/// The other end of a client connection.
#[derive(Debug)]
pub struct Peer {
    ip: IpAddr,
    trusted: Cell<bool>,
    /// The scheme of its connection to us.
    proto: HeaderValue,
    /// What is told of it where it is not a proxy of ours: the same for all that it asks of one host, so written once.
    alone: RefCell<Option<Lines>>,
}

impl Peer {
    /// The peer at `addr`, which speaks `proto` with us; a proxy of ours if these networks hold it.
    pub fn new(addr: SocketAddr, proto: Proto, proxies: &TrustedProxies) -> Self {
        // An IPv4 client on a dual-stack socket is the IPv4 client it is.
        let ip = addr.ip().to_canonical();
        let trusted = Cell::new(proxies.trust(ip));
        Self { ip, trusted, proto: value(proto), alone: RefCell::default() }
    }

    /// Its address.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Whether it is a proxy whose word counts.
    pub fn is_trusted(&self) -> bool {
        self.trusted.get()
    }

    /// Whether it is one by this list too. One that has been taken off stays a stranger for as long as it is connected.
    pub fn is_trusted_still(&self, proxies: &TrustedProxies) -> bool {
        self.trusted.set(self.trusted.get() && proxies.trust(self.ip));
        self.trusted.get()
    }
}

/// Whether a header tells where a request came from or was meant for. From a stranger all of these go, and from anybody those
/// that tell of another target: some backends route by `X-Original-URL` and its like, and then the path we decided on is not
/// the path that is served. Most proxies pass on what their clients send by these names.
pub(super) fn is_ours(name: &HeaderName, peer: &Peer) -> bool {
    let rebuilt = *name == header::FORWARDED
        || *name == X_FORWARDED_FOR
        || *name == X_FORWARDED_PROTO
        || *name == X_FORWARDED_HOST;
    rebuilt || (is_claim(name) && !is_a_proxys_word(name, peer))
}

/// Whether a header is what a proxy of ours tells of the way. It goes on as it came, and no `Connection` takes it away: many a
/// proxy passes that line on as its client wrote it.
pub(super) fn is_a_proxys_word(name: &HeaderName, peer: &Peer) -> bool {
    // A proxy of ours writes these with dashes. Written otherwise it is what the proxy's client sent and nobody noticed.
    peer.is_trusted() && is_claim(name) && is_dashed(name) && !tells_a_target(name)
}

/// Whether a header, written with dashes, tells of another method, path or URL than those that were decided on.
fn tells_a_target(name: &HeaderName) -> bool {
    let name = name.as_str();
    let of_a_family = |family: &str| name.strip_prefix(family).is_some_and(|what| TARGET.contains(&what));
    name.starts_with("x-rewrite-") || of_a_family("x-original-") || of_a_family("x-forwarded-")
}

fn is_claim(name: &HeaderName) -> bool {
    let text = name.as_str().as_bytes();
    // Nearly no name begins with an x, so nearly no name is looked at twice.
    text.first() == Some(&b'x')
        && ([&b"x-forwarded-"[..], b"x-original-", b"x-rewrite-"].into_iter().any(|family| dashed_prefix(text, family))
            || text.len() == X_REAL_IP.as_str().len() && dashed_prefix(text, X_REAL_IP.as_str().as_bytes()))
}

/// Whether `text` begins with `prefix`, where CGI and its heirs would say so: to some of them any mark is a `-`.
fn dashed_prefix(text: &[u8], prefix: &[u8]) -> bool {
    let alike = |(a, b): (&u8, &u8)| a == b || (*b == b'-' && !a.is_ascii_alphanumeric());
    text.len() >= prefix.len() && text.iter().zip(prefix).all(alike)
}

fn is_dashed(name: &HeaderName) -> bool {
    name.as_str().bytes().all(|b| b == b'-' || b.is_ascii_alphanumeric())
}

/// What a trusted proxy told of the way before it. Empty from anybody else.
#[derive(Debug, Default)]
pub(super) struct Told {
    chain: Option<String>,
    elements: Option<String>,
    proto: Option<HeaderValue>,
    host: Option<HeaderValue>,
}

/// Reads what is to be kept, before it is removed.
pub(super) fn take(headers: &HeaderMap, peer: &Peer, proxies: &TrustedProxies) -> Told {
    if !peer.is_trusted() {
        return Told::default();
    }
    let client = proxies.client(peer.ip, headers);
    Told {
        chain: chain(headers),
        elements: joined(headers, &header::FORWARDED).filter(|line| parse_forwarded(line).is_some()),
        proto: client.proto.map(value),
        host: client.host.and_then(|host| HeaderValue::from_str(host).ok()),
    }
}

fn value(proto: Proto) -> HeaderValue {
    match proto {
        Proto::Http => HTTP,
        Proto::Https => HTTPS,
    }
}

/// The end of `X-Forwarded-For`, as far back as it can be read. What stands before that is whatever the client has sent, to which
/// our proxy has added its address: it must not make that unheard of.
fn chain(headers: &HeaderMap) -> Option<String> {
    let mut chain = Vec::new();
    'lines: for line in headers.get_all(&X_FORWARDED_FOR).iter().rev() {
        for hop in line.as_bytes().rsplit(|byte| *byte == b',') {
            match str::from_utf8(hop).map(str::trim) {
                Ok(hop) if is_address(hop) => chain.push(hop),
                _ => break 'lines,
            }
        }
    }
    chain.reverse();
    (!chain.is_empty()).then(|| chain.join(", "))
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines = headers.get_all(name).iter().map(HeaderValue::to_str).collect::<Result<Vec<_>, _>>().ok()?;
    if lines.is_empty() { None } else { Some(lines.join(", ")) }
}

/// An IP address, also `[v6]`, also with a port.
fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
        || text.parse::<SocketAddr>().is_ok()
        || text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).is_some_and(|t| t.parse::<IpAddr>().is_ok())
}

impl Told {
    /// Tells the upstream. These names are among those that are left out of what the client says.
    pub(super) fn tell(self, fields: &mut Fields, peer: &Peer, host: &HeaderValue, writer: &HeaderWriter) {
        if peer.is_trusted() {
            return fields.tell_lines(&self.lines(peer, host, writer));
        }
        let mut alone = peer.alone.borrow_mut();
        if let Some(lines) = alone.as_ref().filter(|lines| lines.ends_with(&X_FORWARDED_HOST, host)) {
            return fields.tell_lines(lines);
        }
        let lines = self.lines(peer, host, writer);
        fields.tell_lines(&lines);
        // An idle connection keeps it.
        *alone = (host.len() <= LONGEST_KEPT).then(|| lines.packed());
    }

    /// The host comes last.
    fn lines(self, peer: &Peer, host: &HeaderValue, writer: &HeaderWriter) -> Lines {
        let proto = self.proto.as_ref().unwrap_or(&peer.proto);
        let host = self.host.as_ref().unwrap_or(host);
        let chain = writer.value(|out| {
            if let Some(before) = &self.chain {
                out.put_slice(before.as_bytes());
                out.put_slice(b", ");
            }
            // Writing to memory does not fail.
            let _ = write!(out, "{}", peer.ip);
        });
        let element = writer.value(|out| {
            if let Some(before) = &self.elements {
                out.put_slice(before.as_bytes());
                out.put_slice(b", ");
            }
            write_element(out, peer.ip, host, proto);
        });
        let mut lines = Lines::default();
        for (name, value) in [(X_FORWARDED_FOR, chain), (header::FORWARDED, element)] {
            if let Some(value) = value {
                lines.add(&name, &value);
            }
        }
        lines.add(&X_FORWARDED_PROTO, proto);
        lines.add(&X_FORWARDED_HOST, host);
        lines
    }
}

/// Our element of `Forwarded` (RFC 7239, 4). A host that was checked has no quote in it; another one is left out.
fn write_element(out: &mut BytesMut, ip: IpAddr, host: &HeaderValue, proto: &HeaderValue) {
    // Writing to memory does not fail.
    let _ = match ip {
        IpAddr::V4(ip) => write!(out, "for={ip};host=\""),
        IpAddr::V6(ip) => write!(out, "for=\"[{ip}]\";host=\""),
    };
    if !host.as_bytes().iter().any(|byte| matches!(byte, b'"' | b'\\')) {
        out.put_slice(host.as_bytes());
    }
    out.put_slice(b"\";proto=");
    out.put_slice(proto.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(peer: &str, trusted: &str, received: &[(&str, &str)]) -> Vec<(String, String)> {
        told_over(Proto::Http, peer, trusted, received)
    }

    fn told_over(proto: Proto, peer: &str, trusted: &str, received: &[(&str, &str)]) -> Vec<(String, String)> {
        let proxies = TrustedProxies::new(&[trusted.parse().unwrap()]);
        let peer = Peer::new(peer.parse().unwrap(), proto, &proxies);
        let mut headers = HeaderMap::new();
        for (name, value) in received {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let kept = take(&headers, &peer, &proxies);
        let mut fields = Fields::default();
        for (name, value) in headers.iter().filter(|(name, _)| !is_ours(name, &peer)) {
            fields.say(name, value, false);
        }
        kept.tell(&mut fields, &peer, &HeaderValue::from_static("api.example.com"), &HeaderWriter::default());
        let mut out = fields.all();
        out.sort();
        out
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn each_host_that_a_client_asks_is_told_as_what_it_is() {
        let nobody = TrustedProxies::default();
        let peer = Peer::new("10.0.0.5:99".parse().unwrap(), Proto::Http, &nobody);
        for host in ["a.example", "b.a.example", "a.example", "example"] {
            let mut fields = Fields::default();
            let value = HeaderValue::from_static(host);
            take(&HeaderMap::new(), &peer, &nobody).tell(&mut fields, &peer, &value, &HeaderWriter::default());
            let element = format!("for=10.0.0.5;host=\"{host}\";proto=http");
            let told = [
                ("x-forwarded-for", "10.0.0.5"),
                ("forwarded", &element),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", host),
            ];
            assert_eq!(fields.all(), pairs(&told));
        }
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let forged = [
            ("X-Forwarded-For", "1.1.1.1"),
            ("x_forwarded_for", "2.2.2.2"),
            ("Forwarded", "for=3.3.3.3"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "evil"),
            ("X-Forwarded-Uri", "/public"),
            ("X-Original-URL", "/admin"),
            ("X-Original-Host", "evil"),
            ("X_Original-Method", "DELETE"),
            ("X-Rewrite-Url", "/admin"),
            ("X-Real-IP", "4.4.4.4"),
        ];
        assert_eq!(
            told("10.0.0.5:99", "192.168.0.0/16", &forged),
            pairs(&[
                ("forwarded", "for=10.0.0.5;host=\"api.example.com\";proto=http"),
                ("x-forwarded-for", "10.0.0.5"),
                ("x-forwarded-host", "api.example.com"),
                ("x-forwarded-proto", "http"),
            ])
        );
    }

    #[test]
    fn a_trusted_proxy_is_added_to_its_own_chain() {
        let sent = [
            ("X-Forwarded-For", "203.0.113.9, 198.51.100.7"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "shop.example.com"),
            ("Forwarded", "for=203.0.113.9"),
        ];
        assert_eq!(
            told("[::ffff:10.0.0.5]:99", "10.0.0.0/8", &sent),
            pairs(&[
                ("forwarded", "for=203.0.113.9, for=10.0.0.5;host=\"shop.example.com\";proto=https"),
                ("x-forwarded-for", "203.0.113.9, 198.51.100.7, 10.0.0.5"),
                ("x-forwarded-host", "shop.example.com"),
                ("x-forwarded-proto", "https"),
            ])
        );
    }

    #[test]
    fn over_tls_it_is_https_unless_a_trusted_proxy_knows_better() {
        let proto = |trusted, sent: &[(&str, &str)]| {
            let out = told_over(Proto::Https, "10.0.0.5:99", trusted, sent);
            out.into_iter().find(|(name, _)| name == "x-forwarded-proto").unwrap().1
        };
        let http = [("X-Forwarded-Proto", "http")];
        assert_eq!(proto("192.168.0.0/16", &http), "https");
        assert_eq!(proto("10.0.0.0/8", &[]), "https");
        assert_eq!(proto("10.0.0.0/8", &http), "http");
    }

    #[test]
    fn a_chain_that_is_no_chain_is_dropped() {
        let out = told("10.0.0.5:99", "10.0.0.0/8", &[("X-Forwarded-For", "1.1.1.1, <script>")]);
        assert!(out.contains(&("x-forwarded-for".to_owned(), "10.0.0.5".to_owned())), "{out:?}");
    }

    /// A proxy adds the address to whatever the client sent, and the client would decide whether the backend hears it.
    #[test]
    fn what_a_client_writes_before_its_address_does_not_hide_it() {
        for line in ["junk, 203.0.113.9", "1.1.1.1, <script>,203.0.113.9 ", ", 203.0.113.9", "\u{e9}, 203.0.113.9"] {
            let out = told("10.0.0.5:99", "10.0.0.0/8", &[("X-Forwarded-For", line)]);
            let heard = out.iter().find(|(name, _)| name == "x-forwarded-for").map(|(_, value)| value.as_str());
            assert_eq!(heard, Some("203.0.113.9, 10.0.0.5"), "{line}");
        }
        let lines = [("X-Forwarded-For", "junk"), ("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "2.2.2.2")];
        let out = told("10.0.0.5:99", "10.0.0.0/8", &lines);
        assert!(out.contains(&("x-forwarded-for".to_owned(), "1.1.1.1, 2.2.2.2, 10.0.0.5".to_owned())), "{out:?}");
    }

    /// Most proxies pass on what their clients send by these names, and a few backends serve the path that they tell.
    #[test]
    fn a_trusted_proxy_tells_of_no_other_target() {
        let sent = [
            ("X-Original-URL", "/admin"),
            ("X-Original-Uri", "/admin"),
            ("X-Original-Method", "DELETE"),
            ("X-Rewrite-Url", "/admin"),
            ("X-Forwarded-Uri", "/admin"),
            ("X-Forwarded-Method", "DELETE"),
            ("X-Forwarded-Prefix", "/shop"),
            ("X-Forwarded-Port", "443"),
            ("X-Original-Forwarded-For", "1.1.1.1"),
        ];
        let out = told("10.0.0.5:99", "10.0.0.0/8", &sent);
        let names: Vec<_> = out.iter().map(|(name, _)| name.as_str()).collect();
        let usual = ["forwarded", "x-forwarded-for", "x-forwarded-host"];
        let kept = ["x-forwarded-port", "x-forwarded-prefix", "x-forwarded-proto", "x-original-forwarded-for"];
        assert_eq!(names, [&usual[..], &kept].concat());
    }

    #[test]
    fn an_ipv6_client_is_quoted() {
        let out = told("[2001:db8::1]:99", "10.0.0.0/8", &[]);
        let element = "for=\"[2001:db8::1]\";host=\"api.example.com\";proto=http";
        assert!(out.contains(&("forwarded".to_owned(), element.to_owned())), "{out:?}");
    }
}
