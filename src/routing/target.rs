//! What a request is for: its target and its `Host`, checked so that we and the upstream can't take it for two things.

use std::{borrow::Cow, net::Ipv6Addr};

use http::{
    HeaderMap, Uri, Version,
    header::HOST,
    uri::{Authority, Scheme},
};

use super::{CanonicalPath, PathError, path::canonicalise};

/// Longest host name without its trailing dot, as DNS has it.
const MAX_HOST: usize = 253;

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Absent only where HTTP/1.0 left it out.
    pub host: Option<Host<'a>>,
    /// The path that is matched and forwarded.
    pub path: CanonicalPath<'a>,
    /// What follows the question mark, untouched. It takes part in no decision.
    pub query: Option<&'a str>,
}

/// Why a target or a `Host` is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// `host:port` or a bare word, where a path belongs.
    #[error("the request target is neither a path nor an http URL")]
    AuthorityForm,
    /// `*`, which asks about a server as a whole.
    #[error("the request target is '*'")]
    Asterisk,
    /// An absolute target of another scheme than http and https.
    #[error("the request target has a scheme that is not http")]
    Scheme,
    /// The path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// HTTP/1.1 asks for a `Host` line.
    #[error("the request has no Host")]
    HostMissing,
    /// More than one `Host` line.
    #[error("the request has two Hosts")]
    TwoHosts,
    /// The absolute target and the `Host` line name different hosts or ports.
    #[error("the Host differs from the request target's")]
    HostDiffers,
    /// The host itself.
    #[error(transparent)]
    Host(#[from] BadHost),
}

/// Why a text is not a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHost {
    /// Nothing before the port.
    #[error("the Host is empty")]
    Empty,
    /// `user@` before the name.
    #[error("the Host has a user in it")]
    UserInfo,
    /// An empty label, more than 253 bytes, or a byte that neither a DNS name nor an address has. Names beyond ASCII
    /// come as `xn--`.
    #[error("the Host is not a name or an address")]
    Name,
    /// `[…]` that is no IPv6 address.
    #[error("the Host has brackets around something that is not an IPv6 address")]
    Address,
    /// A port that is no number up to 65535.
    #[error("the Host has a malformed port")]
    Port,
}

/// A host as received, and as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    received: &'a str,
    name: Cow<'a, str>,
    port: Option<u16>,
}

/// Reads the target of a request. Whatever method it has: CONNECT's and OPTIONS' own forms are refused like any other.
pub fn target_of<'a>(version: Version, uri: &'a Uri, headers: &'a HeaderMap) -> Result<Target<'a>, BadTarget> {
    let line = host_line(headers)?;
    let has_line = line.is_some();
    let host = host_of(uri, line)?;
    // RFC 9112, 3.2: also an absolute target needs the line beside it.
    if version == Version::HTTP_11 && !has_line {
        return Err(BadTarget::HostMissing);
    }
    // HTTP/2 has a pseudo field for it, in front of which the line may be missing; one of them there must be.
    if version == Version::HTTP_2 && host.is_none() {
        return Err(BadTarget::HostMissing);
    }
    // There a path is always told (RFC 9113, 8.3.1); a query alone would be read as one on `/`, as behind an authority.
    if version == Version::HTTP_2 && !uri.path_and_query().is_some_and(|told| told.as_str().starts_with('/')) {
        return Err(PathError::NoLeadingSlash.into());
    }
    Ok(Target { host, path: canonicalise(uri.path())?, query: uri.query() })
}

impl Target<'_> {
    /// The host as routes compare it; empty, and so no route's, when there is none.
    pub fn host_name(&self) -> &str {
        self.host.as_ref().map_or("", Host::name)
    }
}

impl<'a> Host<'a> {
    /// Takes `name`, `address` or `[address]`, each with or without `:port`.
    pub fn parse(text: &'a str) -> Result<Self, BadHost> {
        // Looked for only where something is wrong: no part of a host has this mark.
        Self::take_apart(text).map_err(|why| if text.contains('@') { BadHost::UserInfo } else { why })
    }

    fn take_apart(text: &'a str) -> Result<Self, BadHost> {
        let (name, rest) = if text.starts_with('[') {
            let end = text.find(']').ok_or(BadHost::Address)? + 1;
            (address(&text[..end])?, &text[end..])
        } else {
            let end = memchr::memchr(b':', text.as_bytes()).unwrap_or(text.len());
            (dns_name(&text[..end])?, &text[end..])
        };
        Ok(Self { received: text, name, port: port(rest)? })
    }

    /// As it was received, for forwarding.
    pub fn received(&self) -> &'a str {
        self.received
    }

    /// As routes compare it: lower case, without port and trailing dot.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port, where one was named.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

/// The host that a target means, where `named` stands beside it.
pub(super) fn host_of<'a>(uri: &'a Uri, named: Option<Host<'a>>) -> Result<Option<Host<'a>>, BadTarget> {
    match (uri.scheme(), uri.authority()) {
        (None, None) if uri.path() == "*" => Err(BadTarget::Asterisk),
        (None, None) => Ok(named),
        (Some(scheme), Some(authority)) => of_absolute(scheme, authority, named.as_ref()).map(Some),
        _ => Err(BadTarget::AuthorityForm),
    }
}

fn host_line(headers: &HeaderMap) -> Result<Option<Host<'_>>, BadTarget> {
    let mut lines = headers.get_all(HOST).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(BadTarget::TwoHosts);
    }
    Ok(Some(Host::parse(line.to_str().map_err(|_| BadHost::Name)?)?))
}

/// RFC 9112, 3.2.2: the target's authority is the host. A `Host` line that says something else is somebody's attempt
/// at having two servers see two hosts.
fn of_absolute<'a>(scheme: &Scheme, authority: &'a Authority, line: Option<&Host>) -> Result<Host<'a>, BadTarget> {
    let default_port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return Err(BadTarget::Scheme),
    };
    let host = Host::parse(authority.as_str())?;
    let port = |host: &Host| host.port.unwrap_or(default_port);
    if line.is_some_and(|line| line.name != host.name || port(line) != port(&host)) {
        return Err(BadTarget::HostDiffers);
    }
    Ok(host)
}

/// What has to be known of a byte in a name. Most have no mark.
const DOT: u8 = 1;
const UPPER: u8 = 2;
const UNKNOWN: u8 = 4;

const MARKS: [u8; 256] = {
    let (mut marks, mut byte) = ([UNKNOWN; 256], 0_u8);
    while byte.is_ascii() {
        marks[byte as usize] = match byte {
            b'.' => DOT,
            b'A'..=b'Z' => UPPER,
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => 0,
            _ => UNKNOWN,
        };
        byte += 1;
    }
    marks
};

fn dns_name(text: &str) -> Result<Cow<'_, str>, BadHost> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() {
        return Err(BadHost::Empty);
    }
    // An empty label begins behind a dot, or with the name, and ends before one, or with the name.
    let (mut marks, mut twice, mut before) = (0, 0, DOT);
    for byte in name.bytes() {
        let mark = MARKS[usize::from(byte)];
        marks |= mark;
        twice |= mark & before;
        before = mark;
    }
    if name.len() > MAX_HOST || marks & UNKNOWN != 0 || (twice | before) & DOT != 0 {
        return Err(BadHost::Name);
    }
    Ok(if marks & UPPER != 0 { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) })
}

/// An IPv6 address has many spellings; the shortest is the one that is compared.
fn address(bracketed: &str) -> Result<Cow<'_, str>, BadHost> {
    let inner = bracketed.trim_start_matches('[').trim_end_matches(']');
    let address: Ipv6Addr = inner.parse().map_err(|_| BadHost::Address)?;
    let normal = format!("[{address}]");
    Ok(if normal == bracketed { Cow::Borrowed(bracketed) } else { Cow::Owned(normal) })
}

fn port(rest: &str) -> Result<Option<u16>, BadHost> {
    let Some(digits) = rest.strip_prefix(':') else {
        return if rest.is_empty() { Ok(None) } else { Err(BadHost::Address) };
    };
    // No port needs more, and whoever keeps a host must know how long one can be.
    if digits.len() > 5 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BadHost::Port);
    }
    digits.parse().map(Some).map_err(|_| BadHost::Port)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// What the target and these `Host` lines are, as `host|path|query`.
    fn target(version: Version, uri: &str, hosts: &[&str]) -> Result<String, BadTarget> {
        let uri: Uri = uri.parse().unwrap();
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        let target = target_of(version, &uri, &headers)?;
        let received = target.host.as_ref().map_or("-", Host::received);
        Ok(format!("{}|{received}|{}|{}", target.host_name(), target.path.as_str(), target.query.unwrap_or("-")))
    }

    fn http11(uri: &str, hosts: &[&str]) -> Result<String, BadTarget> {
        target(Version::HTTP_11, uri, hosts)
    }

    #[test]
    fn the_host_is_compared_in_one_form_and_forwarded_as_received() {
        let cases = [
            ("example.com", "example.com"),
            ("a.B.Example.COM", "a.b.example.com"),
            ("example.com.", "example.com"),
            ("example.com:8080", "example.com"),
            ("Example.com.:443", "example.com"),
            ("xn--fiqs8s.example", "xn--fiqs8s.example"),
            ("my_service", "my_service"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[0:0:0:0:0:0:0:1]:8080", "[::1]"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
        ];
        for (received, name) in cases {
            assert_eq!(http11("/x?a=1&a=2", &[received]), Ok(format!("{name}|{received}|/x|a=1&a=2")));
        }
    }

    #[test]
    fn a_host_in_normal_form_is_not_copied() {
        for text in ["example.com", "example.com.", "example.com:80", "[::1]:80"] {
            let host = Host::parse(text).unwrap();
            assert!(matches!(host.name, Cow::Borrowed(_)), "{text} was copied");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a".repeat(254);
        let cases = [
            ("", BadHost::Empty),
            (":80", BadHost::Empty),
            ("user@example.com", BadHost::UserInfo),
            ("a:b@example.com", BadHost::UserInfo),
            (".", BadHost::Name),
            (".example.com", BadHost::Name),
            ("a..b", BadHost::Name),
            ("a.b..", BadHost::Name),
            ("*.example.com", BadHost::Name),
            ("a b", BadHost::Name),
            ("a/b", BadHost::Name),
            ("a,b", BadHost::Name),
            ("%61.example.com", BadHost::Name),
            ("例.example", BadHost::Name),
            (&long, BadHost::Name),
            ("[::1", BadHost::Address),
            ("[]", BadHost::Address),
            ("[[::1]]", BadHost::Address),
            ("[127.0.0.1]", BadHost::Address),
            ("[fe80::1%25eth0]", BadHost::Address),
            ("[::1]x", BadHost::Address),
            ("::1", BadHost::Empty),
            ("a:", BadHost::Port),
            ("a:x", BadHost::Port),
            ("a:+80", BadHost::Port),
            ("a:65536", BadHost::Port),
            ("a:000080", BadHost::Port),
            ("a:80:80", BadHost::Port),
        ];
        for (text, expected) in cases {
            assert_eq!(Host::parse(text).err(), Some(expected), "{text:?}");
        }
        assert_eq!(http11("/", &["例.example"]), Err(BadHost::Name.into()));
        assert_eq!(http11("/", &[""]), Err(BadHost::Empty.into()));
    }

    #[test]
    fn http_1_1_has_exactly_one_host() {
        assert_eq!(http11("/", &[]), Err(BadTarget::HostMissing));
        assert_eq!(http11("http://a/", &[]), Err(BadTarget::HostMissing));
        assert_eq!(http11("/", &["a", "a"]), Err(BadTarget::TwoHosts));
        assert_eq!(http11("http://a/", &["a", "a"]), Err(BadTarget::TwoHosts));
    }

    #[test]
    fn http_1_0_may_leave_the_host_out_but_not_give_two() {
        let http10 = |uri, hosts: &[&str]| target(Version::HTTP_10, uri, hosts);
        assert_eq!(http10("/x", &[]), Ok("|-|/x|-".to_owned()));
        assert_eq!(http10("http://a/x", &[]), Ok("a|a|/x|-".to_owned()));
        assert_eq!(http10("/x", &["a"]), Ok("a|a|/x|-".to_owned()));
        assert_eq!(http10("/x", &["a", "b"]), Err(BadTarget::TwoHosts));
    }

    #[test]
    fn an_absolute_target_names_the_host_and_the_line_must_agree() {
        assert_eq!(http11("http://a.example/x?q", &["A.Example"]), Ok("a.example|a.example|/x|q".to_owned()));
        assert_eq!(http11("http://a", &["a:80"]), Ok("a|a|/|-".to_owned()));
        assert_eq!(http11("https://a:443/", &["a"]), Ok("a|a:443|/|-".to_owned()));
        assert_eq!(http11("HTTP://A/", &["a"]), Ok("a|A|/|-".to_owned()));
        assert_eq!(http11("http://a/", &["b"]), Err(BadTarget::HostDiffers));
        assert_eq!(http11("http://a/", &["a:443"]), Err(BadTarget::HostDiffers));
        assert_eq!(http11("https://a/", &["a:80"]), Err(BadTarget::HostDiffers));
        assert_eq!(http11("http://user@a/", &["a"]), Err(BadHost::UserInfo.into()));
        assert_eq!(http11("ftp://a/", &["a"]), Err(BadTarget::Scheme));
    }

    /// Libraries take the first two for an authority with an empty path, which a careless router reads as `/`.
    #[test]
    fn a_target_in_another_form_is_refused() {
        assert_eq!(http11("admin", &["a"]), Err(BadTarget::AuthorityForm));
        assert_eq!(http11("internal:80", &["a"]), Err(BadTarget::AuthorityForm));
        assert_eq!(http11("*", &["a"]), Err(BadTarget::Asterisk));
    }

    #[test]
    fn the_path_is_checked_and_the_query_is_not() {
        assert_eq!(http11("/public/../admin", &["a"]), Err(PathError::ParentSegment.into()));
        assert_eq!(http11("/a?/../%00;%2f", &["a"]), Ok("a|a|/a|/../%00;%2f".to_owned()));
        assert_eq!(http11("/admin?/public/", &["a"]), Ok("a|a|/admin|/public/".to_owned()));
    }
}
