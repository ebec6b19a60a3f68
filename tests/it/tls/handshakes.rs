//! What a handshake comes to: versions, protocols, tickets, and those who never get that far.

use std::time::Duration;

use rustls::{
    HandshakeKind, ProtocolVersion,
    version::{TLS12, TLS13},
};
use wxgate::config::sections::{Tls, TlsVersion};

use crate::support::{
    TestGateway,
    client::head,
    tls::{Authority, speak_tls},
    until,
};

const NAME: &str = "api.example.com";
const SOON: Duration = Duration::from_millis(200);

fn with_tls(ca: &Authority, change: impl FnOnce(&mut Tls)) -> TestGateway {
    TestGateway::with(|config| change(speak_tls(config, vec![ca.files("api", &[NAME])])))
}

/// How many handshakes have come to this.
fn counted(gw: &TestGateway, outcome: &str) -> u64 {
    gw.app().counters().tls_handshakes.each().into_iter().find(|(word, _)| *word == outcome).unwrap().1
}

/// Waits until so many handshakes have come to this.
fn until_counted(gw: &TestGateway, outcome: &str, count: u64) {
    until(outcome, || (counted(gw, outcome) == count).then_some(()));
}

#[test]
fn both_versions_are_spoken_and_the_log_says_which() {
    let ca = Authority::new();
    let gw = with_tls(&ca, |_| {});
    for (version, spoken, logged) in
        [(&TLS12, ProtocolVersion::TLSv1_2, "1.2"), (&TLS13, ProtocolVersion::TLSv1_3, "1.3")]
    {
        let mut client = ca.dialler_of(version).dial(gw.addr(), NAME);
        assert_eq!(client.tls().protocol_version(), Some(spoken));
        assert_eq!(client.get(&format!("/public/{logged}")).status, 200);
        assert!(gw.log.line(&format!("/public/{logged}")).contains(&format!("\"tls\":\"{logged}\"")));
        assert_eq!(gw.upstream.last().header("x-forwarded-proto"), Some("https"));
        assert!(gw.upstream.last().header("forwarded").unwrap().ends_with("proto=https"));
    }
    assert_eq!(counted(&gw, "full"), 2);
}

#[test]
fn an_old_version_is_refused_where_the_new_one_is_asked_for() {
    let ca = Authority::new();
    let gw = with_tls(&ca, |tls| tls.min_version = TlsVersion::Tls13);
    assert_eq!(ca.dialler_of(&TLS13).dial(gw.addr(), NAME).get("/public/").status, 200);
    assert!(ca.dialler_of(&TLS12).try_dial(gw.addr(), NAME).is_err());
    until_counted(&gw, "incompatible", 1);
}

#[test]
fn a_client_that_wants_a_protocol_gets_one_that_is_spoken_or_none() {
    let ca = Authority::new();
    let gw = with_tls(&ca, |_| {});
    let mut client = ca.dialler().offering(&["http/1.1", "spdy/3"]).dial(gw.addr(), NAME);
    assert_eq!(client.tls().alpn_protocol(), Some(b"http/1.1".as_slice()));
    assert_eq!(client.get("/public/").status, 200);
    assert_eq!(ca.dialler().dial(gw.addr(), NAME).tls().alpn_protocol(), None);
    assert!(ca.dialler().offering(&["spdy/3"]).try_dial(gw.addr(), NAME).is_err(), "RFC 7301, 3.2");
    until_counted(&gw, "incompatible", 1);
}

#[test]
fn a_client_that_comes_back_goes_on_with_its_session_at_whichever_worker() {
    let ca = Authority::new();
    for version in [&TLS12, &TLS13] {
        let gw = with_tls(&ca, |_| {});
        let dialler = ca.dialler_of(version);
        for n in 0..8 {
            let mut client = dialler.dial(gw.addr(), NAME);
            let kind = if n == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
            assert_eq!(client.tls().handshake_kind(), Some(kind), "{version:?} {n}");
            assert_eq!(client.get("/public/").status, 200);
        }
        assert_eq!((counted(&gw, "full"), counted(&gw, "resumed")), (1, 7));
    }
}

#[test]
fn without_tickets_every_handshake_is_a_whole_one() {
    let ca = Authority::new();
    for version in [&TLS12, &TLS13] {
        let gw = with_tls(&ca, |tls| tls.tickets = 0);
        let dialler = ca.dialler_of(version);
        for _ in 0..3 {
            let mut client = dialler.dial(gw.addr(), NAME);
            assert_eq!(
                (client.tls().handshake_kind(), client.get("/public/").status),
                (Some(HandshakeKind::Full), 200)
            );
        }
    }
}

/// Threat 43, CVE-2026-22045 and 26999: a handshake without a deadline.
#[test]
fn who_does_not_shake_hands_in_time_is_cut_off() {
    let ca = Authority::new();
    let gw = with_tls(&ca, |tls| tls.handshake_timeout = SOON);
    assert_eq!(gw.client().rest(), b"");
    until_counted(&gw, "silent", 1);
    // The first bytes of a hello of 512 bytes, and no more.
    for half in [&b"\x16"[..], b"\x16\x03\x01\x02\x00\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        assert_eq!(gw.client().send(half).rest(), b"");
    }
    until_counted(&gw, "timeout", 3);
    assert_eq!(gw.log.text(), "");
}

#[test]
fn half_a_hello_keeps_nobody_from_shaking_hands() {
    let ca = Authority::new();
    let gw = TestGateway::with(|config| {
        config.server.workers = 1;
        speak_tls(config, vec![ca.files("api", &[NAME])]).max_handshakes = 1;
    });
    let mut slow = gw.client();
    slow.send(b"\x16\x03\x01\x02\x00\x01");
    assert_eq!(ca.dialler().dial(gw.addr(), NAME).get("/public/").status, 200);
}

#[test]
fn who_stops_in_the_middle_keeps_nobody_from_shaking_hands() {
    let ca = Authority::new();
    let gw = TestGateway::with(|config| {
        config.server.workers = 1;
        speak_tls(config, vec![ca.files("api", &[NAME])]).max_handshakes = 1;
    });
    let mut silent = gw.client();
    silent.send(ca.dialler().hello(NAME));
    assert_eq!(silent.some(1), [0x16], "the gateway has answered, and waits");
    assert_eq!(ca.dialler().dial(gw.addr(), NAME).get("/public/").status, 200);
}

#[test]
fn what_is_no_tls_is_told_so_and_closed() {
    let ca = Authority::new();
    let gw = with_tls(&ca, |_| {});
    let mut garbage = gw.client();
    garbage.send([0x80; 64]);
    let alert = garbage.rest();
    assert_eq!((alert.first(), alert.len()), (Some(&0x15), 7), "a fatal alert: {alert:?}");
    let mut garbage = gw.client();
    garbage.send(b"\x16\x03\x01\x00\x04\xff\x00\x00\x00");
    garbage.rest();
    until_counted(&gw, "garbage", 2);
    let mut gone = gw.client();
    assert!(gone.send(b"\x16\x03\x01").finish().rest().is_empty());
    until_counted(&gw, "broken", 1);
    assert_eq!(ca.dialler().dial(gw.addr(), NAME).get("/public/").status, 200, "and nobody else has noticed");
}

#[test]
fn plain_http_on_a_port_that_speaks_tls_is_answered_in_plain_words() {
    let ca = Authority::new();
    let gw = with_tls(&ca, |_| {});
    for request in [head("GET", "/orders?token=secret", &[], 0), head("POST", "/v1/verify", &[], 2) + "{}"] {
        let mut client = gw.client();
        let reply = client.raw(request);
        let sentence = "This port speaks TLS; the address begins with https.";
        gw.says_no(&reply, 400, "bad_request", sentence, &[("connection", "close")]);
        assert!(client.is_closed());
    }
    assert_eq!(counted(&gw, "plain_http"), 2);
    assert!(!gw.log.text().contains("secret"));
}

#[test]
fn a_client_that_does_not_trust_us_is_counted_as_that() {
    let (ca, other) = (Authority::new(), Authority::new());
    let gw = with_tls(&ca, |_| {});
    assert!(other.dialler().try_dial(gw.addr(), NAME).is_err());
    until_counted(&gw, "refused", 1);
}
