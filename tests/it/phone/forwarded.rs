//! What an upstream is told of phone numbers: where its route asks for it, and what nobody can forge.

use std::{sync::Arc, time::Duration};

use http::HeaderName;
use wxgate::{
    config::{
        Config,
        sections::{AuthRule, Route},
    },
    store::Store,
};

use super::{NOT_NOW, NUMBER, PATH, tell};
use crate::support::{Seen, TestGateway, User, scripted::Scripted};

/// Beside what the harness has, a route that tells of numbers, and one where nobody need be known.
fn with_calls(config: &mut Config) {
    for (path, auth) in [("/call/", AuthRule::Required), ("/maybe-call/", AuthRule::Optional)] {
        config.routes.push(Route { auth, forward_phone: true, ..Route::new(path, "app") });
    }
}

/// Every header that a backend could read as ours.
fn told(seen: &Seen) -> Vec<String> {
    let alike = |name: &str| name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let ours = seen.headers.iter().filter(|(name, _)| alike(name) == "x-wx-phone");
    ours.map(|(_, value)| value.clone()).collect()
}

fn told_on(gw: &TestGateway, user: &mut User, path: &str) -> Vec<String> {
    let forgery = [("X-WX-PHONE", "1"), ("x_wx_phone", "2"), ("X-Wx.Phone", "3"), ("Connection", "X-WX-PHONE")];
    let reply = user.request("GET", path, &forgery, "");
    assert_eq!(reply.status, 200, "{reply:?}");
    told(&gw.upstream.last())
}

#[test]
fn only_a_route_that_asks_for_it_is_told_the_phone_number() {
    let gw = TestGateway::with(with_calls);
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    tell(&gw, &mut alice, NUMBER);
    for path in ["/call/1", "/maybe-call/1"] {
        assert_eq!(told_on(&gw, &mut alice, path), [NUMBER], "{path}");
        assert_eq!(told_on(&gw, &mut bob, path), Vec::<String>::new(), "{path}: bob has told none");
    }
    for path in ["/orders", "/public/1", "/maybe/1"] {
        assert_eq!(told_on(&gw, &mut alice, path), Vec::<String>::new(), "{path}");
    }
    let stranger = gw.client().request("GET", "/maybe-call/1", &[("X-WX-PHONE", "1")], "");
    assert_eq!((stranger.status, told(&gw.upstream.last())), (200, vec![]));
}

#[test]
fn what_is_changed_or_removed_is_told_at_once() {
    let gw = TestGateway::with(with_calls);
    let mut alice = gw.login("oAlice");
    assert_eq!(told_on(&gw, &mut alice, "/call/"), Vec::<String>::new());
    for number in [NUMBER, "13900000002"] {
        tell(&gw, &mut alice, number);
        assert_eq!(told_on(&gw, &mut alice, "/call/"), [number]);
    }
    assert_eq!(alice.request("DELETE", PATH, &[], "").status, 204);
    assert_eq!(told_on(&gw, &mut alice, "/call/"), Vec::<String>::new());
    tell(&gw, &mut alice, "13900000003");
    assert_eq!(told_on(&gw, &mut alice, "/call/"), ["13900000003"]);
    assert_eq!(alice.request("DELETE", "/v1/profile", &[], "").status, 204);
    assert_eq!(told_on(&gw, &mut alice, "/call/"), Vec::<String>::new());
}

#[test]
fn where_the_number_can_not_be_looked_up_the_request_does_not_go_on() {
    let store = Scripted::own();
    let gw = TestGateway::on(Some(Arc::clone(&store) as Arc<dyn Store>), with_calls);
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    tell(&gw, &mut alice, NUMBER);
    assert_eq!(told_on(&gw, &mut alice, "/call/"), [NUMBER]);
    store.go_away();
    assert_eq!(told_on(&gw, &mut alice, "/call/"), [NUMBER], "known for a minute");
    gw.later(Duration::from_mins(1));
    let seen = gw.upstream.seen().len();
    for user in [&mut alice, &mut bob] {
        let reply = user.get("/call/");
        gw.says_no(&reply, 503, "store_unavailable", NOT_NOW, &[("retry-after", "1")]);
    }
    assert_eq!(gw.upstream.seen().len(), seen);
    assert_eq!(alice.get("/orders").status, 200, "who does not ask for it does not need it");
    store.come_back();
    assert_eq!(told_on(&gw, &mut alice, "/call/"), [NUMBER]);
}

#[test]
fn a_number_is_looked_up_once_a_minute_and_not_at_all_where_nobody_asks() {
    let store = Scripted::own();
    let gw = TestGateway::on(Some(Arc::clone(&store) as Arc<dyn Store>), with_calls);
    let mut alice = gw.login("oAlice");
    for _ in 0..5 {
        alice.get("/orders");
    }
    assert_eq!(store.asked("profile"), 0);
    for _ in 0..5 {
        alice.get("/call/");
    }
    assert_eq!(store.asked("profile"), 1, "also that there is none is known");
    gw.later(Duration::from_mins(1));
    alice.get("/call/");
    assert_eq!(store.asked("profile"), 2);
}

#[test]
fn the_header_may_have_another_name_and_that_is_stripped_too() {
    let gw = TestGateway::with(|config| {
        with_calls(config);
        config.identity.phone = HeaderName::from_static("x-caller-number");
    });
    let mut alice = gw.login("oAlice");
    tell(&gw, &mut alice, NUMBER);
    let forgery = [("X-Caller-Number", "1"), ("x_caller_number", "2")];
    for (path, expected) in [("/call/", Some(NUMBER)), ("/orders", None), ("/public/", None)] {
        assert_eq!(alice.request("GET", path, &forgery, "").status, 200);
        let seen = gw.upstream.last();
        assert_eq!((seen.header("x-caller-number"), seen.header("x_caller_number")), (expected, None), "{path}");
    }
}

#[test]
fn another_proxy_hears_the_number_or_an_empty_text_and_never_nothing() {
    let gw = TestGateway::with(|config| {
        with_calls(config);
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let (mut alice, bob) = (gw.login("oAlice"), gw.login("oBob"));
    tell(&gw, &mut alice, NUMBER);
    for (token, target, expected) in [
        (&alice.token, "/call/1", NUMBER),
        (&alice.token, "/orders", ""),
        (&alice.token, "/public/1", ""),
        (&bob.token, "/call/1", ""),
    ] {
        let reply = gw.raw(format!(
            "GET /v1/authorize HTTP/1.1\r\nHost: a\r\nX-Original-Method: GET\r\nX-Original-URI: {target}\r\n\
             X-Forwarded-Host: api.example.com\r\nAuthorization: Bearer {token}\r\nX-WX-PHONE: evil\r\n\r\n"
        ));
        assert_eq!((reply.status, reply.header("x-wx-phone")), (200, Some(expected)), "{target}");
    }
}

#[test]
fn a_websocket_is_opened_with_the_number_of_its_user() {
    let gw = TestGateway::with(|config| {
        config.routes.push(Route { websocket: true, forward_phone: true, ..Route::new("/chat/", "app") });
    });
    let mut alice = gw.login("oAlice");
    tell(&gw, &mut alice, NUMBER);
    let opening = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade, X-WX-PHONE"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("X-WX-PHONE", "evil"),
    ];
    alice.request("GET", "/chat/", &opening, "");
    assert_eq!(told(&gw.upstream.last()), [NUMBER]);
}
