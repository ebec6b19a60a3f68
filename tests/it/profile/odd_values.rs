//! Names that look like others, letters that are none, and bodies that are too deep: kept as they are, or refused as a whole.

use serde_json::{Value, json};

use crate::support::{APP, TestGateway, User};

use super::{PATH, get, put};

const WHOLE: &str = "The body must be a JSON object, with each field at most once and proofs as strings.";
const NAME: &str =
    "nickName must be a string of 1 to 32 characters, without control or formatting characters, or null.";

/// The sentence of a refusal; nothing else may have come of it.
fn refused(user: &mut User, body: &str) -> String {
    let reply = user.request("PUT", PATH, &[], body);
    assert_eq!((reply.status, reply.code().as_str()), (400, "bad_request"), "{body:.200} {reply:?}");
    assert_eq!(get(user)["version"], 0, "{body:.200}");
    reply.json()["error"].as_str().unwrap().to_owned()
}

/// What a name is cannot be seen; so no profile is found by one, and none is changed into another.
#[test]
fn names_that_look_alike_are_kept_apart_and_as_they_came() {
    let gw = TestGateway::start();
    let alike =
        ["paypal", "раураl", "paypa1", "pаypal", "ｐａｙｐａｌ", "𝐩𝐚𝐲𝐩𝐚𝐥", "é", "e\u{301}", "Å", "\u{212b}", "ﬁ", "fi"];
    let mut users: Vec<User> = (0..alike.len()).map(|n| gw.login(&format!("o{n}"))).collect();
    for (user, name) in users.iter_mut().zip(alike) {
        put(user, &json!({ "nickName": name }));
    }
    for (user, name) in users.iter_mut().zip(alike) {
        assert_eq!(get(user)["nickName"], name);
    }
}

#[test]
fn letters_written_as_escapes_are_the_letters() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    for (body, name) in [
        (r#"{"nickName":"\u5c0f\u660e"}"#, "小明"),
        (r#"{"nickName":"\ud83d\ude00"}"#, "😀"),
        (r#"{"nick\u004eame":"a\/b\"c\\d"}"#, "a/b\"c\\d"),
        (r#"{"nickName":"\u00a0\u3000x\u2003"}"#, "x"),
    ] {
        assert_eq!(alice.request("PUT", PATH, &[], body).json()["nickName"], name, "{body}");
    }
}

#[test]
fn letters_that_are_none_are_refused() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    for half in
        [r"\ud83d", r"\ude00", r"\ud83dx", r"\ude00\ud83d", r"\ud83d\u0041", r"\uD83", r"\x41", "\n", "\u{1}", "\0"]
    {
        assert_eq!(refused(&mut alice, &format!(r#"{{"nickName":"a{half}"}}"#)), WHOLE, "{half:?}");
    }
    for odd in [r"\u0000", r"\u0007", r"\u200b", r"\u200e", r"\u202e", r"\u2066", r"\ufeff", r"\uffff", r"\udb40\udc41"]
    {
        assert_eq!(refused(&mut alice, &format!(r#"{{"nickName":"a{odd}b"}}"#)), NAME, "{odd}");
    }
}

#[test]
fn a_name_has_32_characters_however_many_bytes_they_take() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    for letter in ["a", "字", "😀", "\u{10fffd}"] {
        assert_eq!(refused(&mut alice, &json!({ "nickName": letter.repeat(33) }).to_string()), NAME, "{letter}");
    }
    let stack = format!("a{}", "\u{301}".repeat(32));
    assert_eq!(refused(&mut alice, &json!({ "nickName": stack }).to_string()), NAME);
    for letter in ["a", "字", "😀", "\u{10fffd}"] {
        let name = letter.repeat(32);
        assert_eq!(put(&mut alice, &json!({ "nickName": name }))["nickName"], name);
    }
}

#[test]
fn a_field_is_there_once() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    for twice in [
        r#"{"nickName":"a","nickName":"a"}"#,
        r#"{"nickName":null,"nickName":"a"}"#,
        r#"{"nickName":"a","nick\u004eame":"b"}"#,
        r#"{"nickName":"a","encryptedData":"x","encryptedData":"x","iv":"y"}"#,
        r#"{"nickName":"a","rawData":"x","signature":"y","signature":"z"}"#,
    ] {
        assert_eq!(refused(&mut alice, twice), WHOLE, "{twice}");
    }
    let unknown = alice.request("PUT", PATH, &[], r#"{"x":1,"nickName":"a","x":2}"#);
    assert_eq!(unknown.json()["nickName"], "a", "what is passed over may be there twice");
}

#[test]
fn what_is_deep_costs_nothing() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let depth = 8_000;
    let (open, close) = ("[".repeat(depth), "]".repeat(depth));
    assert_eq!(refused(&mut alice, &format!(r#"{{"nickName":{open}{close}}}"#)), WHOLE);
    assert_eq!(refused(&mut alice, &format!(r#"{{"nickName":"a","x":{open}"#)), WHOLE);
    assert_eq!(refused(&mut alice, &format!("{{\"x\":{}", "{\"x\":".repeat(3_000))), WHOLE);
    assert_eq!(refused(&mut alice, r#"{"nickName":[[["a"]]]}"#), NAME);
    let reply = alice.request("PUT", PATH, &[], &format!(r#"{{"nickName":"a","x":{open}{close}}}"#));
    assert_eq!(reply.json()["nickName"], "a", "nobody looks into what is passed over");
}

#[test]
fn what_wechat_tells_is_held_to_the_same_bounds() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let mut told = |info: Value| {
        let data = gw.wechat.user_data(APP, "oAlice", &info).unwrap();
        put(&mut alice, &json!({ "encryptedData": data.encrypted_data, "iv": data.iv }))
    };
    let first = told(json!({ "nickName": "小明", "city": "广州", "gender": 1 }));
    for odd in ["字".repeat(33), "a\u{202e}b".to_owned(), "\u{200b}".to_owned(), "x".repeat(2_000)] {
        let after = told(json!({ "nickName": odd, "avatarUrl": odd, "city": odd.repeat(2), "gender": 3 }));
        assert_eq!(after, first, "{odd:.40}: what nobody may say is passed over");
    }
}
