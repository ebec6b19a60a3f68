//! What is sent twice, and what is not.

use std::time::Duration;

use wxgate::config::sections::Balance;

use super::{Backend, OK, gateway, hang_up};
use crate::support::{
    TestGateway,
    upstream::{Then, answer},
};

/// A gateway of which every second request goes to a server that hangs up, and that server, and the other one.
fn with_a_dying_server() -> (TestGateway, Backend, Backend) {
    let (dying, well) = (Backend::start(), Backend::start());
    hang_up(&dying.recorder);
    let gw = gateway(&[&dying, &well], |upstream| {
        upstream.balance = Balance::RoundRobin;
        upstream.eject.failures = 0;
    });
    (gw, dying, well)
}

fn total(backends: &[&Backend]) -> usize {
    backends.iter().map(|backend| backend.recorder.count()).sum()
}

#[test]
fn a_request_that_a_dying_server_took_along_goes_to_another_one() {
    let (gw, dying, well) = with_a_dying_server();
    for method in ["GET", "HEAD", "OPTIONS"] {
        for _ in 0..2 {
            assert_eq!(gw.client().request(method, "/public/", &[], "").status, 200, "{method}");
        }
    }
    assert_eq!((gw.retries(), well.recorder.count()), (dying.recorder.count() as u64, 6));
    assert!(dying.recorder.count() >= 3);
}

/// The second time it is made of the bytes that went out the first time.
#[test]
fn what_is_sent_again_is_what_was_sent() {
    let (gw, dying, well) = with_a_dying_server();
    let bearer = format!("Bearer {}", gw.login("oAlice").token);
    let lines = [
        ("Authorization", bearer.as_str()),
        ("Cookie", "a=1; b=\"2\""),
        ("Cookie", "c=3"),
        ("X-Empty", ""),
        ("X-Words", "\u{4f60}\u{597d}  \t, \u{e9}"),
        ("If-None-Match", "W/\"7\""),
    ];
    for target in ["/", "/orders?page=2&q=%e4%bd%a0+%25", "//orders/./a?x=/../y"] {
        for _ in 0..2 {
            assert_eq!(gw.client().request("GET", target, &lines, "").status, 200, "{target}");
        }
    }
    let (sent, again) = (dying.recorder.seen(), well.recorder.seen());
    assert!(sent.len() >= 3 && again.iter().all(|seen| seen.header("x-wx-openid") == Some("oAlice")));
    for sent in sent {
        let id = sent.header("x-request-id");
        let again = again.iter().find(|again| again.header("x-request-id") == id).expect("it was sent again");
        assert_eq!(again.head, sent.head);
    }
}

/// Whether a connection was kept or new, and whether other servers are well.
#[test]
fn a_post_is_never_sent_twice_whatever_becomes_of_its_server() {
    let backends = [Backend::start(), Backend::start(), Backend::start()];
    let all: Vec<&Backend> = backends.iter().collect();
    let gw = gateway(&all, |upstream| upstream.eject.failures = 0);
    for backend in &all {
        backend.recorder.does(|seen, out| if seen.method == "GET" { answer(out, OK) } else { Then::Close });
    }
    for (method, body) in [("POST", "pay"), ("POST", ""), ("PUT", "pay"), ("DELETE", ""), ("PATCH", "x"), ("GET", "x")]
    {
        if method == "GET" {
            for backend in &all {
                hang_up(&backend.recorder);
            }
        }
        for _ in 0..6 {
            let before = total(&all);
            assert_eq!(gw.client().request(method, "/public/", &[], body).code(), "upstream_unreachable", "{method}");
            assert_eq!(total(&all), before + 1, "{method}");
        }
    }
    assert_eq!(gw.retries(), 0);
}

#[test]
fn a_request_that_no_server_took_goes_on_to_the_next_whatever_it_does() {
    let backends = [Backend::start(), Backend::start(), Backend::start()];
    let all: Vec<&Backend> = backends.iter().collect();
    let gw = gateway(&all, |upstream| upstream.balance = Balance::RoundRobin);
    backends[0].cable.pull();
    backends[2].cable.pull();
    for _ in 0..10 {
        assert_eq!(gw.client().post("/public/", "pay").status, 200);
    }
    assert_eq!(backends[1].recorder.count(), 10);
    assert!(backends[1].recorder.seen().iter().all(|seen| seen.body == b"pay"));
}

#[test]
fn a_request_with_a_byte_of_its_answer_is_not_sent_again() {
    let (one, other) = (Backend::start(), Backend::start());
    let gw = gateway(&[&one, &other], |_| {});
    for bytes in ["H", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        for backend in [&one, &other] {
            backend.recorder.does(move |seen, out| {
                answer(out, if seen.target.ends_with("again") { bytes } else { OK });
                if seen.target.ends_with("again") { Then::Close } else { Then::KeepOpen }
            });
        }
        for target in ["/public/again", "/public/", "/public/", "/public/again"] {
            let before = total(&[&one, &other]);
            let status = gw.client().get(target).status;
            assert_eq!(status, if target.ends_with("again") { 502 } else { 200 }, "{target} {bytes}");
            assert_eq!(total(&[&one, &other]), before + 1, "{target} {bytes}");
        }
    }
    assert_eq!(gw.retries(), 0);
}

#[test]
fn without_a_budget_nothing_is_sent_twice() {
    let (one, other) = (Backend::start(), Backend::start());
    for backend in [&one, &other] {
        hang_up(&backend.recorder);
    }
    let gw = gateway(&[&one, &other], |upstream| {
        upstream.retry.percent = 0;
        upstream.retry.min_per_second = 0;
    });
    for n in 1..=10 {
        assert_eq!(gw.client().get("/public/").code(), "upstream_unreachable");
        assert_eq!(total(&[&one, &other]), n);
    }
}

/// All servers fail, and each request fails twice for it, but not more requests than the budget has.
#[test]
fn a_backend_that_fails_as_a_whole_gets_little_more_than_its_load() {
    let (one, other) = (Backend::start(), Backend::start());
    for backend in [&one, &other] {
        hang_up(&backend.recorder);
    }
    let gw = gateway(&[&one, &other], |upstream| {
        upstream.eject.failures = 0;
        upstream.retry.percent = 10;
        upstream.retry.min_per_second = 0;
    });
    for _ in 0..200 {
        assert_eq!(gw.client().get("/public/").code(), "upstream_unreachable");
    }
    let sent = total(&[&one, &other]);
    assert!((201..=220).contains(&sent), "{sent} for 200");
}

/// Threats 3, item 12: the server closes a kept connection at the moment it is used again. Nothing of that is a failure of
/// the server's.
#[test]
fn a_kept_connection_that_closes_as_it_is_used_costs_nobody_anything() {
    let only = Backend::start();
    only.recorder.does(|seen, out| if seen.nth > 0 { Then::Close } else { answer(out, OK) });
    let gw = gateway(&[&only], |upstream| {
        upstream.idle_timeout = Duration::from_hours(1);
        upstream.eject.failures = 1;
    });
    let mut client = gw.client();
    for n in 0..50 {
        assert_eq!(client.get("/public/").status, 200, "{n}");
    }
    assert!(gw.retries() >= 20);
}

#[test]
fn a_route_may_have_times_of_its_own() {
    let only = Backend::start();
    only.recorder.does(|_, _| Then::KeepOpen);
    let gw = TestGateway::with(|config| {
        config.upstreams[0].servers = vec![only.server()];
        config.upstreams[0].response_timeout = Duration::from_hours(1);
        let public = config.routes.iter_mut().find(|route| route.path == "/public/").unwrap();
        public.response_timeout = Some(Duration::from_millis(50));
    });
    assert_eq!(gw.client().get("/public/").code(), "upstream_timeout");
}
