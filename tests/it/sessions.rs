//! Sessions over the wire: how they stand, how long they last, and that what has ended stays ended.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{APP, OTHER_APP, Reply, TestGateway, User, messages, until};

const HOUR: Duration = Duration::from_hours(1);

fn is_dead(user: &mut User) {
    for path in ["/orders", "/v1/session"] {
        let reply = user.get(path);
        assert_eq!((reply.status, reply.code().as_str()), (401, "token_invalid"), "{path}");
    }
    assert_eq!(user.get("/maybe/").status, 200, "where a session is optional they are a stranger");
}

fn expires_in(reply: &Reply) -> u64 {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["expiresIn"].as_u64().unwrap()
}

/// The same user, once more, as from another phone.
fn again(gw: &TestGateway, user: &User) -> User {
    gw.login(&user.openid)
}

// --- GET /v1/session

#[test]
fn a_live_token_is_told_how_its_session_stands() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    gw.later(Duration::from_secs(2));
    let reply = alice.get("/v1/session");
    assert_eq!(reply.status, 200);
    let created = "2026-09-21T14:13:20Z";
    assert_eq!(reply.json(), json!({ "appId": APP, "expiresIn": 86_400, "createdAt": created }));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("content-type"), Some("application/json; charset=utf-8"));
    let id = reply.header("x-request-id").unwrap();
    let line: Value = serde_json::from_str(&gw.log.line(id)).unwrap();
    assert_eq!((&line["status"], &line["endpoint"]), (&json!(200), &json!("session")));
}

#[test]
fn head_tells_the_same_without_the_body() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let get = alice.get("/v1/session");
    let head = alice.request("HEAD", "/v1/session", &[], "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), get.header("content-length"));
    let line = gw.log.line(head.header("x-request-id").unwrap());
    assert!(line.contains(r#""method":"HEAD""#) && line.contains(r#""bytes":0"#), "{line}");
    assert!(line.contains(r#""complete":true"#), "{line}");
    assert_eq!(alice.get("/v1/session").status, 200, "and the connection goes on");
}

#[test]
fn a_query_on_our_own_path_makes_no_difference_and_a_longer_path_is_not_ours() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    assert_eq!(expires_in(&alice.get("/v1/session?x=1")), 86_400);
    assert_eq!(gw.upstream.connections(), 0);
    assert_eq!(alice.get("/v1/sessions").text(), r#"{"ok":true}"#);
    assert_eq!(alice.get("/v1/session/").text(), r#"{"ok":true}"#);
    assert_eq!(gw.upstream.last().target, "/v1/session/");
}

#[test]
fn the_prefix_can_be_moved() {
    let gw = TestGateway::with(|config| config.api.prefix = "/auth/api".to_owned());
    let body = json!({ "jsCode": gw.code("oAlice"), "appId": APP }).to_string();
    let reply = gw.client().post("/auth/api/verify", &body);
    assert_eq!(expires_in(&reply), 86_400);
    assert_eq!(gw.client().post("/v1/verify", &body).code(), "token_missing", "an ordinary path now");
}

// --- time

#[test]
fn a_session_ends_when_it_is_not_used() {
    let gw = TestGateway::start();
    let (mut used, mut unused) = (gw.login("oAlice"), gw.login("oBob"));
    gw.later(23 * HOUR);
    assert_eq!(used.get("/orders").status, 200);
    assert_eq!(expires_in(&unused.get("/v1/session")), 86_400, "asking how it stands is use");
    gw.later(23 * HOUR);
    assert_eq!(used.get("/orders").status, 200);
    gw.later(HOUR);
    is_dead(&mut unused);
    assert_eq!(used.get("/orders").status, 200);
    gw.later(24 * HOUR);
    is_dead(&mut used);
}

#[test]
fn use_keeps_a_session_until_its_lifetime_is_over_and_no_longer() {
    let gw = TestGateway::with(|config| config.sessions.lifetime = 60 * HOUR);
    let mut alice = gw.login("oAlice");
    for _ in 0..2 {
        gw.later(23 * HOUR);
        assert_eq!(alice.get("/orders").status, 200);
    }
    assert_eq!(expires_in(&alice.get("/v1/session")), 14 * 3600);
    gw.later((14 * HOUR).checked_sub(Duration::from_millis(1)).unwrap());
    assert_eq!(alice.get("/orders").status, 200);
    gw.later(Duration::from_millis(1));
    is_dead(&mut alice);
}

#[test]
fn a_login_tells_the_sooner_of_idle_and_lifetime() {
    let gw = TestGateway::with(|config| config.sessions.lifetime = HOUR);
    assert_eq!(expires_in(&gw.verify_code(&gw.code("oAlice"))), 3600);
    let gw = TestGateway::with(|config| config.sessions.idle = HOUR / 2);
    assert_eq!(expires_in(&gw.verify_code(&gw.code("oAlice"))), 1800);
}

#[test]
fn a_refused_request_is_no_use_of_a_session_elsewhere() {
    let gw = TestGateway::start();
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    gw.later(12 * HOUR);
    assert_eq!(alice.get("/public/").status, 200, "nobody looks at a token there");
    assert_eq!(bob.get("/maybe/").status, 200, "here somebody does");
    gw.later(12 * HOUR);
    is_dead(&mut alice);
    assert_eq!(bob.get("/orders").status, 200);
}

// --- POST /v1/logout

#[test]
fn logging_out_ends_this_session_and_no_other() {
    let gw = TestGateway::start();
    let mut phone = gw.login("oAlice");
    let mut tablet = again(&gw, &phone);
    let reply = phone.post("/v1/logout", "");
    assert_eq!((reply.status, reply.body.len()), (204, 0), "{reply:?}");
    assert!(reply.header("x-request-id").is_some());
    assert_eq!((reply.header("content-length"), reply.header("transfer-encoding")), (None, None));
    is_dead(&mut phone);
    assert_eq!(tablet.get("/orders").status, 200);
    assert_eq!(phone.post("/v1/logout", "").code(), "token_invalid");
    assert_eq!(gw.app().counters().sessions_revoked.get(), 1);
}

#[test]
fn logging_out_everywhere_ends_what_this_user_has_in_this_app() {
    let gw = TestGateway::start();
    let mut phone = gw.login("oAlice");
    let mut tablet = again(&gw, &phone);
    let (mut bob, mut namesake) = (gw.login("oBob"), gw.login_to(OTHER_APP, "oAlice"));
    assert_eq!(tablet.post("/v1/logout", r#"{"everywhere": true}"#).status, 204);
    is_dead(&mut phone);
    is_dead(&mut tablet);
    assert_eq!((bob.get("/orders").status, namesake.get("/orders").status), (200, 200));
    assert_eq!(again(&gw, &phone).get("/orders").status, 200, "and a new login is not touched");
}

#[test]
fn what_a_logout_may_say() {
    let gw = TestGateway::start();
    for (body, everywhere) in
        [("{}", false), (r#"{"everywhere":false,"other":1}"#, false), (r#"{"everywhere":true}"#, true)]
    {
        let mut phone = gw.login("oAlice");
        let mut tablet = again(&gw, &phone);
        assert_eq!(phone.post("/v1/logout", body).status, 204, "{body}");
        assert_eq!(tablet.get("/orders").status == 401, everywhere, "{body}");
    }
    let error = "The body must be empty or a JSON object; everywhere, if given, must be true or false.";
    for body in [
        "x",
        "null",
        "[]",
        "[true]",
        r#"{"everywhere":"true"}"#,
        r#"{"everywhere":1}"#,
        r#"{"everywhere":null}"#,
        "{}x",
    ] {
        let mut phone = gw.login("oAlice");
        gw.says_no(&phone.post("/v1/logout", body), 400, "bad_request", error, &[]);
        assert_eq!(phone.get("/orders").status, 200, "{body}: nobody was logged out");
    }
}

/// Threat 2.5 (CVE-2024-21492): a connection does not remember who it was.
#[test]
fn a_session_that_has_ended_is_dead_on_a_connection_kept_alive() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let mut elsewhere = User { client: gw.client(), token: alice.token.clone(), openid: alice.openid.clone() };
    assert_eq!(alice.get("/orders").status, 200);
    let port = alice.client.local_port();
    assert_eq!(elsewhere.post("/v1/logout", "").status, 204);
    is_dead(&mut alice);
    assert_eq!(alice.client.local_port(), port, "the same connection throughout");
    let seen = gw.upstream.seen();
    assert_eq!(seen.iter().filter(|seen| seen.header("x-wx-openid").is_some()).count(), 1);
}

// --- how many

#[test]
fn the_newest_sessions_of_a_user_stay() {
    let gw = TestGateway::with(|config| config.sessions.per_user = 2);
    let mut stranger = gw.login_to(OTHER_APP, "oAlice");
    let mut sessions: Vec<User> = (0..3).map(|_| gw.login("oAlice")).collect();
    is_dead(&mut sessions[0]);
    for session in &mut sessions[1..] {
        assert_eq!(session.get("/orders").status, 200);
    }
    assert_eq!(stranger.get("/orders").status, 200);
    assert_eq!(gw.app().counters().sessions_revoked.get(), 1);
}

#[test]
fn who_has_no_room_is_logged_out_and_that_is_counted_and_logged() {
    let messages = messages();
    let gw = TestGateway::with(|config| config.sessions.capacity = 53);
    let mut users: Vec<User> = (0..53).map(|n| gw.login(&format!("o{n}"))).collect();
    let evicted = || gw.app().counters().sessions_evicted.get();
    // Those who come are kept and those who were unused longest go; when, is for the cache to say.
    users.extend((53..106).map(|n| gw.login(&format!("o{n}"))));
    until("evictions", || {
        users.push(gw.login("oNew"));
        (evicted() >= 53).then_some(())
    });
    is_dead(&mut users[0]);
    assert_eq!(users.last_mut().unwrap().get("/orders").status, 200);
    let said = messages.line(r#""capacity":53"#);
    assert!(said.contains(r#""level":"WARN""#) && said.contains("raise sessions.capacity"), "{said}");
    let metrics = gw.admin().get("/metrics").text();
    assert!(metrics.contains(&format!("wxgate_sessions_evicted_total {}\n", evicted())), "{metrics}");
}

// --- strangers

#[test]
fn equal_openids_of_two_apps_are_two_users() {
    let gw = TestGateway::start();
    let (mut one, mut other) = (gw.login("oSame"), gw.login_to(OTHER_APP, "oSame"));
    one.get("/orders");
    assert_eq!(gw.upstream.last().header("x-wx-appid"), Some(APP));
    other.get("/orders");
    assert_eq!(gw.upstream.last().header("x-wx-appid"), Some(OTHER_APP));
    assert_eq!(other.get("/v1/session").json()["appId"], OTHER_APP);
    let tags = [APP, OTHER_APP].map(|app| {
        let line: Value = serde_json::from_str(&gw.log.line(&format!(r#""app":"{app}""#))).unwrap();
        line["user"].as_str().unwrap().to_owned()
    });
    assert_ne!(tags[0], tags[1], "the log does not take them for one either");
}

/// Threat 2.5 (fixation): a token that we did not make is never adopted.
#[test]
fn a_token_of_one_gateway_means_nothing_to_another() {
    let (one, other) = (TestGateway::start(), TestGateway::start());
    let alice = one.login("oAlice");
    let mut visitor = User { client: other.client(), token: alice.token.clone(), openid: alice.openid.clone() };
    is_dead(&mut visitor);
    let bearer = format!("Bearer {}", alice.token);
    let body = json!({ "jsCode": other.code("oAlice"), "appId": APP }).to_string();
    let reply = other.client().request("POST", "/v1/verify", &[("Authorization", &bearer)], &body);
    assert_ne!(reply.json()["token"], alice.token);
    is_dead(&mut visitor);
}
