//! Changes of profiles are told to a receiver: signed, at least once, in the order of their user.

mod claims;
mod fields;
mod lasting;
mod order;
mod refused;

use std::sync::{Mutex, mpsc};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use wxgate::{
    config::{Config, sections::Webhook},
    model::Secret,
};

use crate::support::{APP, Recorder, Seen, TestGateway, User, until, upstream::answer};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TAKEN: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";

/// A receiver that takes what it is told.
fn receiver() -> Recorder {
    let receiver = Recorder::start();
    receiver.answers(TAKEN);
    receiver
}

/// A receiver that has no answer for Alice until it is let go on.
fn slow_for_alice() -> (Recorder, mpsc::Sender<()>) {
    let receiver = receiver();
    let (finish, finished) = mpsc::channel::<()>();
    let finished = Mutex::new(finished);
    receiver.does(move |seen, out| {
        if body(seen)["data"]["openid"] == "oAlice" {
            let _ = finished.lock().unwrap().recv();
        }
        answer(out, TAKEN)
    });
    (receiver, finish)
}

fn telling<'c>(config: &'c mut Config, receiver: &Recorder) -> &'c mut Webhook {
    let url = format!("http://{}/hooks?key=hunter2", receiver.addr()).parse().expect("a URL");
    config.webhook.insert(Webhook::new(url, Secret::new(SECRET)))
}

fn start(receiver: &Recorder) -> TestGateway {
    TestGateway::with(|config| {
        telling(config, receiver);
    })
}

fn change(user: &mut User, what: &Value) {
    let reply = user.put("/v1/profile", what);
    assert_eq!(reply.status, 200, "{reply:?}");
}

fn body(seen: &Seen) -> Value {
    serde_json::from_slice(&seen.body).expect("JSON")
}

/// The user and the nickname of each that was told.
fn told(receiver: &Recorder) -> Vec<(String, String)> {
    let one = |seen: &Seen| {
        let data = &body(seen)["data"];
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        (text(&data["openid"]), text(&data["profile"]["nickName"]))
    };
    receiver.seen().iter().map(one).collect()
}

/// What a receiver does with the header: one of the signatures has to be this one.
fn is_signed(seen: &Seen, secret: &str) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    let (id, at) = (seen.header("webhook-id").unwrap(), seen.header("webhook-timestamp").unwrap());
    mac.update(&[format!("{id}.{at}.").as_bytes(), &seen.body].concat());
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    seen.header("webhook-signature").unwrap().split(' ').any(|one| one == expected)
}

/// A figure of the metrics page.
fn metric(gw: &TestGateway, name: &str) -> f64 {
    let page = gw.admin().get("/metrics").text();
    let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
    line.trim().parse().expect("a number")
}

#[test]
fn a_change_is_told_whole_and_signed() {
    let receiver = receiver();
    let gw = start(&receiver);
    let mut alice = gw.login("oAlice");
    change(&mut alice, &json!({ "nickName": "小明", "city": "广州" }));
    let seen = &receiver.wait_for(1)[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/hooks?key=hunter2"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("webhook-timestamp"), Some("1790000000"));
    assert!(seen.header("webhook-id").unwrap().starts_with("msg_"));
    assert!(is_signed(seen, SECRET));
    let profile = alice.get("/v1/profile").json();
    let data = json!({ "app": APP, "openid": "oAlice", "changed": ["nickName", "city"], "profile": profile });
    let expected = json!({ "type": "profile.changed", "timestamp": "2026-09-21T14:13:20Z", "data": data });
    assert_eq!(body(seen), expected);
}

#[test]
fn what_says_nothing_new_is_not_told_and_a_removal_is() {
    let receiver = receiver();
    let gw = start(&receiver);
    let mut alice = gw.login("oAlice");
    change(&mut alice, &json!({ "nickName": "小明" }));
    change(&mut alice, &json!({ "nickName": "小明" }));
    change(&mut alice, &json!({ "city": "广州", "nickName": "小明" }));
    assert_eq!(body(&receiver.wait_for(2)[1])["data"]["changed"], json!(["city"]));
    for _ in 0..2 {
        assert_eq!(alice.request("DELETE", "/v1/profile", &[], "").status, 204);
    }
    let seen = receiver.wait_for(3);
    let (last, removed) = (body(&seen[1]), body(&seen[2]));
    let version = last["data"]["profile"]["version"].as_u64().unwrap() + 1;
    let data = json!({ "app": APP, "openid": "oAlice", "version": version });
    assert_eq!((&removed["type"], &removed["data"]), (&json!("profile.removed"), &data), "above what it removes");
    gw.later(std::time::Duration::from_secs(1));
    change(&mut alice, &json!({ "nickName": "小红" }));
    assert!(body(&receiver.wait_for(4)[3])["data"]["profile"]["version"].as_u64().unwrap() > version);
    let ids: std::collections::HashSet<_> =
        receiver.seen().iter().map(|seen| seen.header("webhook-id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 4);
    until("everything told", || (metric(&gw, "wxgate_webhook_waiting") == 0.0).then_some(()));
    assert_eq!(metric(&gw, "wxgate_webhook_notices_total{outcome=\"delivered\"}"), 4.0);
}

#[test]
fn while_keys_change_both_sign() {
    let receiver = receiver();
    let next = "whsec_bmV4dG5leHRuZXh0bmV4dG5leHRuZXh0";
    let gw = TestGateway::with(|config| {
        let webhook = telling(config, &receiver);
        webhook.secret = Secret::new(next);
        webhook.old_secrets = vec![Secret::new(SECRET)];
    });
    change(&mut gw.login("oAlice"), &json!({ "nickName": "小明" }));
    let seen = &receiver.wait_for(1)[0];
    assert!(is_signed(seen, next) && is_signed(seen, SECRET));
    assert!(!is_signed(seen, "whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90"));
}

#[test]
fn a_reload_turns_it_on_off_and_elsewhere() {
    let (first, second) = (receiver(), receiver());
    let mut gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    change(&mut alice, &json!({ "nickName": "0" }));
    gw.reload(|config| {
        telling(config, &first);
    });
    // The workers follow a moment later.
    let mut n = 0;
    until("the first receiver", || {
        n += 1;
        change(&mut alice, &json!({ "nickName": n.to_string() }));
        (first.count() > 0).then_some(())
    });
    gw.reload(|config| {
        telling(config, &second);
    });
    until("the second receiver", || {
        n += 1;
        change(&mut alice, &json!({ "nickName": n.to_string() }));
        (second.count() > 0).then_some(())
    });
    gw.reload(|config| config.webhook = None);
    until("nobody's", || {
        n += 1;
        let before = second.count();
        change(&mut alice, &json!({ "nickName": n.to_string() }));
        gw.later(std::time::Duration::from_secs(1));
        (metric(&gw, "wxgate_webhook_waiting") == 0.0 && second.count() == before).then_some(())
    });
    assert!(told(&first).iter().all(|(_, nickname)| nickname != "0"), "what was changed before is told to nobody");
}
