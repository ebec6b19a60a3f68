//! Threats that have a form of their own over HTTP/2: who calls, told by the client, and bytes that are to become a
//! request behind us.

use super::{dial, start};
use crate::{
    identity_header::FORGERIES,
    support::{
        Seen,
        http2::{DATA, END_STREAM, GET, HEADERS, POST, block},
    },
};

/// What the upstream was told of the caller, by any name that it could take for one of ours.
fn told(seen: &Seen) -> Vec<String> {
    let alike = |name: &str| name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let ours = seen.headers.iter().filter(|(name, _)| alike(name).starts_with("x-wx-"));
    ours.map(|(_, value)| value.clone()).collect()
}

/// The lines of a forgery as fields. `Connection` and its kin can't be said in HTTP/2 at all.
fn fields(forgery: &str) -> Vec<(String, &str)> {
    let lines = forgery.split("\r\n").filter_map(|line| line.split_once(':'));
    let fields = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim()));
    fields.filter(|(name, _)| !name.contains("connection") && name != "keep-alive" && name != "te").collect()
}

/// Threats 1 to 4, 6 and 11.
#[test]
fn nobody_is_taken_for_another_over_http_2_either() {
    let gw = start(|_| {});
    let bearer = format!("Bearer {}", gw.login("oAlice").token);
    let alice = ["oAlice", crate::support::APP, "wx_client"].map(str::to_owned);
    for (path, token, expected) in
        [("/orders", Some(&bearer), &alice[..]), ("/maybe/1", None, &[]), ("/public/1", Some(&bearer), &[])]
    {
        for forgery in FORGERIES {
            let forged = fields(forgery);
            let mut all = [&GET[..3], &[(":path", path)]].concat();
            all.extend(forged.iter().map(|(name, value)| (name.as_str(), *value)));
            all.extend(token.map(|token| ("authorization", token.as_str())));
            assert_eq!(dial(&gw).ask(&all).verdict(), "200", "{path} {forgery:?}");
            let seen = gw.upstream.last();
            assert_eq!(told(&seen), expected, "{path} {forgery:?}");
            assert!(!seen.head.contains("evil"), "{path} {forgery:?}: {}", seen.head);
        }
    }
}

/// Threat 11: of two tokens one server reads the first and another the last.
#[test]
fn two_authorization_fields_are_refused() {
    let gw = start(|_| {});
    let bearer = format!("Bearer {}", gw.login("oAlice").token);
    for (one, other) in [(bearer.as_str(), "Bearer evil"), ("Bearer evil", &bearer), (&bearer, &bearer)] {
        for path in ["/orders", "/maybe/1", "/public/1", "/v1/session"] {
            let tokens = [(":path", path), ("authorization", one), ("authorization", other)];
            let mut verdict = String::new();
            let (_, bytes) = gw.reached(|| verdict = dial(&gw).ask(&[&GET[..3], &tokens].concat()).verdict());
            assert_eq!((verdict.as_str(), bytes), ("bad_request", 0), "{path}");
        }
    }
}

/// Threat 10 in the spellings that a backend may take for ours.
#[test]
fn no_trailer_of_any_name_reaches_the_upstream() {
    let gw = start(|_| {});
    for trailer in ["x-wx-openid", "x_wx_openid", "authorization", "content-length", "x-forwarded-for"] {
        let mut client = dial(&gw);
        let stream = client.open(&POST, false);
        client.frame(DATA, 0, stream, b"hello");
        client.frame(HEADERS, 5, stream, &block(&[(trailer, "evil")]));
        let verdict = client.outcome(stream).verdict();
        let seen = gw.upstream.seen();
        assert!(verdict == "200" || verdict.starts_with("reset"), "{trailer}: {verdict}");
        assert!(seen.iter().all(|seen| seen.trailers.is_empty() && !seen.head.contains("evil")), "{trailer}: {seen:?}");
    }
}

/// Threat 35, CVE-2026-71324: what followed a CONNECT lay in the connection that others used next.
#[test]
fn what_follows_a_connect_reaches_nobody() {
    let gw = start(|_| {});
    let smuggled = b"GET /public/smuggled HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
    let (seen, bytes) = gw.reached(|| {
        let mut client = dial(&gw);
        let stream = client.open(&[(":method", "CONNECT"), (":authority", "api.example.com:443")], false);
        client.frame(DATA, 0, stream, smuggled);
        client.frame(DATA, END_STREAM, stream, smuggled);
        assert_ne!(client.outcome(stream).verdict(), "200");
    });
    assert_eq!((seen.len(), bytes), (0, 0));
}

/// Threat 39, CVE-2023-27493: half of a line end is a line end to some.
#[test]
fn no_half_of_a_line_end_is_in_a_value_or_a_name() {
    let gw = start(|_| {});
    for (name, value) in [
        ("x", "a\nx-wx-openid: evil"),
        ("x", "a\rx-wx-openid: evil"),
        ("x\nx-wx-openid", "evil"),
        ("x: a\r\nx-wx-openid", "evil"),
        ("", "evil"),
        (":path", "/public/\nx-wx-openid: evil"),
        (":authority", "api.example.com\r\nx-wx-openid: evil"),
    ] {
        let pseudo = GET.into_iter().filter(|(known, _)| *known != name);
        let (first, last) =
            if name.starts_with(':') { (Some((name, value)), None) } else { (None, Some((name, value))) };
        let all: Vec<_> = first.into_iter().chain(pseudo).chain(last).collect();
        let mut verdict = String::new();
        let (_, bytes) = gw.reached(|| verdict = dial(&gw).ask(&all).verdict());
        assert_ne!(verdict, "200", "{name:?}: {value:?}");
        assert_eq!(bytes, 0, "{name:?}: {value:?}");
    }
}
