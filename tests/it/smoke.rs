//! The first story: log in, ask the backend, and be known there.

use serde_json::json;

use crate::support::{APP, TestGateway};

#[test]
fn a_user_logs_in_and_the_backend_knows_who_calls() {
    let gw = TestGateway::start();
    gw.wechat.knows_with_union("code-1", APP, "oAlice", "uAlice");

    let reply = gw.verify(&json!({ "jsCode": "code-1", "appId": APP }));
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json()["expiresIn"], 86_400);
    let token = reply.json()["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("wxg_"), "{token}");

    let bearer = format!("Bearer {token}");
    let reply = gw.client().request("GET", "/orders?page=2", &[("Authorization", &bearer)], "");
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"ok":true}"#));
    let seen = gw.upstream.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/orders?page=2"));
    assert_eq!(seen.header("x-wx-openid"), Some("oAlice"));
    assert_eq!(seen.header("x-wx-appid"), Some(APP));
    assert_eq!(seen.header("x-wx-unionid"), Some("uAlice"));
    assert_eq!(seen.header("x-wx-source"), Some("wx_client"));
    assert_eq!(seen.header("authorization"), None);
}

#[test]
fn without_a_token_there_is_no_way_in() {
    let gw = TestGateway::start();
    let reply = gw.client().get("/orders");
    assert_eq!((reply.status, reply.code().as_str()), (401, "token_missing"));
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    assert_eq!(gw.upstream.connections(), 0);
}
