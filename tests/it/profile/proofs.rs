//! What WeChat vouches for: taken with the key of the newest login, and otherwise refused in one way.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use wxgate::simulator::UserData;

use crate::support::{APP, OTHER_APP, Reply, TestGateway};

use super::{PATH, get, put};

const STALE: &str = "WeChat's data does not fit the newest login. Log in again, then ask WeChat for it again.";

fn band() -> Value {
    json!({
        "nickName": "Band", "gender": 1, "language": "zh_CN", "city": "Guangzhou", "province": "", "country": "CN",
        "avatarUrl": "http://wx.qlogo.cn/mmopen/vi_32/abc/0"
    })
}

fn told(gw: &TestGateway, openid: &str) -> UserData {
    gw.wechat.user_data(APP, openid, &band()).expect("a user who has logged in")
}

fn signed(data: &UserData) -> Value {
    json!({ "rawData": data.raw_data, "signature": data.signature })
}

fn encrypted(data: &UserData) -> Value {
    json!({ "encryptedData": data.encrypted_data, "iv": data.iv })
}

/// All of an answer that a client can tell from another.
fn told_apart_by(reply: &Reply) -> String {
    let id = reply.header("x-request-id").unwrap().to_owned();
    let mut headers = reply.headers.clone();
    headers.retain(|(name, _)| name != "date");
    format!("{} {headers:?} {}", reply.status, reply.text()).replace(&id, "id")
}

#[test]
fn what_wechat_signs_or_encrypts_is_kept_as_such() {
    let gw = TestGateway::start();
    for (openid, how, source) in [
        ("oAlice", signed as fn(&UserData) -> Value, "signed"),
        ("oBob", encrypted as fn(&UserData) -> Value, "decrypted"),
    ] {
        let mut user = gw.login(openid);
        let profile = put(&mut user, &how(&told(&gw, openid)));
        assert_eq!(
            (&profile["nickName"], &profile["gender"], &profile["city"]),
            (&json!("Band"), &json!(1), &json!("Guangzhou"))
        );
        assert_eq!(profile["avatarUrl"], "https://wx.qlogo.cn/mmopen/vi_32/abc/0");
        assert_eq!(profile.get("province"), None, "what WeChat leaves empty is not told");
        assert_eq!(profile["fields"]["nickName"]["source"], source);
        assert_eq!(get(&mut user), profile);
    }
}

#[test]
fn all_that_a_client_is_given_may_be_sent_as_it_is() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let mut body = serde_json::to_value(told(&gw, "oAlice")).unwrap();
    body["errMsg"] = "getUserProfile:ok".into();
    body["userInfo"] = band();
    assert_eq!(put(&mut alice, &body)["fields"]["nickName"]["source"], "signed", "the stronger word counts");
}

#[test]
fn another_login_makes_it_stale_and_asking_again_mends_it() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let data = told(&gw, "oAlice");
    gw.login("oAlice");
    for body in [signed(&data), encrypted(&data)] {
        let reply = alice.put(PATH, &body);
        let line = gw.says_no(&reply, 409, "session_key_stale", STALE, &[]);
        assert_eq!(
            line["cause"],
            "the profile could not be told or changed: WeChat does not vouch for it: the data does not fit the user's newest session_key"
        );
    }
    assert_eq!(get(&mut alice)["version"], 0);
    let data = told(&gw, "oAlice");
    assert_eq!(put(&mut alice, &encrypted(&data))["nickName"], "Band", "the older session may send it as well");
}

#[test]
fn what_is_another_users_or_another_apps_is_stale() {
    let gw = TestGateway::start();
    let (mut alice, mut elsewhere) = (gw.login("oAlice"), gw.login_to(OTHER_APP, "oAlice"));
    gw.login("oBob");
    let of_bob = told(&gw, "oBob");
    let of_alice = told(&gw, "oAlice");
    for body in [signed(&of_bob), encrypted(&of_bob)] {
        assert_eq!(alice.put(PATH, &body).code(), "session_key_stale");
    }
    for body in [signed(&of_alice), encrypted(&of_alice)] {
        assert_eq!(elsewhere.put(PATH, &body).code(), "session_key_stale");
    }
}

#[test]
fn encrypted_data_is_good_for_an_hour() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let data = told(&gw, "oAlice");
    gw.later(Duration::from_hours(1));
    put(&mut alice, &encrypted(&data));
    gw.later(Duration::from_secs(1));
    assert_eq!(alice.put(PATH, &encrypted(&data)).code(), "session_key_stale");
}

#[test]
fn a_proof_that_fails_takes_the_whole_body_along() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let mut body = signed(&told(&gw, "oAlice"));
    body["city"] = "广州".into();
    body["encryptedData"] = "".into();
    body["iv"] = "".into();
    assert_eq!(alice.put(PATH, &body).code(), "session_key_stale");
    assert_eq!(get(&mut alice)["version"], 0);
}

/// An answer that tells a wrong padding from another fault reads, question by question, what was encrypted for others.
#[test]
fn whatever_is_wrong_with_encrypted_data_has_one_answer() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let data = told(&gw, "oAlice");
    let good = STANDARD.decode(&data.encrypted_data).unwrap();
    let with = |bytes: &[u8]| json!({ "encryptedData": STANDARD.encode(bytes), "iv": data.iv });

    let mut wrong = Vec::new();
    for last in (0..=255_u8).filter(|last| *last != good[good.len() - 17]) {
        // Each leads to another last byte of the text: among them those that look like a padding.
        let mut bytes = good.clone();
        let at = bytes.len() - 17;
        bytes[at] = last;
        wrong.push(with(&bytes));
    }
    for len in [0, 1, 15, 16, 17, 32, good.len() - 16, good.len() - 1] {
        wrong.push(with(&good[..len]));
    }
    wrong.extend([1, 15, 16, 17, 4096].map(|more| with(&[&good[..], &vec![0; more]].concat())));
    wrong.extend([16, 32].map(|len| with(&good[len..])));
    for iv in
        [String::new(), "!".to_owned(), STANDARD.encode([0; 15]), STANDARD.encode([0; 16]), STANDARD.encode([0; 17])]
    {
        wrong.push(json!({ "encryptedData": data.encrypted_data, "iv": iv }));
    }
    wrong.extend(["!", "=", "\u{4e2d}", " "].map(|text| json!({ "encryptedData": text, "iv": data.iv })));
    wrong.push(json!({ "encryptedData": data.encrypted_data.replace('=', ""), "iv": format!("{} ", data.iv) }));

    let answers: std::collections::BTreeSet<String> =
        wrong.iter().map(|body| told_apart_by(&alice.put(PATH, body))).collect();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert!(answers.first().unwrap().contains("session_key_stale"), "{answers:#?}");
    assert_eq!(put(&mut alice, &encrypted(&data))["nickName"], "Band", "and the right one is right");
}

/// The padding is right in all of these, so whoever could tell them from the ones above would know that it is not in those.
#[test]
fn what_opens_and_is_not_what_it_should_be_has_that_answer_too() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    gw.login("oBob");
    gw.login_to(OTHER_APP, "oAlice");
    let older = told(&gw, "oAlice");
    gw.login("oAlice");
    let of = |info: &Value| gw.wechat.user_data(APP, "oAlice", info).unwrap();
    let broken = json!({ "encryptedData": "AAAA", "iv": older.iv });
    let mut bodies = vec![broken, encrypted(&older), signed(&older), encrypted(&told(&gw, "oBob"))];
    bodies.push(encrypted(&gw.wechat.user_data(OTHER_APP, "oAlice", &band()).unwrap()));
    for info in
        [json!([band()]), json!("Band"), json!(7), json!(null), json!({ "nickName": 7 }), json!({ "gender": "1" })]
    {
        bodies.extend([encrypted(&of(&info)), signed(&of(&info))]);
    }
    let long_ago = of(&band());
    gw.later(Duration::from_secs(3601));
    bodies.push(encrypted(&long_ago));
    let answers: std::collections::BTreeSet<String> =
        bodies.iter().map(|body| told_apart_by(&alice.put(PATH, body))).collect();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert_eq!(get(&mut alice)["version"], 0);
}

#[test]
fn the_placeholder_of_wechat_takes_nobodys_place() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let real =
        put(&mut alice, &json!({ "nickName": "小明", "avatarUrl": "https://cdn.example.com/a.png", "gender": 2 }));
    let placeholder = json!({
        "nickName": "微信用户", "gender": 0, "language": "", "city": "", "province": "", "country": "",
        "avatarUrl": "https://thirdwx.qlogo.cn/mmopen/vi_32/POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4poC6icRiccVGKSyXwibcPq4BWmiaIGuG1icwxaQX6grC9VemZoJ8rg/132"
    });
    let data = gw.wechat.user_data(APP, "oAlice", &placeholder).unwrap();
    for body in [placeholder, signed(&data), encrypted(&data)] {
        assert_eq!(put(&mut alice, &body), real, "{body}");
    }
}
