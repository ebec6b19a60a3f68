//! The phone button: whose number it tells, how often WeChat is asked, and what a client hears when there is none.

mod forwarded;
mod rest;
mod tokens;

use std::{sync::Arc, thread::scope, time::Duration};

use serde_json::{Value, json};
use wxgate::{
    config::sections::Rate,
    simulator::{Fault, Order},
    store::Store,
};

use crate::support::{APP, OTHER_APP, Reply, TestGateway, User, messages, scripted::Scripted};

const PATH: &str = "/v1/phone";
const STABLE_TOKEN: &str = "/cgi-bin/stable_token";
const PHONE_NUMBER: &str = "/wxa/business/getuserphonenumber";
const NUMBER: &str = "13900112233";
const INVALID: &str = "WeChat does not take this phone code, or not any more. Let the user tap the phone button again.";
const NOT_NOW: &str = "Profiles can't be looked up or kept at the moment.";

/// What a tap on the phone button gives to a client of the first app.
fn tapped(gw: &TestGateway, pure: &str) -> String {
    gw.wechat.make_phone_code(APP, "86", pure).unwrap()
}

fn send(user: &mut User, code: &str) -> Reply {
    user.post(PATH, &json!({ "code": code }).to_string())
}

/// Lets the user tell a number.
fn tell(gw: &TestGateway, user: &mut User, pure: &str) {
    let reply = send(user, &tapped(gw, pure));
    assert_eq!(reply.status, 200, "{reply:?}");
}

fn errcode(errcode: i64) -> Fault {
    Fault::Errcode { errcode, errmsg: None }
}

fn profile(user: &mut User) -> Value {
    user.get("/v1/profile").json()
}

#[test]
fn a_phone_code_is_answered_as_the_contract_says() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let reply = send(&mut alice, &tapped(&gw, NUMBER));
    let expected = r#"{"phoneNumber":"13900112233","purePhoneNumber":"13900112233","countryCode":"86"}"#;
    assert_eq!((reply.status, reply.text().as_str()), (200, expected));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("content-type"), Some("application/json; charset=utf-8"));
    let abroad = gw.wechat.make_phone_code(APP, "1", "5550100").unwrap();
    let expected = json!({ "phoneNumber": "+15550100", "purePhoneNumber": "5550100", "countryCode": "1" });
    assert_eq!(send(&mut alice, &abroad).json(), expected);
    let told = profile(&mut alice);
    assert_eq!((&told["phoneNumber"], &told["countryCode"]), (&json!("+15550100"), &json!("1")));
    let origin = json!({ "source": "wechat", "updatedAt": "2026-09-21T14:13:20Z" });
    assert_eq!(told["fields"]["phoneNumber"], origin);
}

#[test]
fn a_number_is_removed_alone_or_with_the_profile() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    alice.put("/v1/profile", &json!({ "nickName": "小明" }));
    tell(&gw, &mut alice, NUMBER);
    for _ in 0..2 {
        let reply = alice.request("DELETE", PATH, &[], "");
        assert_eq!((reply.status, reply.body.len()), (204, 0));
        let told = profile(&mut alice);
        assert_eq!((&told["nickName"], &told["phoneNumber"]), (&json!("小明"), &Value::Null));
        assert_eq!(told["fields"].as_object().unwrap().len(), 1);
    }
    tell(&gw, &mut alice, NUMBER);
    assert_eq!(alice.request("DELETE", "/v1/profile", &[], "").status, 204);
    assert_eq!(profile(&mut alice), json!({ "version": 0, "fields": {} }));
}

#[test]
fn a_number_comes_from_wechat_alone_and_whose_it_is_from_the_token() {
    let gw = TestGateway::start();
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    tell(&gw, &mut alice, NUMBER);
    let claims = json!({ "nickName": "B", "phoneNumber": "1", "purePhoneNumber": "1", "countryCode": "1" });
    assert_eq!(bob.put("/v1/profile", &claims).json()["phoneNumber"], Value::Null);
    assert_eq!(alice.put("/v1/profile", &claims).json()["phoneNumber"], NUMBER);
    let body = json!({ "code": tapped(&gw, "13900445566"), "openid": "oAlice", "appId": OTHER_APP }).to_string();
    assert_eq!(bob.request("POST", "/v1/phone?openid=oAlice", &[("X-WX-OPENID", "oAlice")], &body).status, 200);
    assert_eq!(profile(&mut alice)["phoneNumber"], NUMBER);
    assert_eq!(profile(&mut bob)["phoneNumber"], "13900445566");
    assert_eq!(gw.client().post(PATH, &body).code(), "token_missing");
    let reply = alice.get(PATH);
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST, DELETE")));
}

#[test]
fn the_same_phone_code_twice_asks_wechat_once() {
    let gw = TestGateway::start();
    let (code, mut users) = (tapped(&gw, NUMBER), [gw.login("oAlice"), gw.login("oAlice"), gw.login("oAlice")]);
    gw.wechat.next_fault(Order::from(Fault::Hang).on(PHONE_NUMBER));
    let replies: Vec<Reply> = scope(|scope| {
        let sent: Vec<_> = users.iter_mut().map(|user| scope.spawn(|| send(user, &code))).collect();
        gw.until_hanging(1);
        gw.wechat.release();
        sent.into_iter().map(|sent| sent.join().unwrap()).collect()
    });
    for reply in replies {
        assert_eq!((reply.status, &reply.json()["phoneNumber"]), (200, &json!(NUMBER)));
    }
    gw.later(Duration::from_secs(9));
    assert_eq!(send(&mut users[0], &code).status, 200);
    assert_eq!(gw.wechat.calls(&code), 1);
    gw.later(Duration::from_secs(1));
    gw.says_no(&send(&mut users[0], &code), 400, "phone_code_invalid", INVALID, &[]);
    assert_eq!(profile(&mut users[1])["phoneNumber"], NUMBER);
}

#[test]
fn a_code_that_another_user_has_spent_tells_nobody_elses_number() {
    let gw = TestGateway::start();
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    let code = tapped(&gw, NUMBER);
    assert_eq!(send(&mut alice, &code).status, 200);
    gw.says_no(&send(&mut bob, &code), 400, "phone_code_invalid", INVALID, &[]);
    assert_eq!(profile(&mut bob)["phoneNumber"], Value::Null);
}

/// Not one of them is a 401, which would make a client drop its token.
#[test]
fn a_phone_code_that_is_refused_costs_nobody_the_session() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let late = tapped(&gw, NUMBER);
    gw.later(Duration::from_mins(5));
    let foreign = gw.wechat.make_phone_code(OTHER_APP, "86", NUMBER).unwrap();
    let short = "c".repeat(31);
    for code in [late.as_str(), &foreign, &"0".repeat(64), &short, "a\"b&access_token=x#\r\n"] {
        gw.says_no(&send(&mut alice, code), 400, "phone_code_invalid", INVALID, &[]);
    }
    let spent = tapped(&gw, NUMBER);
    gw.wechat.next_fault(Order::from(errcode(40163)).on(PHONE_NUMBER));
    gw.says_no(&send(&mut alice, &spent), 400, "phone_code_invalid", INVALID, &[]);
    assert_eq!(alice.get("/orders").status, 200);
}

/// The mistake that is made most: <https://github.com/binarywang/WxJava/issues/2821> and many others.
#[test]
fn a_login_code_that_is_sent_for_a_phone_code_is_called_that() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let message = "This looks like the code of wx.login. Send the code of the phone button, e.detail.code.";
    gw.says_no(&send(&mut alice, &gw.code("oAlice")), 400, "wrong_code_kind", message, &[]);
    assert_eq!(alice.get("/orders").status, 200);
}

#[test]
fn a_body_that_is_none_is_refused_and_wechat_not_asked() {
    let rate = Rate { count: 100.try_into().unwrap(), per: Duration::from_mins(1) };
    let gw = TestGateway::with(|config| config.limits.profile_per_user = rate);
    let mut alice = gw.login("oAlice");
    let long = json!({ "code": "c".repeat(513) }).to_string();
    for body in ["", "[]", "{}", r#"["c"]"#, r#"{"code":""}"#, r#"{"code":1}"#, r#"{"code":"a","code":"b"}"#, &long] {
        let message = "The body must be a JSON object with code, a string of 1 to 512 bytes.";
        gw.says_no(&alice.post(PATH, body), 400, "bad_request", message, &[]);
    }
    assert_eq!(alice.post(PATH, &format!("{{\"code\":\"{}\"}}", "c".repeat(5000))).code(), "body_too_large");
    assert_eq!((gw.wechat.calls_of(PHONE_NUMBER), gw.wechat.calls_of(STABLE_TOKEN)), (0, 0));
}

#[test]
fn what_else_goes_wrong_with_wechat_is_told_as_with_a_login() {
    let gw = TestGateway::with(|config| config.wechat.timeout = Duration::from_millis(500));
    let mut alice = gw.login("oAlice");
    tell(&gw, &mut alice, NUMBER);
    for (fault, times, status, code) in [
        (errcode(45009), 1, 429, "rate_limited"),
        (errcode(45011), 1, 429, "rate_limited"),
        (errcode(-1), 2, 503, "wechat_busy"),
        (errcode(48001), 1, 502, "app_misconfigured"),
        (errcode(40001), 2, 502, "wechat_unreachable"),
        (errcode(77777), 1, 502, "wechat_unreachable"),
        (Fault::Cut, 1, 502, "wechat_unreachable"),
        (Fault::HalfAnswer, 1, 502, "wechat_unreachable"),
        (Fault::Endless, 1, 502, "wechat_unreachable"),
        (Fault::NotJson, 1, 502, "wechat_unreachable"),
        (Fault::Without { field: "phone_info".into() }, 1, 502, "wechat_unreachable"),
        (Fault::Hang, 1, 504, "wechat_timeout"),
    ] {
        gw.wechat.next_fault(Order::from(fault.clone()).times(times).on(PHONE_NUMBER));
        let reply = send(&mut alice, &tapped(&gw, "13900999999"));
        assert_eq!((reply.status, reply.code()), (status, code.to_owned()), "{fault:?}");
        gw.wechat.clear_faults();
    }
    assert_eq!(profile(&mut alice)["phoneNumber"], NUMBER, "what was known stays");
    gw.wechat.next_fault(Order::from(errcode(-1)).on(PHONE_NUMBER));
    tell(&gw, &mut alice, "13900000001");
}

#[test]
fn a_number_for_another_app_or_of_long_ago_is_not_taken() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let info = |appid: &str, timestamp: u64| {
        let info = json!({ "phoneNumber": NUMBER, "purePhoneNumber": NUMBER, "countryCode": 86,
            "watermark": { "appid": appid, "timestamp": timestamp } });
        Fault::Body { body: json!({ "errcode": 0, "errmsg": "ok", "phone_info": info }).to_string() }
    };
    for (fault, status, code) in [
        (info(OTHER_APP, 1_790_000_000), 502, "wechat_unreachable"),
        (info(APP, 1_790_000_000 - 3601), 400, "phone_code_invalid"),
    ] {
        gw.wechat.next_fault(Order::from(fault).on(PHONE_NUMBER));
        let reply = send(&mut alice, &tapped(&gw, NUMBER));
        assert_eq!((reply.status, reply.code().as_str()), (status, code));
        assert_eq!(profile(&mut alice)["phoneNumber"], Value::Null);
    }
}

#[test]
fn a_number_that_can_not_be_kept_is_not_told() {
    let store = Scripted::own();
    let gw = TestGateway::on(Some(Arc::clone(&store) as Arc<dyn Store>), |_| {});
    let mut alice = gw.login("oAlice");
    store.go_away();
    let reply = send(&mut alice, &tapped(&gw, NUMBER));
    gw.says_no(&reply, 503, "store_unavailable", NOT_NOW, &[("retry-after", "1")]);
    let reply = alice.request("DELETE", PATH, &[], "");
    gw.says_no(&reply, 503, "store_unavailable", NOT_NOW, &[("retry-after", "1")]);
    store.come_back();
    tell(&gw, &mut alice, NUMBER);
}

#[test]
fn who_sends_too_many_phone_codes_is_told_when_to_come_back() {
    let rate = Rate { count: 2.try_into().unwrap(), per: Duration::from_mins(1) };
    let gw = TestGateway::with(|config| config.limits.profile_per_user = rate);
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    alice.put("/v1/profile", &json!({ "nickName": "a" }));
    tell(&gw, &mut alice, NUMBER);
    let reply = alice.post(PATH, "");
    let error = "Too many changes of this profile. Try again a little later.";
    gw.says_no(&reply, 429, "rate_limited", error, &[("retry-after", "30")]);
    tell(&gw, &mut bob, NUMBER);
}

#[test]
fn only_so_many_phone_codes_wait_for_wechat_at_once() {
    let gw = TestGateway::with(|config| config.limits.verify_in_flight = 1);
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    gw.wechat.next_fault(Order::from(Fault::Hang).on(PHONE_NUMBER));
    scope(|scope| {
        let waits = scope.spawn(|| send(&mut alice, &tapped(&gw, NUMBER)));
        gw.until_hanging(1);
        let reply = send(&mut bob, &tapped(&gw, NUMBER));
        let error = "Too many phone codes wait for WeChat. Try again a little later.";
        gw.says_no(&reply, 429, "rate_limited", error, &[("retry-after", "1")]);
        gw.wechat.release();
        assert_eq!(waits.join().unwrap().status, 200);
    });
    tell(&gw, &mut bob, NUMBER);
}

#[test]
fn who_hangs_up_has_told_the_number_all_the_same() {
    let gw = TestGateway::start();
    let (code, mut alice) = (tapped(&gw, NUMBER), gw.login("oAlice"));
    gw.wechat.next_fault(Order::from(Fault::Hang).on(PHONE_NUMBER));
    scope(|scope| {
        let hangs_up = scope.spawn(|| {
            let mut other = gw.login("oAlice");
            let body = json!({ "code": code }).to_string();
            let auth = format!("Bearer {}", other.token);
            let head = crate::support::client::head("POST", PATH, &[("Authorization", auth.as_str())], body.len());
            other.client.send(head + &body);
            gw.until_hanging(1);
        });
        hangs_up.join().unwrap();
        gw.wechat.release();
    });
    assert_eq!(send(&mut alice, &code).json()["phoneNumber"], NUMBER);
    assert_eq!(gw.wechat.calls(&code), 1);
}

#[test]
fn nothing_of_a_phone_number_is_logged() {
    let messages = messages();
    let gw = TestGateway::start();
    let mut alice = gw.login("oPhoneOnTrial");
    let gossip = Some(format!("{NUMBER} the-app-secret code-on-trial"));
    gw.wechat.knows_phone("code-on-trial", APP, "86", NUMBER);
    let kept = send(&mut alice, "code-on-trial");
    gw.wechat.next_fault(Order::from(Fault::Errcode { errcode: 48001, errmsg: gossip }).on(PHONE_NUMBER));
    let refused = alice.post(&format!("{PATH}?code=on-trial-{NUMBER}"), r#"{"code":"another-code-on-trial"}"#);
    let gone = alice.request("DELETE", PATH, &[], "");
    for (reply, status) in [(&kept, 200), (&refused, 502), (&gone, 204)] {
        assert_eq!(reply.status, status, "{reply:?}");
        let line = gw.log.line(reply.header("x-request-id").unwrap());
        assert!(line.contains(r#""endpoint":"phone""#), "{line}");
    }
    let all = gw.log.text() + &messages.text();
    assert!(all.contains("errcode 48001"), "the cause is there: {all}");
    for word in ["on-trial", "oPhoneOnTrial", NUMBER, "the-app-secret", "access_token="] {
        assert!(!all.contains(word), "{word} in {all}");
    }
}
