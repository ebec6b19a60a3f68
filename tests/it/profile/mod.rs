//! What users tell of themselves: whose it is, what becomes of it, and who may see it.

mod odd_values;
mod operators;
mod proofs;
mod rest;

use std::{sync::Arc, thread::scope, time::Duration};

use serde_json::{Value, json};
use wxgate::{config::sections::Rate, store::Store};

use crate::support::{
    OTHER_APP, Reply, TestGateway, User, messages,
    scripted::{Point, Scripted},
};

const PATH: &str = "/v1/profile";
const NOT_NOW: &str = "Profiles can't be looked up or kept at the moment.";

fn put(user: &mut User, body: &Value) -> Value {
    let reply = user.put(PATH, body);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn get(user: &mut User) -> Value {
    let reply = user.get(PATH);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

#[test]
fn a_profile_is_told_as_the_contract_says() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    assert_eq!(get(&mut alice), json!({ "version": 0, "fields": {} }));
    alice.put(PATH, &json!({ "gender": 2, "nickName": "小明" }));
    gw.later(Duration::from_mins(1));
    let changed = alice.put(PATH, &json!({ "avatarUrl": "https://cdn.example.com/a.png" }));
    let expected = concat!(
        r#"{"nickName":"小明","avatarUrl":"https://cdn.example.com/a.png","gender":2,"version":1790000060000,"#,
        r#""fields":{"nickName":{"source":"client","updatedAt":"2026-09-21T14:13:20Z"},"#,
        r#""avatarUrl":{"source":"client","updatedAt":"2026-09-21T14:14:20Z"},"#,
        r#""gender":{"source":"client","updatedAt":"2026-09-21T14:13:20Z"}}}"#
    );
    for reply in [changed, alice.get(PATH)] {
        assert_eq!((reply.status, reply.text().as_str()), (200, expected));
        assert_eq!(reply.header("etag"), Some("\"1790000060000\""));
        assert_eq!(reply.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("x-request-id").map(str::len), Some(32));
    }
    let head = alice.request("HEAD", PATH, &[], "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(expected.len().to_string().as_str()));
}

#[test]
fn whose_profile_it_is_follows_from_the_token_alone() {
    let gw = TestGateway::start();
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    let mut alice_elsewhere = gw.login_to(OTHER_APP, "oAlice");
    put(&mut bob, &json!({ "nickName": "Bob" }));
    let claims = json!({
        "nickName": "Mallory", "openid": "oBob", "openId": "oBob", "appId": OTHER_APP, "user": { "openid": "oBob" }
    });
    let headers = [("X-WX-OPENID", "oBob"), ("X-HTTP-Method-Override", "DELETE")];
    let reply = alice.request("PUT", "/v1/profile?openid=oBob", &headers, &claims.to_string());
    assert_eq!(reply.json()["nickName"], "Mallory");
    assert_eq!(get(&mut bob)["nickName"], "Bob");
    assert_eq!(get(&mut alice_elsewhere)["version"], 0);
    assert_eq!(get(&mut gw.login("oAlice"))["nickName"], "Mallory", "with another token of hers");
}

#[test]
fn without_a_session_there_is_no_profile() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    put(&mut alice, &json!({ "nickName": "小明" }));
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(gw.client().request(method, PATH, &[], "").code(), "token_missing", "{method}");
    }
    assert_eq!(alice.post("/v1/logout", "").status, 204);
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(alice.request(method, PATH, &[], "").code(), "token_invalid", "{method}");
    }
    assert_eq!(get(&mut gw.login("oAlice"))["nickName"], "小明", "it outlives the session");
    let reply = alice.post(PATH, "{}");
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD, PUT, DELETE")));
}

#[test]
fn a_profile_that_is_removed_is_gone() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    put(&mut alice, &json!({ "nickName": "小明" }));
    for _ in 0..2 {
        let reply = alice.request("DELETE", PATH, &[], "");
        assert_eq!((reply.status, reply.body.len()), (204, 0));
        assert_eq!(get(&mut alice), json!({ "version": 0, "fields": {} }));
    }
    assert_eq!(alice.get("/orders").status, 200, "the session goes on");
}

#[test]
fn a_body_that_is_none_is_refused_and_the_connection_is_fine() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let whole = "The body must be a JSON object, with each field at most once and proofs as strings.";
    let name = "nickName must be a string of 1 to 32 characters, without control or formatting characters, or null.";
    for (body, error) in [
        ("", whole),
        ("[]", whole),
        ("{\"nickName\":\"a\"", whole),
        (r#"{"nickName":"a","nickName":"b"}"#, whole),
        (r#"{"rawData":{},"signature":"x"}"#, whole),
        (r#"{"nickName":""}"#, name),
        (r#"{"nickName":"a\u0000"}"#, name),
        (r#"{"nickName":"a\u202eb"}"#, name),
        (r#"{"gender":"1"}"#, "gender must be 0, 1, 2 or null."),
        (r#"{"rawData":"{}"}"#, "rawData and signature belong together."),
    ] {
        let reply = alice.request("PUT", PATH, &[], body);
        gw.says_no(&reply, 400, "bad_request", error, &[]);
    }
    let nothing = alice.request("PUT", PATH, &[], r#"{"openid":"oAlice","nickname":"a"}"#);
    assert_eq!(nothing.code(), "bad_request");
    assert_eq!(get(&mut alice)["version"], 0);
}

#[test]
fn a_body_may_have_16_kib_and_not_a_byte_more() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let of_size = |size: usize| {
        let body = |filling: usize| json!({ "nickName": "小明", "x": "x".repeat(filling) }).to_string();
        body(size - body(0).len())
    };
    assert_eq!(alice.request("PUT", PATH, &[], &of_size(16 * 1024)).status, 200);
    let reply = alice.request("PUT", PATH, &[], &of_size(16 * 1024 + 1));
    gw.says_no(&reply, 413, "body_too_large", "The request body is larger than allowed.", &[("connection", "close")]);
}

#[test]
fn two_changes_at_once_lose_nothing() {
    let gw = TestGateway::start();
    let fields = ["nickName", "city", "province", "country", "language"];
    scope(|scope| {
        for field in fields {
            let mut alice = gw.login("oAlice");
            scope.spawn(move || {
                for n in 0..20 {
                    put(&mut alice, &json!({ field: format!("{field}{n}") }));
                }
            });
        }
    });
    let profile = get(&mut gw.login("oAlice"));
    for field in fields {
        assert_eq!(profile[field], format!("{field}19"), "{profile}");
    }
}

#[test]
fn of_two_that_read_the_same_the_one_that_is_too_late_is_made_again() {
    let store = Scripted::own();
    let gw = TestGateway::on(Some(Arc::clone(&store) as Arc<dyn Store>), |_| {});
    let mut both = [gw.login("oAlice"), gw.login("oAlice")];
    let gate = store.stop_at(Point::ProfileDone);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    scope(|scope| {
        for (user, body) in both.iter_mut().zip([json!({ "nickName": "小明" }), json!({ "city": "广州" })]) {
            scope.spawn(move || put(user, &body));
        }
        // Both have read that there is nothing yet.
        runtime.block_on(async { (gate.reached().await, gate.reached().await) });
        gate.open();
    });
    let after = get(&mut both[0]);
    assert_eq!((&after["nickName"], &after["city"]), (&json!("小明"), &json!("广州")));
    assert_eq!(store.asked("put_profile"), 3, "one of them twice");
}

#[test]
fn who_has_seen_another_version_changes_nothing() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let mut put_if = |tag: &str, name: &str| {
        alice.request("PUT", PATH, &[("If-Match", tag)], &json!({ "nickName": name }).to_string())
    };
    let too_late = |reply: &Reply| {
        gw.says_no(reply, 412, "profile_changed", "The profile has changed meanwhile.", &[]);
    };
    too_late(&put_if("*", "a"));
    let first = put_if("\"0\"", "a");
    assert_eq!(first.status, 200);
    let first = first.header("etag").unwrap().to_owned();
    assert_eq!(put_if(&first, "b").json()["nickName"], "b");
    too_late(&put_if(&first, "c"));
    too_late(&put_if("\"0\"", "c"));
    assert_eq!(put_if("*", "d").json()["nickName"], "d");
    let odd = put_if("W/\"1\"", "e");
    gw.says_no(&odd, 400, "bad_request", "If-Match must be the ETag of a profile, or *.", &[]);
    let blind = alice.request("DELETE", PATH, &[("If-Match", &first)], "");
    gw.says_no(&blind, 400, "bad_request", "A profile is removed whatever its version; send no If-Match.", &[]);
    assert_eq!(get(&mut alice)["nickName"], "d");
}

#[test]
fn a_user_who_changes_too_often_is_told_when_to_come_back_and_others_are_not_concerned() {
    let rate = Rate { count: 3.try_into().unwrap(), per: Duration::from_mins(1) };
    let gw = TestGateway::with(|config| config.limits.profile_per_user = rate);
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    for body in ["{", "{}", r#"{"nickName":"a"}"#] {
        assert_ne!(alice.request("PUT", PATH, &[], body).status, 429);
    }
    for method in ["PUT", "DELETE"] {
        let reply = alice.request(method, PATH, &[], "");
        let error = "Too many changes of this profile. Try again a little later.";
        gw.says_no(&reply, 429, "rate_limited", error, &[("retry-after", "20")]);
    }
    assert_eq!(get(&mut alice)["nickName"], "a", "to look is free");
    assert_eq!(put(&mut gw.login_to(OTHER_APP, "oAlice"), &json!({ "nickName": "b" }))["nickName"], "b");
    assert_eq!(put(&mut bob, &json!({ "nickName": "Bob" }))["nickName"], "Bob");
    gw.later(Duration::from_secs(20));
    assert_eq!(put(&mut alice, &json!({ "nickName": "c" }))["nickName"], "c");
}

#[test]
fn while_the_store_is_away_nobody_has_an_empty_profile() {
    let store = Scripted::own();
    let gw = TestGateway::on(Some(Arc::clone(&store) as Arc<dyn Store>), |_| {});
    let mut alice = gw.login("oAlice");
    put(&mut alice, &json!({ "nickName": "小明" }));
    store.go_away();
    for (method, body) in [("GET", ""), ("PUT", r#"{"city":"广州"}"#), ("DELETE", "")] {
        let reply = alice.request(method, PATH, &[], body);
        gw.says_no(&reply, 503, "store_unavailable", NOT_NOW, &[("retry-after", "1")]);
    }
    store.come_back();
    assert_eq!(get(&mut alice)["nickName"], "小明");
}

#[test]
fn nothing_of_a_profile_is_logged() {
    let messages = messages();
    let gw = TestGateway::start();
    let mut alice = gw.login("oProfileOnTrial");
    let body =
        json!({ "nickName": "name-on-trial", "city": "city-on-trial", "avatarUrl": "https://on.trial.example/" });
    let kept = alice.put(PATH, &body);
    let refused = alice.put(PATH, &json!({ "nickName": "name-on-trial\n" .repeat(9), "gender": 7 }));
    let stale = alice.put(PATH, &json!({ "rawData": body.to_string(), "signature": "name-on-trial" }));
    let gone = alice.request("DELETE", PATH, &[], "");
    for (reply, status) in [(&kept, 200), (&refused, 400), (&stale, 409), (&gone, 204)] {
        assert_eq!(reply.status, status, "{reply:?}");
        let line = gw.log.line(reply.header("x-request-id").unwrap());
        assert!(line.contains(r#""endpoint":"profile""#) && !line.contains("on-trial"), "{line}");
    }
    let all = gw.log.text() + &messages.text();
    for word in ["on-trial", "on.trial", "oProfileOnTrial"] {
        assert!(!all.contains(word), "{word}");
    }
}
