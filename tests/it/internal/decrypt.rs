//! What WeChat has encrypted is opened for a backend with the key of the newest login, or refused in one way.

use std::time::Duration;

use serde_json::{Value, json};

use super::{BEARER, asks, listening, start};
use crate::support::{APP, OTHER_APP, Reply, TestGateway, scripted::Scripted};

const PATH: &str = "/internal/v1/decrypt";

/// What a Mini Program has got from WeChat and given to its backend.
fn shared(gw: &TestGateway, openid: &str, info: &Value) -> Value {
    let data = gw.wechat.user_data(APP, openid, info).expect("a user who has logged in");
    json!({ "app": APP, "openid": openid, "encryptedData": data.encrypted_data, "iv": data.iv })
}

fn group() -> Value {
    json!({ "openGId": "tGroup", "steps": [{ "timestamp": 1_790_000_000, "step": 100 }], "large": 9_007_199_254_740_993_u64 })
}

fn decrypt(gw: &TestGateway, body: &Value) -> Reply {
    asks(gw, "POST", PATH, body)
}

#[test]
fn any_object_that_wechat_has_encrypted_is_opened() {
    let gw = start();
    let alice = gw.login("oAlice");
    let asked = shared(&gw, "oAlice", &group());
    let reply = decrypt(&gw, &asked);
    assert_eq!(reply.status, 200, "{reply:?}");
    let data = &reply.json()["data"];
    assert_eq!((&data["openGId"], &data["large"]), (&json!("tGroup"), &json!(9_007_199_254_740_993_u64)));
    assert_eq!((&data["watermark"]["appid"], &data["openId"]), (&json!(APP), &json!("oAlice")));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let by_token = json!({ "token": alice.token, "encryptedData": asked["encryptedData"], "iv": asked["iv"] });
    assert_eq!(decrypt(&gw, &by_token).text(), reply.text());
}

/// All of an answer that one could be told from another by.
fn told_apart_by(reply: &Reply) -> String {
    let id = reply.header("x-request-id").unwrap().to_owned();
    let mut headers = reply.headers.clone();
    headers.retain(|(name, _)| name != "date");
    format!("{} {headers:?} {}", reply.status, reply.text()).replace(&id, "id")
}

#[test]
fn whatever_is_wrong_with_the_data_has_one_answer() {
    let gw = start();
    gw.login("oAlice");
    gw.login("oBob");
    let good = shared(&gw, "oAlice", &group());
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body
    };
    let of_bob = json!({ "app": APP, "openid": "oAlice", "iv": shared(&gw, "oBob", &group())["iv"],
                         "encryptedData": shared(&gw, "oBob", &group())["encryptedData"] });
    let data = good["encryptedData"].as_str().unwrap();
    let bodies = [
        with("openid", "oBob".into()),
        of_bob,
        with("iv", "AAAAAAAAAAAAAAAAAAAAAA==".into()),
        with("iv", "".into()),
        with("encryptedData", "".into()),
        with("encryptedData", "no base64".into()),
        with("encryptedData", data[..data.len() - 24].into()),
        with("encryptedData", "AAAAAAAAAAAAAAAAAAAAAA==".into()),
    ];
    let answers: Vec<String> = bodies.iter().map(|body| told_apart_by(&decrypt(&gw, body))).collect();
    assert!(answers[0].starts_with("409 ") && answers[0].contains("session_key_stale"), "{}", answers[0]);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    gw.login("oAlice");
    assert_eq!(told_apart_by(&decrypt(&gw, &good)), answers[0], "a new login has a new key");
    let old = shared(&gw, "oAlice", &group());
    gw.later(Duration::from_hours(1));
    assert_eq!(decrypt(&gw, &old).status, 200);
    gw.later(Duration::from_secs(1));
    assert_eq!(told_apart_by(&decrypt(&gw, &old)), answers[0]);
}

#[test]
fn who_has_no_session_has_no_key() {
    let gw = start();
    let mut alice = gw.login("oAlice");
    let asked = shared(&gw, "oAlice", &group());
    let by_token = json!({ "token": alice.token, "encryptedData": asked["encryptedData"], "iv": asked["iv"] });
    assert_eq!(alice.post("/v1/logout", "{}").status, 204);
    let gone = decrypt(&gw, &asked);
    assert_eq!((gone.status, gone.code().as_str()), (404, "no_session_key"));
    let gone = decrypt(&gw, &by_token);
    assert_eq!((gone.status, gone.code().as_str()), (404, "no_session"));
}

#[test]
fn a_body_that_does_not_say_what_is_meant_is_refused() {
    let gw = start();
    let alice = gw.login("oAlice");
    let good = shared(&gw, "oAlice", &group());
    let (data, iv) = (&good["encryptedData"], &good["iv"]);
    for (body, status, code) in [
        (json!({}), 400, "bad_request"),
        (json!([]), 400, "bad_request"),
        (json!({ "app": APP, "openid": "oAlice" }), 400, "bad_request"),
        (json!({ "app": APP, "encryptedData": data, "iv": iv }), 400, "bad_request"),
        (
            json!({ "app": APP, "openid": "oAlice", "token": alice.token, "encryptedData": data, "iv": iv }),
            400,
            "bad_request",
        ),
        (json!({ "app": APP, "openid": "o Alice", "encryptedData": data, "iv": iv }), 400, "bad_request"),
        (json!({ "app": "wxunknown", "openid": "oAlice", "encryptedData": data, "iv": iv }), 404, "unknown_app"),
        (json!({ "app": OTHER_APP, "openid": "oAlice", "encryptedData": data, "iv": iv }), 404, "no_session_key"),
        (json!({ "token": "wxg_none", "encryptedData": data, "iv": iv }), 404, "no_session"),
        (json!({ "token": 7, "encryptedData": data, "iv": iv }), 400, "bad_request"),
        (
            json!({ "app": APP, "openid": "oAlice", "encryptedData": "A".repeat(17_000), "iv": iv }),
            413,
            "body_too_large",
        ),
    ] {
        let reply = decrypt(&gw, &body);
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{body}");
        assert!(!reply.text().contains(alice.token.as_str()));
    }
}

#[test]
fn while_the_store_is_away_nothing_is_said_of_a_key() {
    let store = Scripted::own();
    let gw = TestGateway::on(Some(store.clone()), listening);
    gw.login("oAlice");
    let asked = shared(&gw, "oAlice", &group());
    store.go_away();
    let reply = gw.internal().request("POST", PATH, &[BEARER], &asked.to_string());
    assert_eq!((reply.status, reply.code().as_str()), (503, "store_unavailable"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    let profile = asks(&gw, "GET", &super::profile_of("oAlice"), &Value::Null);
    assert_eq!(profile.code(), "store_unavailable");
}
