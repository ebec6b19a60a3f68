//! Whether the key that is kept of a user still counts: WeChat is asked, with a token, and the key does not leave.

use std::{sync::Arc, thread::scope};

use serde_json::{Value, json};
use wxgate::{
    config::sections::{self, App},
    model::{AppId, AppSecret, OpenId, SessionKey, SystemClock, UserKey},
    simulator::{Fault, Order},
    wechat::{Client, ServerApi},
};

use super::{asks, start};
use crate::support::{APP, Reply, SECRET, TestGateway};

const PATH: &str = "/internal/v1/check_session";
const CHECK: &str = "/wxa/checksession";
const STABLE_TOKEN: &str = "/cgi-bin/stable_token";

fn ask(gw: &TestGateway, openid: &str) -> Reply {
    asks(gw, "POST", PATH, &json!({ "app": APP, "openid": openid }))
}

/// A login that WeChat hears of and this gateway does not: its code goes elsewhere.
pub fn logs_in_elsewhere(gw: &TestGateway, openid: &str) {
    let other = TestGateway::with(|config| config.apps[0].api_base = gw.wechat.api_base().parse().expect("a URL"));
    let code = gw.wechat.make_code(APP, openid).expect("a code");
    let reply = other.client().post("/v1/verify", &json!({ "jsCode": code, "appId": APP }).to_string());
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[test]
fn a_key_counts_until_wechat_has_made_another() {
    let gw = start();
    let alice = gw.login("oAlice");
    let told = ask(&gw, "oAlice");
    assert_eq!((told.status, told.json()), (200, json!({ "valid": true })));
    assert_eq!(asks(&gw, "POST", PATH, &json!({ "token": alice.token })).json(), json!({ "valid": true }));
    logs_in_elsewhere(&gw, "oAlice");
    assert_eq!(ask(&gw, "oAlice").json(), json!({ "valid": false }));
    assert_eq!(gw.login("oAlice").get("/orders").status, 200);
    assert_eq!(ask(&gw, "oAlice").json(), json!({ "valid": true }), "of the newest login");
}

#[test]
fn a_dead_token_is_replaced_within_the_question() {
    let gw = start();
    gw.login("oAlice");
    assert_eq!(ask(&gw, "oAlice").status, 200);
    gw.wechat.replace_tokens(APP);
    assert_eq!(ask(&gw, "oAlice").json(), json!({ "valid": true }));
    assert_eq!((gw.wechat.calls_of(STABLE_TOKEN), gw.wechat.calls_of(CHECK)), (2, 3));
}

#[test]
fn whoever_has_no_key_and_whatever_names_nobody_is_refused_without_a_call() {
    let gw = start();
    gw.login("oAlice");
    for (body, code) in [
        (json!({ "app": APP, "openid": "oBob" }), "no_session_key"),
        (json!({ "app": "wxunknown", "openid": "oAlice" }), "unknown_app"),
        (json!({ "token": "wxg_no" }), "no_session"),
        (json!({ "app": APP }), "bad_request"),
        (json!({}), "bad_request"),
        (Value::Null, "bad_request"),
    ] {
        assert_eq!(asks(&gw, "POST", PATH, &body).code(), code, "{body}");
    }
    assert_eq!(gw.wechat.calls_of(CHECK), 0);
}

#[test]
fn a_question_without_an_answer_is_never_a_no() {
    let gw = start();
    gw.login("oAlice");
    for (errcode, status, code) in
        [(-1, 503, "wechat_busy"), (45011, 429, "rate_limited"), (87008, 502, "wechat_unreachable")]
    {
        gw.wechat.next_fault(Order::from(Fault::Errcode { errcode, errmsg: None }).times(2).on(CHECK));
        let reply = ask(&gw, "oAlice");
        assert_eq!((reply.status, reply.code().as_str()), (status, code));
        gw.wechat.clear_faults();
    }
}

#[test]
fn a_no_to_a_key_that_a_login_has_replaced_meanwhile_is_asked_again() {
    let gw = start();
    gw.login("oAlice");
    logs_in_elsewhere(&gw, "oAlice");
    gw.wechat.next_fault(Order::from(Fault::Hang).on(CHECK));
    let told = scope(|scope| {
        let asking = scope.spawn(|| ask(&gw, "oAlice").json());
        gw.until_hanging(1);
        gw.login("oAlice");
        gw.wechat.release();
        asking.join().expect("an answer")
    });
    assert_eq!((told, gw.wechat.calls_of(CHECK)), (json!({ "valid": true }), 2));
}

/// The connection that is kept for the next call would end with the thread that somebody happened to ask on.
#[test]
fn whoever_asks_keeps_nothing_of_the_call() {
    let gw = TestGateway::start();
    let base = gw.wechat.api_base().parse().expect("a URL");
    let app = App::new(AppId::parse(APP).expect("an app"), AppSecret::new(SECRET), base);
    let client = Client::new(&sections::WeChat::default(), [&app], Arc::default()).expect("a client");
    let [control, caller] = [(); 2].map(|()| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().expect("a runtime")
    });
    let api = ServerApi::new(Arc::new(client), control.handle().clone(), Arc::new(SystemClock));
    gw.login("oAlice");
    let user = UserKey { app: app.app_id.clone(), openid: OpenId::parse("oAlice").expect("an openid") };
    let key = SessionKey::new("tiihtNczf5v6AKRyjwEUhQ==");
    // Of two calls at once one has no connection of the token's to go on with.
    let ask = async || tokio::join!(api.check_session(&user, &key), api.check_session(&user, &key));
    let valid = caller.block_on(ask());
    assert_eq!((valid, caller.metrics().num_alive_tasks()), ((Ok(false), Ok(false)), 0));
    control.shutdown_background();
}
