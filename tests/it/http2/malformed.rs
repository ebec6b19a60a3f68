//! What HTTP/2 can say that HTTP/1 can't, and what two servers could read differently.

use wxgate::config::sections::AuthRule;

use super::{dial, start};
use crate::support::http2::{DATA, END_STREAM, GET, POST};

/// A request like [`GET`], but for these fields; an empty value leaves one out.
fn but<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let is_other = |name: &str| changes.iter().any(|(other, _)| *other == name);
    let kept = GET.into_iter().filter(|(name, _)| !is_other(name));
    let (pseudo, fields): (Vec<_>, Vec<_>) = kept
        .chain(changes.iter().copied().filter(|(_, value)| !value.is_empty()))
        .partition(|(n, _)| n.starts_with(':'));
    [pseudo, fields].concat()
}

/// Threats 35 and 39, CVE-2023-27491 and CVE-2023-27493.
#[test]
fn what_could_be_read_differently_behind_us_reaches_nobody() {
    let gw = start(|_| {});
    for (changes, verdicts) in [
        (&[(":path", "public/")][..], &["bad_request", "reset 1"][..]),
        (&[(":path", "/public/ HTTP/1.1\r\nx: y")], &["reset 1", "gone"]),
        (&[(":path", "/public/ /x")], &["reset 1"]),
        (&[(":path", "*")], &["bad_request"]),
        (&[(":path", "?a=/public/")], &["bad_request"]),
        (&[(":path", "http://other.example.com/public/")], &["bad_request", "reset 1"]),
        (&[(":path", "/public/../orders")], &["bad_request"]),
        (&[(":path", "/public/%2e%2e/orders")], &["bad_request"]),
        (&[(":path", "/public/%23/../orders")], &["bad_request"]),
        (&[(":path", "/public/%2523x")], &["bad_request"]),
        (&[(":path", "")], &["reset 1"]),
        (&[(":method", "GET /x")], &["reset 1", "gone"]),
        (&[(":method", "")], &["reset 1"]),
        (&[(":scheme", "")], &["reset 1"]),
        (&[(":scheme", "ftp")], &["bad_request"]),
        (&[(":authority", "")], &["bad_request"]),
        (&[(":authority", "api.example.com"), ("host", "other.example.com")], &["bad_request"]),
        (&[(":authority", "user@api.example.com")], &["bad_request"]),
        (&[(":authority", "api.example.com/x")], &["bad_request", "reset 1"]),
        (&[("host", "a.example.com"), ("host", "b.example.com"), (":authority", "")], &["bad_request"]),
        (&[("x", "a\r\nx-wx-openid: oMallory")], &["reset 1", "gone"]),
        (&[("x", "a\0b")], &["reset 1", "gone"]),
        (&[("x y", "a")], &["reset 1", "gone"]),
        (&[("x", " a")], &["bad_request"]),
        (&[("x", "a\t")], &["bad_request"]),
        (&[("authorization", " Bearer x")], &["bad_request"]),
        (&[("X-Upper", "a")], &["reset 1", "gone"]),
        (&[("connection", "close")], &["reset 1"]),
        (&[("transfer-encoding", "chunked")], &["reset 1"]),
        (&[("upgrade", "websocket")], &["reset 1"]),
        (&[("keep-alive", "1")], &["reset 1"]),
        (&[("proxy-connection", "close")], &["reset 1"]),
        (&[("te", "gzip")], &["reset 1"]),
        (&[("content-length", "5")], &["bad_request", "reset 1"]),
        (&[(":status", "200")], &["reset 1", "gone"]),
        (&[(":unknown", "x")], &["reset 1", "gone"]),
    ] {
        let mut verdict = String::new();
        let (seen, bytes) = gw.reached(|| verdict = dial(&gw).ask(&but(changes)).verdict());
        assert!(verdicts.contains(&verdict.as_str()), "{changes:?}: {verdict}");
        assert_eq!((seen.len(), bytes), (0, 0), "{changes:?}");
    }
}

#[test]
fn a_head_that_is_too_large_is_answered_and_told_like_any_refusal() {
    let gw = start(|config| config.server.max_header_bytes = 4096);
    let mut client = dial(&gw);
    let long = "x".repeat(4096);
    assert_eq!(client.ask(&but(&[("x", &long)])).verdict(), "headers_too_large");
    gw.log.line("\"status\":431,\"code\":\"headers_too_large\"");
    assert_eq!(client.ask(&but(&[("x", &long[..3072])])).verdict(), "200");
    // What goes far beyond is not read on.
    assert_eq!(client.ask(&but(&[("x", &long.repeat(3))])).verdict(), "refused");
    assert_eq!((client.ask(&GET).verdict().as_str(), gw.upstream.count()), ("200", 2));
}

#[test]
fn what_is_fine_passes() {
    let gw = start(|_| {});
    for changes in [
        &[][..],
        &[("te", "trailers")],
        &[(":authority", "api.example.com"), ("host", "api.example.com")],
        &[(":authority", ""), ("host", "api.example.com")],
        &[("content-length", "0")],
    ] {
        assert_eq!(dial(&gw).ask(&but(changes)).verdict(), "200", "{changes:?}");
        let seen = gw.upstream.last();
        assert_eq!((seen.header("host"), seen.header("te")), (Some("api.example.com"), None), "{changes:?}");
    }
}

/// Threat 18, CVE-2026-41059: the fragment is cut off before it is decided on the rest, and so is it before that is forwarded.
#[test]
fn no_fragment_makes_a_decision_and_a_request_differ() {
    let gw = start(|_| {});
    assert_ne!(dial(&gw).ask(&but(&[(":path", "/orders#/../public/")])).verdict(), "200");
    assert_eq!(gw.upstream.count(), 0);
    assert_eq!(dial(&gw).ask(&but(&[(":path", "/public/x#/../../orders")])).verdict(), "200");
    assert_eq!(gw.upstream.last().target, "/public/x");
}

/// A request line without a target between its blanks is read differently by nearly everybody.
#[test]
fn where_nothing_stands_before_a_fragment_the_upstream_is_asked_for_a_slash() {
    let gw = start(|config| config.routes[0].auth = AuthRule::None);
    assert_eq!(dial(&gw).ask(&but(&[(":path", "#x")])).verdict(), "200");
    assert_eq!(gw.upstream.last().target, "/");
}

/// Threat 35, CVE-2026-71324.
#[test]
fn nobody_is_connected_through() {
    let gw = start(|_| {});
    let connect = [(":method", "CONNECT"), (":authority", "api.example.com:443")];
    let extended = but(&[(":method", "CONNECT"), (":protocol", "websocket")]);
    for (fields, verdicts) in [(&connect[..], ["method_not_allowed"; 2]), (&extended, ["reset 1", "gone"])] {
        let mut verdict = String::new();
        let (_, bytes) = gw.reached(|| verdict = dial(&gw).ask(fields).verdict());
        assert!(verdicts.contains(&verdict.as_str()), "{fields:?}: {verdict}");
        assert_eq!(bytes, 0, "{fields:?}");
    }
}

#[test]
fn a_body_of_another_length_than_promised_is_not_whole() {
    for (promised, sent) in [("3", "hello"), ("9", "hello")] {
        let gw = start(|_| {});
        let mut client = dial(&gw);
        let stream = client.open(&[&POST[..], &[("content-length", promised)]].concat(), false);
        client.frame(DATA, END_STREAM, stream, sent.as_bytes());
        assert_ne!(client.outcome(stream).verdict(), "200", "{sent} instead of {promised}");
        assert_eq!(gw.upstream.count(), 0, "{sent} instead of {promised}");
    }
}
