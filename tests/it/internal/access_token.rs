//! Access tokens for backends: the one that wxgate uses, to whoever is let in.

use std::{thread::scope, time::Duration};

use serde_json::{Value, json};
use wxgate::{
    config::sections::PlatformKind,
    simulator::{Fault, Order},
};

use super::{asks, start};
use crate::support::{APP, OTHER_APP, Reply, TestGateway};

const STABLE_TOKEN: &str = "/cgi-bin/stable_token";

fn path(app: &str) -> String {
    format!("/internal/v1/access_token?app={app}")
}

fn ask(gw: &TestGateway) -> Reply {
    asks(gw, "GET", &path(APP), &Value::Null)
}

fn fails(gw: &TestGateway, errcode: i64) -> Reply {
    gw.wechat.next_fault(Order::from(Fault::Errcode { errcode, errmsg: None }).times(2).on(STABLE_TOKEN));
    let reply = ask(gw);
    gw.wechat.clear_faults();
    reply
}

#[test]
fn however_many_backends_ask_they_get_the_one_token_that_is_used_here() {
    let gw = start();
    let tokens: Vec<Value> = scope(|scope| {
        let asking: Vec<_> = (0..6).map(|_| scope.spawn(|| ask(&gw).json())).collect();
        asking.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    assert!(tokens.iter().all(|told| told == &tokens[0]), "{tokens:?}");
    assert_eq!(tokens[0]["expiresIn"], 6900, "five minutes before its end another is given");
    let code = gw.wechat.make_phone_code(APP, "86", "13900112233").expect("a code");
    assert_eq!(gw.login("oAlice").post("/v1/phone", &json!({ "code": code }).to_string()).status, 200);
    assert_eq!(gw.wechat.calls_of(STABLE_TOKEN), 1);
    gw.later(Duration::from_mins(100));
    let later = ask(&gw).json();
    assert_eq!((&later["accessToken"], &later["expiresIn"]), (&tokens[0]["accessToken"], &json!(900)));
    gw.later(Duration::from_mins(15));
    assert_ne!(ask(&gw).json()["accessToken"], tokens[0]["accessToken"]);
}

#[test]
fn an_access_token_is_lent_to_whoever_is_let_in_and_to_nobody_else() {
    let gw = start();
    let told = ask(&gw);
    assert_eq!((told.status, told.header("cache-control")), (200, Some("no-store")));
    let token = told.json()["accessToken"].as_str().expect("a token").to_owned();
    let session = format!("Bearer {}", gw.login("oAlice").token);
    for headers in [&[][..], &[("Authorization", session.as_str())]] {
        let reply = gw.internal().request("GET", &path(APP), headers, "");
        assert_eq!(reply.status, 401);
        assert!(!reply.text().contains(&token));
    }
    assert_ne!(asks(&gw, "GET", &path(OTHER_APP), &Value::Null).json()["accessToken"], token.as_str());
}

#[test]
fn an_app_that_is_not_named_once_or_has_no_tokens_is_refused() {
    let gw = TestGateway::with(|config| {
        super::listening(config);
        config.apps[1].platform = PlatformKind::Douyin;
    });
    for (query, code) in [
        ("", "bad_request"),
        ("?app", "unknown_app"),
        ("?App=x", "bad_request"),
        ("?app=wxunknown", "unknown_app"),
        (&format!("?app={APP}&app={APP}"), "bad_request"),
        (&format!("?app={OTHER_APP}"), "not_a_wechat_app"),
    ] {
        let reply = asks(&gw, "GET", &format!("/internal/v1/access_token{query}"), &Value::Null);
        assert_eq!(reply.code(), code, "{query}");
    }
    assert_eq!(gw.wechat.calls_of(STABLE_TOKEN), 0);
}

#[test]
fn what_wechat_refuses_is_told_and_not_kept_for_long() {
    let gw = start();
    for (errcode, status, code, after) in [
        (-1, 503, "wechat_busy", Some("1")),
        (45009, 429, "rate_limited", Some("60")),
        (40164, 502, "app_misconfigured", None),
        (99999, 502, "wechat_unreachable", None),
    ] {
        let reply = fails(&gw, errcode);
        assert_eq!((reply.status, reply.code().as_str(), reply.header("retry-after")), (status, code, after));
        gw.later(Duration::from_secs(1));
    }
    assert_eq!(ask(&gw).status, 200);
}

fn refuses(gw: &TestGateway, serial: &Value) -> Value {
    let reply = asks(gw, "GET", &format!("{}&refused={serial}", path(APP)), &Value::Null);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

#[test]
fn a_token_that_wechat_refuses_is_reported_by_its_serial_and_replaced() {
    let gw = start();
    let dead = ask(&gw).json();
    gw.wechat.replace_tokens(APP);
    assert_eq!(ask(&gw).json()["accessToken"], dead["accessToken"], "nobody has told");
    let (first, second) = scope(|scope| {
        let first = scope.spawn(|| refuses(&gw, &dead["serial"]));
        (refuses(&gw, &dead["serial"]), first.join().expect("an answer"))
    });
    assert_ne!(first["accessToken"], dead["accessToken"]);
    assert_eq!((&first["accessToken"], &first["serial"]), (&second["accessToken"], &second["serial"]));
    assert_eq!(gw.wechat.calls_of(STABLE_TOKEN), 2, "of all who report one serial the first has it renewed");
    assert_eq!(refuses(&gw, &dead["serial"])["serial"], first["serial"], "an old serial says nothing of the new token");
    assert_eq!(gw.wechat.calls_of(STABLE_TOKEN), 2);
}

#[test]
fn reports_in_a_row_renew_once_in_ten_seconds() {
    let gw = start();
    let mut told = ask(&gw).json();
    for _ in 0..5 {
        told = refuses(&gw, &told["serial"]);
    }
    assert_eq!(gw.wechat.calls_of(STABLE_TOKEN), 2);
    gw.later(Duration::from_secs(10));
    assert_ne!(refuses(&gw, &told["serial"])["serial"], told["serial"]);
    assert_eq!(gw.wechat.calls_of(STABLE_TOKEN), 3);
    for query in ["refused=", "refused=x", "refused=-1", "refused=1&refused=1"] {
        assert_eq!(asks(&gw, "GET", &format!("{}&{query}", path(APP)), &Value::Null).code(), "bad_request", "{query}");
    }
}

#[test]
fn a_reload_that_concerns_something_else_keeps_tokens_and_their_serials() {
    let mut gw = start();
    let told = ask(&gw).json();
    gw.reload(|config| config.apps[1].idle = Some(Duration::from_hours(1)));
    assert_eq!(ask(&gw).json(), told);
    assert_eq!(gw.wechat.calls_of(STABLE_TOKEN), 1);
}
