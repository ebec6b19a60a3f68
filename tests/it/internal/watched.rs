//! What operators see of backends: a line for each request, counts by fixed words, and what is to be mended.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wxgate::simulator::{Fault, Order};

use crate::{
    access_log::documented,
    support::{APP, Reply, TestGateway, messages, tls::Authority, until},
};

use super::{BEARER, TOKEN, asks, gate::over_tls, profile_of, start};

fn line(gw: &TestGateway, reply: &Reply) -> Value {
    serde_json::from_str(&gw.log.line(reply.header("x-request-id").expect("an id"))).expect("a JSON line")
}

fn metrics(gw: &TestGateway) -> String {
    gw.admin().get("/metrics").text()
}

#[test]
fn each_request_of_a_backend_has_a_line_that_says_who_it_was_about() {
    let gw = start();
    let mut alice = gw.login("oAlice");
    let user = line(&gw, &alice.get("/orders"))["user"].clone();
    let read = line(&gw, &asks(&gw, "GET", &profile_of("oAlice"), &Value::Null));
    assert_eq!((&read["kind"], &read["method"], &read["status"]), (&json!("internal"), &json!("GET"), &json!(200)));
    assert_eq!(read["path"], "/internal/v1/users/{app}/{openid}/profile");
    assert_eq!((&read["app"], &read["user"]), (&json!(APP), &user));
    let asked = json!({ "token": alice.token, "encryptedData": "c2VjcmV0", "iv": "aXY=" });
    let refused = line(&gw, &asks(&gw, "POST", "/internal/v1/decrypt", &asked));
    assert_eq!((&refused["status"], &refused["code"]), (&json!(409), &json!("session_key_stale")));
    assert_eq!((&refused["app"], &refused["user"]), (&json!(APP), &user));
    let token = asks(&gw, "GET", &format!("/internal/v1/access_token?app={APP}"), &Value::Null);
    let lent = line(&gw, &token);
    assert_eq!((&lent["path"], &lent["app"]), (&json!("/internal/v1/access_token"), &json!(APP)));
    assert!(lent.get("user").is_none());
    let stranger = line(&gw, &gw.internal().request("GET", "/wxg_secret?token=x", &[BEARER, BEARER], ""));
    assert_eq!((&stranger["path"], &stranger["code"]), (&json!("-"), &json!("internal_token_invalid")));
    let written = gw.log.text();
    let lent_token = token.json()["accessToken"].as_str().expect("a token").to_owned();
    for secret in ["oAlice", TOKEN, alice.token.as_str(), "c2VjcmV0", lent_token.as_str(), "wxg_secret"] {
        assert!(!written.contains(secret), "{secret} in {written}");
    }
}

#[test]
fn every_field_of_a_backends_line_is_documented_and_every_documented_field_is_written() {
    let gw = start();
    gw.login("oAlice");
    let fault = Fault::Errcode { errcode: -1, errmsg: None };
    gw.wechat.next_fault(Order::from(fault).times(2).on("/wxa/checksession"));
    let refused = asks(&gw, "POST", "/internal/v1/check_session", &json!({ "app": APP, "openid": "oAlice" }));
    let nothing = asks(&gw, "GET", "/", &Value::Null);
    let keys = |line: Value| line.as_object().expect("fields").keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(line(&gw, &refused)), documented("### Lines of backends", false));
    assert!(keys(line(&gw, &nothing)).is_superset(&documented("### Lines of backends", true)));
}

#[test]
fn a_backend_that_does_not_wait_leaves_a_line_and_a_count() {
    let gw = start();
    gw.login("oAlice");
    gw.wechat.next_fault(Order::from(Fault::Hang).on("/wxa/checksession"));
    let body = json!({ "app": APP, "openid": "oAlice" }).to_string();
    let mut backend = gw.internal();
    let head = "POST /internal/v1/check_session HTTP/1.1\r\nHost: localhost\r\n";
    backend.send(format!("{head}Authorization: {}\r\nContent-Length: {}\r\n\r\n{body}", BEARER.1, body.len()));
    gw.until_hanging(1);
    drop(backend);
    assert!(gw.log.line("\"status\":499").contains("\"kind\":\"internal\""));
    let line = "wxgate_internal_requests_total{path=\"check_session\",code=\"gone\"} 1\n";
    assert!(metrics(&gw).contains(line), "{}", metrics(&gw));
}

#[test]
fn what_backends_ask_is_counted_by_path_and_code() {
    let gw = start();
    gw.login("oAlice");
    asks(&gw, "GET", &profile_of("oAlice"), &Value::Null);
    asks(&gw, "GET", &profile_of("oAlice"), &Value::Null);
    asks(&gw, "POST", "/internal/v1/decrypt", &json!({}));
    asks(&gw, "GET", "/internal/v1/whatever/oAlice", &Value::Null);
    gw.internal().get(&profile_of("oAlice"));
    let page = metrics(&gw);
    for (path, code, n) in [
        ("profile", "ok", 2),
        ("profile", "internal_token_missing", 1),
        ("decrypt", "bad_request", 1),
        ("other", "not_found", 1),
    ] {
        let line = format!("wxgate_internal_requests_total{{path=\"{path}\",code=\"{code}\"}} {n}\n");
        assert!(page.contains(&line), "{line} in {page}");
    }
    assert!(!page.contains("whatever"));
}

#[test]
fn handshakes_of_backends_are_counted() {
    let server = Authority::new();
    let gw = over_tls(&server, None, Some(TOKEN));
    server.dialler().dial(gw.internal_addr(), "backends.example").get("/");
    until("a handshake", || {
        metrics(&gw).contains("wxgate_internal_tls_handshakes_total{outcome=\"full\"} 1\n").then_some(())
    });
}

#[test]
fn a_set_up_that_wechat_refuses_is_told_with_what_to_mend() {
    let said = messages();
    let gw = start();
    gw.login("oAlice");
    let fault = Fault::Errcode { errcode: 48001, errmsg: None };
    gw.wechat.next_fault(Order::from(fault).times(2).on("/wxa/checksession"));
    let reply = asks(&gw, "POST", "/internal/v1/check_session", &json!({ "app": APP, "openid": "oAlice" }));
    assert_eq!((reply.status, reply.code().as_str()), (502, "app_misconfigured"));
    let id = reply.header("x-request-id").expect("an id");
    let told: Value = serde_json::from_str(&said.line(id)).expect("a message");
    assert_eq!((&told["level"], &told["app"]), (&json!("ERROR"), &json!(APP)));
    assert!(told["advice"].as_str().is_some_and(|advice| !advice.is_empty()), "{told}");
    let cause = line(&gw, &reply)["cause"].as_str().expect("a cause").to_owned();
    assert!(cause.contains("48001"), "{cause}");
}
