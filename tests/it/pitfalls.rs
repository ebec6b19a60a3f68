//! What users of other SDKs have run into, where no other test tells of it already. The numbers are those of docs/PITFALLS.md.

use std::thread::scope;

use serde_json::json;

use crate::support::{APP, OTHER_APP, TestGateway, User};

/// 8: a form reads a `+` as a space, and Base64 is full of them.
#[test]
fn a_plus_in_base64_stays_one() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let has_all_letters = |text: &str| text.contains('+') && text.contains('/');
    let told = std::iter::from_fn(|| gw.wechat.user_data(APP, "oAlice", &json!({ "nickName": "小明" })));
    let told = told.take(1000).find(|told| has_all_letters(&told.encrypted_data)).unwrap();
    let mut put = |data: &str| alice.put("/v1/profile", &json!({ "encryptedData": data, "iv": told.iv }));
    assert_eq!(put(&told.encrypted_data.replace('+', " ")).code(), "session_key_stale");
    assert_eq!(put(&told.encrypted_data).json()["nickName"], "小明");
}

/// 19: an SDK fetched an access token before each login, and had spent its quota one day.
#[test]
fn a_login_asks_wechat_for_nothing_else() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    assert_eq!(gw.wechat.total_calls(), 1);
    for _ in 0..10 {
        assert_eq!(alice.get("/orders").status, 200);
    }
    assert_eq!(alice.put("/v1/profile", &json!({ "nickName": "小明" })).status, 200);
    assert_eq!(gw.wechat.total_calls(), 1, "WeChat is asked at a login, and not after it");
}

/// 29: which app was meant hung on the thread that a request happened to be on.
#[test]
fn logins_of_two_apps_at_once_are_never_mixed() {
    let gw = TestGateway::start();
    scope(|scope| {
        for (app, nickname) in [(APP, "one"), (OTHER_APP, "the other")].repeat(8) {
            let gw = &gw;
            scope.spawn(move || {
                for n in 0..10 {
                    let mut user: User = gw.login_to(app, "oAlice");
                    assert_eq!(user.get("/v1/session").json()["appId"], app);
                    let profile = user.put("/v1/profile", &json!({ "nickName": nickname })).json();
                    assert_eq!(profile["nickName"], nickname, "login {n}");
                }
            });
        }
    });
    for (app, nickname) in [(APP, "one"), (OTHER_APP, "the other")] {
        assert_eq!(gw.login_to(app, "oAlice").get("/v1/profile").json()["nickName"], nickname);
    }
}
