//! An operator looks at a user's sessions, and ends them.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use wxgate::{
    model::{AppId, Clock, Identity, OpenId, Session, SessionKey, Terms, Timestamp, TokenDigest, UserKey, UserTag},
    store::{Memory, Store},
};

use crate::support::{APP, OTHER_APP, Reply, TestGateway, User, messages, scripted::Scripted};

use super::{BEARER, operator, sessions_of, token, with_token};

fn list(gw: &TestGateway, openid: &str) -> Value {
    let reply = operator(gw, "GET", &sessions_of(openid));
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json; charset=utf-8")));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    reply.json()
}

fn ids(listed: &Value) -> Vec<String> {
    let sessions = listed["sessions"].as_array().unwrap();
    sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

fn end(gw: &TestGateway, openid: &str, id: &str) -> Reply {
    operator(gw, "DELETE", &format!("{}/{id}", sessions_of(openid)))
}

/// Puts sessions into a store that nobody has a token for.
fn add_sessions(store: &dyn Store, app: &str, openid: &str, how_many: u16, now: Timestamp) {
    let user = UserKey { app: AppId::parse(app).unwrap(), openid: OpenId::parse(openid).unwrap() };
    let terms = Terms { idle: Duration::from_hours(1), lifetime: Duration::from_hours(2) };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for n in 0..how_many {
        let [high, low] = n.to_be_bytes();
        let digest = TokenDigest::new(std::array::from_fn(|at| [high, low][at % 2]));
        let identity = Identity { user: user.clone(), unionid: None };
        let session = Arc::new(Session::begin(identity, digest, UserTag::new([0; 8]), terms, now));
        runtime.block_on(store.begin(&session, &SessionKey::new("key"), 0, now)).unwrap();
    }
}

fn is_in(user: &mut User) -> bool {
    let status = user.get("/orders").status;
    assert!(matches!(status, 200 | 401), "{status}");
    status == 200
}

#[test]
fn a_users_sessions_are_listed_the_newest_first() {
    let gw = with_token();
    let mut first = gw.login("oAlice");
    gw.later(Duration::from_hours(1));
    gw.login("oAlice");
    gw.login("oBob");
    gw.login_to(OTHER_APP, "oAlice");
    gw.later(Duration::from_hours(1));
    assert!(is_in(&mut first));
    let listed = list(&gw, "oAlice");
    assert_eq!(listed["total"], 2);
    let told = |at: usize, what: &str| listed["sessions"][at][what].clone();
    assert_eq!(
        (told(0, "createdAt"), told(0, "lastSeenAt")),
        ("2026-09-21T15:13:20Z".into(), "2026-09-21T15:13:20Z".into())
    );
    assert_eq!(
        (told(1, "createdAt"), told(1, "lastSeenAt")),
        ("2026-09-21T14:13:20Z".into(), "2026-09-21T16:13:20Z".into())
    );
    assert_eq!((told(0, "expiresIn"), told(1, "expiresIn")), (82_800.into(), 86_400.into()));
    assert_eq!(list(&gw, "oNobody"), serde_json::json!({ "sessions": [], "total": 0 }));
}

#[test]
fn a_list_shows_nothing_that_opens_a_session() {
    let gw = with_token();
    let mut alice = gw.login("oAlice");
    let text = list(&gw, "oAlice").to_string();
    for secret in [&alice.token, &alice.token[4..], "wxg_", "oAlice"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let session = &list(&gw, "oAlice")["sessions"][0];
    let mut keys: Vec<_> = session.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    assert_eq!(keys, ["createdAt", "expiresIn", "id", "lastSeenAt"]);
    let id = session["id"].as_str().unwrap();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    for credentials in [format!("Bearer {id}"), format!("Bearer wxg_{id}")] {
        let reply = gw.client().request("GET", "/orders", &[("Authorization", &credentials)], "");
        assert_eq!(reply.status, 401);
    }
    assert!(is_in(&mut alice));
}

#[test]
fn a_session_that_an_operator_ends_is_over_at_once_and_the_others_live() {
    let gw = with_token();
    let mut old = gw.login("oAlice");
    gw.later(Duration::from_secs(1));
    let mut new = gw.login("oAlice");
    let mut bob = gw.login("oBob");
    let id = ids(&list(&gw, "oAlice")).pop().unwrap();
    let reply = end(&gw, "oAlice", &id);
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"ended":1}"#));
    assert_eq!([is_in(&mut old), is_in(&mut new), is_in(&mut bob)], [false, true, true]);
    assert_eq!(ids(&list(&gw, "oAlice")).len(), 1);
    let again = end(&gw, "oAlice", &id);
    assert_eq!((again.status, again.code().as_str()), (404, "no_session"));
}

#[test]
fn an_operator_logs_a_user_out_everywhere_in_one_app() {
    let gw = with_token();
    let (mut phone, mut tablet) = (gw.login("oAlice"), gw.login("oAlice"));
    let (mut other_app, mut bob) = (gw.login_to(OTHER_APP, "oAlice"), gw.login("oBob"));
    let reply = operator(&gw, "DELETE", &sessions_of("oAlice"));
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"ended":2}"#));
    let left = [&mut phone, &mut tablet, &mut other_app, &mut bob].map(is_in);
    assert_eq!(left, [false, false, true, true]);
    assert_eq!(operator(&gw, "DELETE", &sessions_of("oAlice")).text(), r#"{"ended":0}"#);
    assert!(is_in(&mut gw.login("oAlice")), "who was logged out logs in again");
}

#[test]
fn an_id_ends_a_session_of_its_own_user_only() {
    let gw = with_token();
    let (mut alice, _bob) = (gw.login("oAlice"), gw.login("oBob"));
    let id = ids(&list(&gw, "oAlice")).remove(0);
    for (openid, id) in [("oBob", id.as_str()), ("oAlice", &id[..31]), ("oAlice", ""), ("oAlice", &alice.token.clone())]
    {
        assert_eq!(end(&gw, openid, id).code(), "no_session", "{openid} {id}");
    }
    let elsewhere = format!("/v1/users/{OTHER_APP}/oAlice/sessions/{id}");
    assert_eq!(operator(&gw, "DELETE", &elsewhere).code(), "no_session");
    assert!(is_in(&mut alice));
}

#[test]
fn an_openid_is_read_as_it_was_written() {
    let gw = with_token();
    gw.login("o/A%2F..b");
    assert_eq!(list(&gw, "o%2FA%252F..b")["total"], 1);
    assert_eq!(list(&gw, "o%2fA%252F%2e.b")["total"], 1);
    for path in ["o/A%2F..b", "o%2FA%252F..b/", "%2e%2e/x"] {
        assert_ne!(operator(&gw, "GET", &sessions_of(path)).status, 200, "{path}");
    }
    for openid in ["", "%20", "%00", "%0d%0a", "%ff", &"o".repeat(129)] {
        let reply = operator(&gw, "GET", &sessions_of(openid));
        assert_eq!((reply.status, reply.code().as_str()), (400, "bad_request"), "{openid}");
    }
}

#[test]
fn an_app_that_is_not_configured_is_unknown_and_not_empty() {
    let gw = with_token();
    for app in ["wx0", "", "%ff", &APP.to_uppercase()] {
        for method in ["GET", "DELETE"] {
            let reply = operator(&gw, method, &format!("/v1/users/{app}/oAlice/sessions"));
            assert_eq!((reply.status, reply.code().as_str()), (404, "unknown_app"), "{app}");
        }
    }
}

#[test]
fn sessions_of_an_app_that_is_no_longer_configured_are_listed_and_ended() {
    let store = Arc::new(Memory::new());
    let gw = TestGateway::on(Some(Arc::clone(&store) as Arc<dyn Store>), token);
    add_sessions(&*store, "wxGone", "oAlice", 3, gw.clock.now());
    let path = "/v1/users/wxGone/oAlice/sessions";
    let listed = operator(&gw, "GET", path).json();
    assert_eq!(listed["total"], 3);
    let one = operator(&gw, "DELETE", &format!("{path}/{}", ids(&listed)[0]));
    assert_eq!(one.json(), serde_json::json!({ "ended": 1 }));
    assert_eq!(operator(&gw, "DELETE", &format!("{path}/0123")).code(), "no_session");
    assert_eq!(operator(&gw, "DELETE", path).json(), serde_json::json!({ "ended": 2 }));
    for (method, path) in [("GET", path.to_owned()), ("DELETE", path.to_owned()), ("DELETE", format!("{path}/0123"))] {
        assert_eq!(operator(&gw, method, &path).code(), "unknown_app", "{method} {path}");
    }
}

#[test]
fn sessions_are_counted() {
    let gw = with_token();
    let count = || operator(&gw, "GET", "/v1/sessions/count").text();
    assert_eq!(count(), r#"{"sessions":0}"#);
    gw.login("oAlice");
    gw.login_to(OTHER_APP, "oBob");
    assert_eq!(count(), r#"{"sessions":2}"#);
}

#[test]
fn of_very_many_sessions_the_newest_are_shown_and_all_are_counted() {
    let store = Arc::new(Memory::new());
    let gw = TestGateway::on(Some(Arc::clone(&store) as Arc<dyn Store>), token);
    let mut first = gw.login("oAlice");
    let oldest = ids(&list(&gw, "oAlice")).remove(0);
    gw.later(Duration::from_secs(1));
    add_sessions(&*store, APP, "oAlice", 1000, gw.clock.now());
    let listed = list(&gw, "oAlice");
    assert_eq!((listed["total"].clone(), ids(&listed).len()), (1001.into(), 1000));
    assert!(!ids(&listed).contains(&oldest));
    assert_eq!(end(&gw, "oAlice", &oldest).status, 200, "what is not shown can be ended all the same");
    assert!(!is_in(&mut first));
}

#[test]
fn while_the_store_is_away_an_operator_is_told_so_and_not_of_nobody() {
    let store = Scripted::own();
    let gw = TestGateway::on(Some(Arc::clone(&store) as Arc<dyn Store>), token);
    let mut alice = gw.login("oAlice");
    let id = ids(&list(&gw, "oAlice")).remove(0);
    store.go_away();
    for (method, path) in [
        ("GET", sessions_of("oAlice")),
        ("DELETE", sessions_of("oAlice")),
        ("DELETE", format!("{}/{id}", sessions_of("oAlice"))),
        ("GET", "/v1/sessions/count".to_owned()),
    ] {
        let reply = operator(&gw, method, &path);
        assert_eq!((reply.status, reply.code().as_str()), (503, "store_unavailable"), "{method} {path}");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    store.come_back();
    assert!(is_in(&mut alice));
    assert_eq!(end(&gw, "oAlice", &id).status, 200);
    assert!(!is_in(&mut alice));
}

#[test]
fn the_log_tells_who_was_logged_out_and_names_nobody() {
    let messages = messages();
    let gw = with_token();
    let mut alice = gw.login("oAliceOfTheLog");
    let user = gw.log.line("\"endpoint\":\"verify\"");
    assert!(!user.contains("oAliceOfTheLog"));
    let reply = operator(&gw, "DELETE", &sessions_of("oAliceOfTheLog"));
    let line: Value = serde_json::from_str(&messages.line(reply.header("x-request-id").unwrap())).unwrap();
    assert_eq!((line["ended"].clone(), line["app"].clone()), (1.into(), APP.into()));
    let request = alice.get("/public/");
    assert_eq!(request.status, 200);
    assert_eq!(line["user"].as_str().map(str::len), Some(16));
    let text = messages.text();
    for secret in ["oAliceOfTheLog", BEARER.1, &alice.token] {
        assert!(!text.contains(secret), "{secret}");
    }
}
