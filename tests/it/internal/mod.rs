//! The backends' listener: who gets in, and what is told there.

mod access_token;
mod certificates;
mod check_session;
mod decrypt;
pub mod gate;
mod over_http2;
mod reset_session_key;
mod watched;

use std::time::Duration;

use serde_json::{Value, json};
use wxgate::{
    config::{
        Config,
        sections::{Internal, Rate},
    },
    model::Secret,
};

use crate::support::{APP, OTHER_APP, Reply, TestGateway};

pub const BEARER: (&str, &str) = ("Authorization", "Bearer the-backends-token");
const TOKEN: &str = "the-backends-token";

/// The listener on a free port, with a token.
pub fn listening(config: &mut Config) {
    let free = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    config.internal = Some(Internal { token: Some(Secret::new(TOKEN)), ..Internal::new(free.into()) });
}

fn start() -> TestGateway {
    TestGateway::with(listening)
}

/// A backend's question, with the token.
fn asks(gw: &TestGateway, method: &str, path: &str, body: &Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    gw.internal().request(method, path, &[BEARER], &body)
}

fn profile_of(openid: &str) -> String {
    format!("/internal/v1/users/{APP}/{openid}/profile")
}

#[test]
fn a_backend_reads_what_a_user_has_told() {
    let gw = start();
    let mut alice = gw.login("o/Alice");
    let unknown = asks(&gw, "GET", &profile_of("o%2FAlice"), &Value::Null);
    assert_eq!((unknown.status, unknown.json()), (200, json!({ "version": 0, "fields": {} })));
    let told = alice.put("/v1/profile", &json!({ "nickName": "小明" }));
    let read = asks(&gw, "GET", &profile_of("%6f%2FAlice"), &Value::Null);
    assert_eq!((read.status, read.json()), (200, told.json()));
    assert_eq!(read.header("etag"), told.header("etag"));
    assert_eq!(read.header("cache-control"), Some("no-store"));
    let somebody_else = asks(&gw, "GET", &profile_of("oBob"), &Value::Null);
    assert_eq!(somebody_else.json()["version"], 0);
}

#[test]
fn a_user_that_no_path_can_name_is_refused() {
    let gw = start();
    for (path, code) in [
        (profile_of("o%2"), "bad_request"),
        (profile_of("%ff"), "bad_request"),
        (profile_of("a%20b"), "bad_request"),
        (profile_of(""), "bad_request"),
        (profile_of("o/Alice"), "not_found"),
        ("/internal/v1/users/wxunknown/oAlice/profile".to_owned(), "unknown_app"),
        (format!("/internal/v1/users/{APP}/oAlice/profile/"), "not_found"),
        (format!("/users/{APP}/oAlice/profile"), "not_found"),
    ] {
        assert_eq!(asks(&gw, "GET", &path, &Value::Null).code(), code, "{path}");
    }
}

#[test]
fn each_path_takes_its_methods_and_no_other() {
    let gw = start();
    let token = format!("/internal/v1/access_token?app={APP}");
    for (path, allowed) in [
        (profile_of("oAlice"), "GET, HEAD"),
        (token, "GET, HEAD"),
        ("/internal/v1/decrypt".to_owned(), "POST"),
        ("/internal/v1/reset_session_key".to_owned(), "POST"),
        ("/internal/v1/check_session".to_owned(), "POST"),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            let reply = asks(&gw, method, &path, &Value::Null);
            let refused = !allowed.split(", ").any(|known| known == method);
            assert_eq!(reply.status == 405, refused, "{method} {path}: {reply:?}");
            assert_eq!(reply.header("allow"), refused.then_some(allowed), "{method} {path}");
        }
    }
}

#[test]
fn what_is_asked_of_a_users_key_counts_as_a_change_of_the_profile_does() {
    let rate = Rate { count: 3.try_into().unwrap(), per: Duration::from_mins(1) };
    let gw = TestGateway::with(|config| {
        listening(config);
        config.limits.profile_per_user = rate;
    });
    let (alice, _bob) = (gw.login("oAlice"), gw.login("oBob"));
    let of = |openid: &str| json!({ "app": APP, "openid": openid, "encryptedData": "", "iv": "" });
    assert_eq!(asks(&gw, "POST", "/internal/v1/decrypt", &of("oAlice")).status, 409);
    assert_eq!(asks(&gw, "POST", "/internal/v1/check_session", &of("oAlice")).status, 200);
    assert_eq!(asks(&gw, "POST", "/internal/v1/check_session", &json!({ "token": alice.token })).status, 200);
    for path in ["/internal/v1/decrypt", "/internal/v1/check_session"] {
        let reply = asks(&gw, "POST", path, &of("oAlice"));
        assert_eq!((reply.status, reply.code().as_str()), (429, "rate_limited"), "{path}");
        assert_eq!(reply.header("retry-after"), Some("20"), "{path}");
    }
    assert_eq!(gw.wechat.calls_of("/wxa/checksession"), 2);
    assert_eq!(asks(&gw, "POST", "/internal/v1/check_session", &of("oBob")).status, 200);
    assert_eq!(asks(&gw, "GET", &profile_of("oAlice"), &Value::Null).status, 200, "to look is free");
}

#[test]
fn a_token_of_an_app_that_is_no_longer_configured_names_nobody() {
    let mut gw = start();
    let stranger = gw.login_to(OTHER_APP, "oAlice");
    let body = json!({ "token": stranger.token, "encryptedData": "", "iv": "" });
    assert_eq!(asks(&gw, "POST", "/internal/v1/decrypt", &body).status, 409);
    gw.reload(|config| config.apps.truncate(1));
    crate::support::until("the listener to follow", || {
        let gone = asks(&gw, "GET", &format!("/internal/v1/users/{OTHER_APP}/oAlice/profile"), &Value::Null);
        (gone.status == 404).then_some(())
    });
    for path in ["/internal/v1/decrypt", "/internal/v1/check_session"] {
        let reply = asks(&gw, "POST", path, &body);
        assert_eq!((reply.status, reply.code().as_str()), (404, "unknown_app"), "{path}");
    }
}

#[test]
fn without_the_section_there_is_no_listener() {
    assert!(TestGateway::start().app().internal_place().is_none());
}
