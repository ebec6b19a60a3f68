//! The private listeners over HTTP/2, where the name that a request came under is a pseudo field.

use crate::support::{
    Client, TestGateway,
    http2::{Http2, Outcome},
    tls::Authority,
};

use super::{BEARER, TOKEN, gate::over_tls, profile_of};

/// What becomes of a request for this path, under this authority and with this `Host` beside it.
fn asks(client: Client, path: &str, authority: &str, host: Option<&str>) -> Outcome {
    let mut fields = vec![
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", authority),
        (":path", path),
        ("authorization", BEARER.1),
    ];
    fields.extend(host.map(|host| ("host", host)));
    Http2::over(client).ask(&fields)
}

fn is_answered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answer(true, _))
}

fn is_turned_away(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Answer(ok, body) => !ok && body.contains("host_not_allowed"),
        // Two names for one thing may be too much for the protocol's own code already.
        Outcome::Reset(_) => true,
        Outcome::Gone(_) => false,
    }
}

#[test]
fn a_backend_that_speaks_http_2_is_known_by_the_authority_it_names() {
    let server = Authority::new();
    let gw = over_tls(&server, None, Some(TOKEN));
    let dial = || server.dialler().offering(&["h2", "http/1.1"]).dial(gw.internal_addr(), "backends.example");
    assert_eq!(dial().tls().alpn_protocol(), Some(&b"h2"[..]));
    let ask = |authority: &str, host: Option<&str>| asks(dial(), &profile_of("oAlice"), authority, host);
    for (authority, host) in [
        ("backends.example", None),
        ("Backends.Example:9443", None),
        ("127.0.0.1:9443", None),
        ("backends.example", Some("backends.example")),
        ("backends.example:443", Some("BACKENDS.example")),
    ] {
        let outcome = ask(authority, host);
        assert!(is_answered(&outcome), "{authority} {host:?}: {outcome:?}");
    }
    for (authority, host) in [
        ("evil.example", None),
        ("evil.example", Some("backends.example")),
        ("backends.example", Some("evil.example")),
        ("backends.example", Some("localhost")),
        ("backends.example:1", Some("backends.example:2")),
    ] {
        let outcome = ask(authority, host);
        assert!(is_turned_away(&outcome), "{authority} {host:?}: {outcome:?}");
    }
}

#[test]
fn an_operator_that_begins_with_http_2_is_known_by_the_authority_too() {
    let gw = TestGateway::with(|config| config.server.http2.prior_knowledge = true);
    let ask = |authority: &str, host: Option<&str>| asks(gw.admin(), "/metrics", authority, host);
    for (authority, host) in [("localhost", None), ("127.0.0.1:9901", Some("127.0.0.1:9901"))] {
        let outcome = ask(authority, host);
        assert!(is_answered(&outcome), "{authority} {host:?}: {outcome:?}");
    }
    for (authority, host) in [("evil.example", None), ("localhost", Some("evil.example"))] {
        let outcome = ask(authority, host);
        assert!(is_turned_away(&outcome), "{authority} {host:?}: {outcome:?}");
    }
}

#[test]
fn an_absolute_target_names_the_listener_too() {
    let gw = super::start();
    let get = |target: &str, host: &str| {
        gw.internal().raw(format!(
            "GET {target}{} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {}\r\n\r\n",
            profile_of("oAlice"),
            BEARER.1
        ))
    };
    assert_eq!(get("http://localhost", "localhost:80").status, 200);
    for (target, host) in [("http://evil.example", "localhost"), ("http://localhost", "evil.example")] {
        assert_eq!(get(target, host).code(), "host_not_allowed", "{target} {host}");
    }
}
