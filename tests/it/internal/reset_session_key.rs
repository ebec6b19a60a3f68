//! A key that others may know gives way to another one, at WeChat and here, and neither leaves.

use std::{
    net::TcpStream,
    thread::{Scope, ScopedJoinHandle, scope},
};

use serde_json::{Value, json};
use wxgate::{
    config::sections::{NewestSealKey, Seal, Snapshot},
    model::{SealKey, Secret},
    simulator::{Fault, Order},
};

use super::{asks, listening, start};
use crate::{
    redis::instances::gateway_with,
    support::{APP, Reply, TestGateway, redis_server::RedisServer, scripted::Scripted, until},
};

const PATH: &str = "/internal/v1/reset_session_key";
const RESET: &str = "/wxa/resetusersessionkey";
const STABLE_TOKEN: &str = "/cgi-bin/stable_token";

fn of(openid: &str) -> Value {
    json!({ "app": APP, "openid": openid })
}

fn reset(gw: &TestGateway, openid: &str) -> Reply {
    asks(gw, "POST", PATH, &of(openid))
}

/// Whether WeChat says of the key that is kept that it counts.
fn counts(gw: &TestGateway, openid: &str) -> bool {
    let told = asks(gw, "POST", "/internal/v1/check_session", &of(openid)).json();
    told["valid"].as_bool().unwrap_or_else(|| panic!("{told}"))
}

/// What WeChat encrypts for a user now.
fn data(gw: &TestGateway, openid: &str) -> Value {
    let data = gw.wechat.user_data(APP, openid, &json!({ "openGId": "tGroup" })).expect("a user who has logged in");
    json!({ "app": APP, "openid": openid, "encryptedData": data.encrypted_data, "iv": data.iv })
}

fn opens(gw: &TestGateway, data: &Value) -> bool {
    let reply = asks(gw, "POST", "/internal/v1/decrypt", data);
    match reply.status {
        200 => true,
        409 => false,
        other => panic!("{other}: {reply:?}"),
    }
}

/// Asks, and waits until WeChat has done it and does not say so yet.
fn asks_and_waits<'s>(
    gw: &'s TestGateway,
    scope: &'s Scope<'s, '_>,
    openid: &'static str,
) -> ScopedJoinHandle<'s, Reply> {
    gw.wechat.next_fault(Order::from(Fault::Hang).on(RESET));
    let asking = scope.spawn(move || reset(gw, openid));
    gw.until_hanging(1);
    asking
}

#[test]
fn the_old_key_opens_nothing_any_more_and_the_new_one_opens_for_all_sessions_of_the_user() {
    let gw = start();
    let (mut phone, tablet, mut bob) = (gw.login("oAlice"), gw.login("oAlice"), gw.login("oBob"));
    let (old, of_bob) = (data(&gw, "oAlice"), data(&gw, "oBob"));
    assert!(opens(&gw, &old));
    let told = reset(&gw, "oAlice");
    assert_eq!((told.status, told.text()), (200, r#"{"reset":true}"#.to_owned()), "and no key");
    assert_eq!(told.header("cache-control"), Some("no-store"));
    assert!(!opens(&gw, &old));
    let new = data(&gw, "oAlice");
    assert!(opens(&gw, &new) && counts(&gw, "oAlice"));
    for user in [&phone, &tablet] {
        let body = json!({ "token": user.token, "encryptedData": new["encryptedData"], "iv": new["iv"] });
        assert!(opens(&gw, &body));
    }
    assert_eq!([phone.get("/orders").status, bob.get("/orders").status], [200; 2], "nobody is logged out");
    assert!(opens(&gw, &of_bob), "nobody else's key has changed");
    assert_eq!(asks(&gw, "POST", PATH, &json!({ "token": tablet.token })).json(), json!({ "reset": true }));
    assert!(!opens(&gw, &new) && opens(&gw, &data(&gw, "oAlice")));
}

#[test]
fn a_key_that_counts_no_more_is_not_reset_until_the_user_has_logged_in_again() {
    let gw = start();
    gw.login("oAlice");
    super::check_session::logs_in_elsewhere(&gw, "oAlice");
    let told = reset(&gw, "oAlice");
    assert_eq!((told.status, told.json()), (200, json!({ "reset": false })));
    assert!(!counts(&gw, "oAlice"));
    gw.login("oAlice");
    assert_eq!(reset(&gw, "oAlice").json(), json!({ "reset": true }));
    assert!(counts(&gw, "oAlice"));
}

#[test]
fn a_login_meanwhile_brings_the_newer_key_and_that_one_stays() {
    let gw = start();
    gw.login("oAlice");
    let old = data(&gw, "oAlice");
    scope(|scope| {
        let asking = asks_and_waits(&gw, scope, "oAlice");
        gw.login("oAlice");
        gw.wechat.release();
        assert_eq!(asking.join().unwrap().json(), json!({ "reset": true }), "the one that was is worth nothing");
    });
    assert!(counts(&gw, "oAlice") && opens(&gw, &data(&gw, "oAlice")) && !opens(&gw, &old));
}

#[test]
fn of_two_who_ask_at_once_one_does_it_and_the_other_changes_nothing() {
    let gw = start();
    gw.login("oAlice");
    scope(|scope| {
        let asking = asks_and_waits(&gw, scope, "oAlice");
        assert_eq!(reset(&gw, "oAlice").json(), json!({ "reset": false }), "with the key that was");
        gw.wechat.release();
        assert_eq!(asking.join().unwrap().json(), json!({ "reset": true }));
    });
    assert!(counts(&gw, "oAlice") && opens(&gw, &data(&gw, "oAlice")));
}

/// As bytes.
fn request_of(gw: &TestGateway) -> String {
    let body = of("oAlice").to_string();
    let ((name, value), host, length) = (super::BEARER, gw.internal_addr(), body.len());
    format!("POST {PATH} HTTP/1.1\r\nHost: {host}\r\n{name}: {value}\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[test]
fn what_wechat_has_done_is_kept_though_the_backend_hangs_up() {
    let gw = start();
    gw.login("oAlice");
    gw.wechat.next_fault(Order::from(Fault::Hang).on(RESET));
    let mut backend = gw.internal();
    backend.send(request_of(&gw));
    gw.until_hanging(1);
    drop(backend);
    // The listener has one thread, which sees to who has gone before it answers who has come since.
    for _ in 0..3 {
        assert!(!counts(&gw, "oAlice"), "the new key is on its way");
    }
    gw.wechat.release();
    until("the new key", || counts(&gw, "oAlice").then_some(()));
}

#[test]
fn where_the_store_fails_after_wechat_has_done_it_the_key_is_stale_until_the_next_login() {
    let store = Scripted::own();
    let gw = TestGateway::on(Some(store.clone()), listening);
    gw.login("oAlice");
    scope(|scope| {
        let asking = asks_and_waits(&gw, scope, "oAlice");
        store.go_away();
        gw.wechat.release();
        let told = asking.join().unwrap();
        assert_eq!((told.status, told.code().as_str()), (503, "store_unavailable"));
    });
    store.come_back();
    assert_eq!(reset(&gw, "oAlice").json(), json!({ "reset": false }));
    assert!(!opens(&gw, &data(&gw, "oAlice")), "session_key_stale");
    gw.login("oAlice");
    assert!(opens(&gw, &data(&gw, "oAlice")) && counts(&gw, "oAlice"));
}

/// Nobody will ever be told the new key again.
#[test]
fn a_store_that_is_away_for_a_moment_gets_the_new_key_when_it_is_back() {
    let store = Scripted::own();
    let gw = TestGateway::on(Some(store.clone()), listening);
    gw.login("oAlice");
    scope(|scope| {
        let asking = asks_and_waits(&gw, scope, "oAlice");
        store.go_away();
        gw.wechat.release();
        until("a try in vain", || {
            let page = gw.admin().get("/metrics").text();
            let errors = "wxgate_store_errors_total{operation=\"replace_session_key\"} ";
            page.lines().any(|line| line.strip_prefix(errors).is_some_and(|n| n != "0")).then_some(())
        });
        store.come_back();
        assert_eq!(asking.join().unwrap().json(), json!({ "reset": true }));
    });
    assert!(counts(&gw, "oAlice") && opens(&gw, &data(&gw, "oAlice")));
}

#[test]
fn a_stop_waits_for_the_new_key_though_the_backend_has_hung_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wxgate.db");
    let gateway = |api_base: Option<String>| {
        TestGateway::with(|config| {
            listening(config);
            let key = SealKey::parse(&Secret::new("5e".repeat(32))).unwrap();
            config.sessions.snapshot = Some(Snapshot { path: path.clone() });
            config.sessions.seal = Some(Seal { key: NewestSealKey::Given(key), old_keys: Vec::new() });
            if let Some(api_base) = api_base {
                config.apps[0].api_base = api_base.parse().expect("a URL");
            }
        })
    };
    let mut gw = gateway(None);
    gw.login("oAlice");
    gw.wechat.next_fault(Order::from(Fault::Hang).on(RESET));
    let (mut backend, request, admin) = (gw.internal(), request_of(&gw), gw.admin_addr());
    backend.send(request);
    gw.until_hanging(1);
    drop(backend);
    gw.stop_while(|wechat| {
        // The operators' listener is among the last that go.
        until("nobody listens any more", || TcpStream::connect(admin).err());
        wechat.release();
    });
    let again = gateway(Some(gw.wechat.api_base()));
    assert!(counts(&again, "oAlice"), "the key that WeChat has made");
}

#[test]
fn a_reset_at_one_instance_holds_at_all() {
    let server = RedisServer::start();
    let one = gateway_with(&server.section(), listening);
    let other = gateway_with(&server.section(), |config| {
        listening(config);
        config.apps[0].api_base = one.wechat.api_base().parse().expect("a URL");
    });
    one.login("oAlice");
    let old = data(&one, "oAlice");
    assert!(opens(&one, &old) && opens(&other, &old));
    assert_eq!(reset(&other, "oAlice").json(), json!({ "reset": true }));
    let new = data(&one, "oAlice");
    for gw in [&one, &other] {
        assert!(opens(gw, &new) && !opens(gw, &old) && counts(gw, "oAlice"));
    }
    assert_eq!(reset(&one, "oAlice").json(), json!({ "reset": true }), "with what the other has kept");
    assert!(opens(&other, &data(&one, "oAlice")));
}

#[test]
fn a_dead_access_token_is_replaced_within_the_question() {
    let gw = start();
    gw.login("oAlice");
    assert!(counts(&gw, "oAlice"));
    gw.wechat.replace_tokens(APP);
    assert_eq!(reset(&gw, "oAlice").json(), json!({ "reset": true }));
    assert_eq!((gw.wechat.calls_of(STABLE_TOKEN), gw.wechat.calls_of(RESET)), (2, 2));
}

#[test]
fn whoever_has_no_key_and_whatever_names_nobody_is_refused_without_a_call() {
    let gw = start();
    gw.login("oAlice");
    for (body, code) in [
        (of("oBob"), "no_session_key"),
        (json!({ "app": "wxunknown", "openid": "oAlice" }), "unknown_app"),
        (json!({ "token": "wxg_no" }), "no_session"),
        (json!({ "app": APP, "openid": "oAlice", "token": "wxg_no" }), "bad_request"),
        (json!({ "app": APP }), "bad_request"),
        (Value::Null, "bad_request"),
    ] {
        assert_eq!(asks(&gw, "POST", PATH, &body).code(), code, "{body}");
    }
    assert_eq!(gw.wechat.calls_of(RESET), 0);
}

#[test]
fn a_reset_of_which_nothing_is_known_is_neither_a_yes_nor_a_no() {
    let gw = start();
    gw.login("oAlice");
    let errcode = |errcode| Fault::Errcode { errcode, errmsg: None };
    for (fault, status, code) in [
        (errcode(-1), 503, "wechat_busy"),
        (errcode(45011), 429, "rate_limited"),
        (errcode(87008), 502, "wechat_unreachable"),
        (errcode(42001), 502, "wechat_unreachable"),
        (Fault::Openid { openid: "oBob".to_owned() }, 502, "wechat_unreachable"),
        (Fault::Without { field: "session_key".to_owned() }, 502, "wechat_unreachable"),
    ] {
        gw.wechat.next_fault(Order::from(fault).times(2).burns_code(false).on(RESET));
        let reply = reset(&gw, "oAlice");
        assert_eq!((reply.status, reply.code().as_str()), (status, code));
        gw.wechat.clear_faults();
    }
    assert!(counts(&gw, "oAlice"), "what is kept is what it was");
}
