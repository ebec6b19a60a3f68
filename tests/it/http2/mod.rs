//! HTTP/2 towards clients: where it is spoken, and that nothing about a request is other than over HTTP/1.

mod connections;
mod floods;
mod forged;
mod malformed;
mod slow;

use std::time::Duration;

use wxgate::config::{Config, sections::Http2 as Section};

use crate::support::{
    Client, TestGateway,
    http2::{DATA, END_STREAM, GET, HEADERS, Http2, Outcome, POST, SETTINGS, block, frame},
    tls::{Authority, speak_tls},
};

const HELLO: &str = "{\"ok\":true}";

/// A gateway where clients may begin with HTTP/2.
fn start(change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::with(|config| {
        config.server.http2 = Section { prior_knowledge: true, ..Section::default() };
        change(config);
    })
}

fn dial(gw: &TestGateway) -> Http2 {
    Http2::over(gw.client())
}

#[test]
fn over_tls_a_client_has_the_better_of_the_protocols_that_it_knows() {
    let ca = Authority::new();
    let gw = TestGateway::with(|config| {
        speak_tls(config, vec![ca.files("api", &["api.example.com"])]);
    });
    let dial = |names: &[&str]| ca.dialler().offering(names).dial(gw.addr(), "api.example.com");
    assert_eq!(Http2::over(dial(&["http/1.1", "h2"])).ask(&GET), Outcome::Answer(true, HELLO.to_owned()));
    let seen = gw.upstream.last();
    assert_eq!((seen.header("host"), seen.header("via")), (Some("api.example.com"), Some("2.0 wxgate")));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(dial(&["http/1.1"]).get("/public/").status, 200);
    assert_eq!(dial(&[]).get("/public/").status, 200);
}

#[test]
fn where_it_is_turned_off_it_is_not_offered() {
    let ca = Authority::new();
    let gw = TestGateway::with(|config| {
        speak_tls(config, vec![ca.files("api", &["api.example.com"])]);
        config.server.http2.enabled = false;
    });
    let client = ca.dialler().offering(&["h2", "http/1.1"]).dial(gw.addr(), "api.example.com");
    assert_eq!(client.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn without_tls_a_listener_hears_which_protocol_a_client_begins_with() {
    let gw = start(|_| {});
    assert_eq!(dial(&gw).ask(&GET).verdict(), "200");
    assert_eq!(gw.client().get("/public/").status, 200);
    assert_eq!(gw.client().post("/public/", "{}").status, 200, "it begins with the same letter");
    assert_eq!(gw.raw("PRI * HTTP/1.1\r\nHost: api.example.com\r\n\r\n").status, 400);
    let shy = TestGateway::start();
    assert_eq!(Client::connect(shy.addr()).raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status, 400);
}

#[test]
fn who_calls_is_told_as_ever_and_can_not_be_made_up() {
    let gw = start(|_| {});
    let alice = gw.login("oAlice");
    let bearer = format!("Bearer {}", alice.token);
    let fields = [&GET[..3], &[(":path", "/orders"), ("authorization", &bearer), ("x-wx-openid", "oMallory")]].concat();
    assert_eq!(dial(&gw).ask(&fields).verdict(), "200");
    assert_eq!(gw.upstream.last().header("x-wx-openid"), Some("oAlice"));
    assert_eq!(dial(&gw).ask(&[&GET[..3], &[(":path", "/orders")]].concat()).verdict(), "token_missing");
}

#[test]
fn the_crumbs_of_a_cookie_reach_the_upstream_as_one_line() {
    let gw = start(|_| {});
    let crumbs = [&GET[..], &[("cookie", "a=1"), ("cookie", "b=2")]].concat();
    assert_eq!(dial(&gw).ask(&crumbs).verdict(), "200");
    assert_eq!(gw.upstream.last().header("cookie"), Some("a=1; b=2"));
}

#[test]
fn a_body_without_a_length_goes_on_in_chunks() {
    let gw = start(|_| {});
    let mut client = dial(&gw);
    let stream = client.open(&POST, false);
    client.frame(DATA, 0, stream, b"hello ");
    client.frame(DATA, END_STREAM, stream, b"world");
    assert_eq!(client.outcome(stream).verdict(), "200");
    let seen = gw.upstream.last();
    assert_eq!((seen.header("transfer-encoding"), &seen.body[..]), (Some("chunked"), &b"hello world"[..]));
}

/// Threat 10: behind the back of whoever checked the head.
#[test]
fn trailers_of_a_request_reach_nobody() {
    let gw = start(|_| {});
    let mut client = dial(&gw);
    let stream = client.open(&[&POST[..], &[("trailer", "x-wx-openid")]].concat(), false);
    client.frame(DATA, 0, stream, b"hello");
    client.frame(HEADERS, 5, stream, &block(&[("x-wx-openid", "oMallory")]));
    assert_eq!(client.outcome(stream).verdict(), "200");
    let seen = gw.upstream.last();
    assert_eq!((&seen.trailers[..], seen.header("x-wx-openid"), seen.header("trailer")), (&[][..], None, None));
}

#[test]
fn an_answer_to_head_is_a_head() {
    let gw = start(|_| {});
    let head = |path| [&[(":method", "HEAD")], &GET[1..3], &[(":path", path)]].concat();
    assert_eq!(dial(&gw).ask(&head("/orders")), Outcome::Answer(false, String::new()));
    gw.upstream.answers("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(dial(&gw).ask(&head("/public/")), Outcome::Answer(true, String::new()));
}

#[test]
fn many_requests_are_under_way_at_once_and_a_large_answer_comes_whole() {
    let gw = start(|_| {});
    let large = "x".repeat(300_000);
    gw.upstream.answers(format!("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 300000\r\n\r\n{large}"));
    let mut client = dial(&gw);
    let streams = [client.open(&GET, true), client.open(&GET, true), client.open(&GET, true)];
    assert_eq!(client.outcome(streams[0]), Outcome::Answer(true, large));
    gw.upstream.wait_for(3);
}

#[test]
fn what_a_client_begins_with_is_heard_however_it_is_cut() {
    let gw = start(|_| {});
    let begun = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
    for size in [1, 3, 16, 23, 25] {
        let mut client = gw.client();
        for piece in begun.chunks(size) {
            client.send(piece);
            // A moment, so that each piece is a packet of its own.
            client.stays_silent(Duration::from_millis(1));
        }
        assert_eq!(Http2::begun(client).ask(&GET).verdict(), "200", "in pieces of {size}");
    }
    // As far as it is one, and then it is not.
    for n in [1, 4, 14] {
        let mut client = gw.client();
        client.send(&begun[..n]).stays_silent(Duration::from_millis(1));
        assert_eq!(
            client.raw("OST /public/ HTTP/1.1\r\nHost: a\r\n\r\n").status,
            if n == 1 { 200 } else { 400 },
            "{n}"
        );
    }
}

#[test]
fn over_http2_too_a_request_for_the_host_of_another_certificate_is_misdirected() {
    let ca = Authority::new();
    let gw = TestGateway::with(|config| {
        speak_tls(config, vec![ca.files("a", &["a.example"]), ca.files("b", &["b.example"])]);
    });
    let dial = || Http2::over(ca.dialler().offering(&["h2"]).dial(gw.addr(), "a.example"));
    let to = |host| [&GET[..2], &[(":authority", host)], &GET[3..]].concat();
    let mut client = dial();
    for (host, verdict) in [("b.example", "misdirected_request"), ("a.example", "200"), ("c.example", "200")] {
        assert_eq!(client.ask(&to(host)).verdict(), verdict, "{host}, on one connection");
    }
    assert_eq!(gw.upstream.count(), 2);
}

#[test]
fn a_proxy_header_comes_before_the_preface_too() {
    let gw = start(|config| {
        config.server.proxy_protocol = true;
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let mut client = gw.client();
    client.send("PROXY TCP4 203.0.113.7 10.0.0.1 5000 443\r\n");
    assert_eq!(Http2::over(client).ask(&GET).verdict(), "200");
    assert_eq!(gw.upstream.last().header("x-forwarded-for"), Some("203.0.113.7"));
}
