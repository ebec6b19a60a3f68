//! The operators' listener: alive, ready, counted; and closed to everybody else.

use std::collections::BTreeMap;

use serde_json::json;
use wxgate::{model::Secret, simulator::Fault};

use crate::support::{APP, Client, TestGateway, until, upstream::answer};

const TEXT: Option<&str> = Some("text/plain; charset=utf-8");

fn with_token() -> TestGateway {
    TestGateway::with(|config| config.admin.token = Some(Secret::new("operators-token")))
}

/// Every metric by name, as a reader of the format sees it.
fn metrics(admin: &mut Client) -> BTreeMap<String, f64> {
    let reply = admin.get("/metrics");
    assert_eq!(reply.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let text = reply.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let parse = |line: &str| {
        let (name, value) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
    };
    samples.map(parse).collect()
}

#[test]
fn it_is_alive_and_ready() {
    let gw = TestGateway::start();
    let mut admin = gw.admin();
    for (path, body) in [("/healthz", "alive\n"), ("/readyz", "ready\n")] {
        let reply = admin.get(path);
        assert_eq!((reply.status, reply.text().as_str(), reply.header("content-type")), (200, body, TEXT));
        let head = admin.request("HEAD", path, &[], "");
        assert_eq!((head.status, head.body.len()), (200, 0));
    }
}

#[test]
fn while_it_drains_it_is_alive_and_not_ready() {
    let gw = TestGateway::start();
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let finished = std::sync::Mutex::new(finished);
    gw.upstream.does(move |_, out| {
        finished.lock().unwrap().recv().unwrap();
        answer(out, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
    });
    let (mut client, mut admin) = (gw.client(), gw.admin());
    client.send("GET /public/ HTTP/1.1\r\nHost: a\r\n\r\n");
    gw.upstream.wait_for(1);
    std::thread::scope(|scope| {
        scope.spawn(move || gw.stop());
        let reply = until("not ready", || Some(admin.get("/readyz")).filter(|reply| reply.status != 200));
        assert_eq!((reply.status, reply.text().as_str()), (503, "stopping\n"));
        assert_eq!(admin.get("/healthz").status, 200);
        finish.send(()).unwrap();
        assert_eq!(client.reply().text(), "done", "what was under way is finished");
    });
    assert!(admin.is_closed());
}

#[test]
fn the_metrics_count_what_happened() {
    let gw = TestGateway::with(|config| config.limits.verify_in_flight = 1);
    let mut admin = gw.admin();
    let zero = metrics(&mut admin);
    let names = [
        "wxgate_log_lines_dropped_total",
        "wxgate_logins_limited_total",
        "wxgate_logins_replayed_total",
        "wxgate_session_lookups_total{outcome=\"denied\"}",
        "wxgate_session_lookups_total{outcome=\"expired\"}",
        "wxgate_session_lookups_total{outcome=\"failed\"}",
        "wxgate_session_lookups_total{outcome=\"hit\"}",
        "wxgate_session_lookups_total{outcome=\"miss\"}",
        "wxgate_sessions_evicted_total",
        "wxgate_sessions_issued_total",
        "wxgate_sessions_live",
        "wxgate_sessions_revoked_total",
        "wxgate_upstream_retries_total",
        "wxgate_wechat_calls_total",
    ];
    assert_eq!(zero.keys().collect::<Vec<_>>(), names);
    assert!(zero.values().all(|value| *value == 0.0), "{zero:?}");

    let mut alice = gw.login("oAlice");
    gw.login("oBob");
    let code = gw.code("oCarol");
    assert_eq!([gw.verify_code(&code).status, gw.verify_code(&code).status], [200, 200]);
    assert_eq!(alice.post("/v1/logout", "").status, 204);
    assert_eq!([alice.get("/orders").status, alice.get("/orders").status], [401, 401]);
    gw.wechat.next_fault(Fault::Errcode { errcode: -1, errmsg: None });
    gw.login("oDave");
    let now = metrics(&mut admin);
    let expected: [f64; 14] = [0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 1.0, 0.0, 0.0, 4.0, 3.0, 1.0, 0.0, 5.0];
    assert_eq!(names.map(|name| now[name]), expected, "{now:?}");
}

#[test]
fn every_metric_says_what_it_is() {
    let text = TestGateway::start().admin().get("/metrics").text();
    for sample in text.lines().filter(|line| !line.starts_with('#')) {
        let name = sample.split([' ', '{']).next().unwrap();
        let family = name.trim_end_matches("_total");
        for comment in ["HELP", "TYPE"] {
            assert!(text.contains(&format!("# {comment} {family} ")), "{comment} {family}: {text}");
        }
    }
}

#[test]
fn without_the_token_there_is_nothing_and_with_it_there_is_nothing_yet() {
    let gw = with_token();
    let ask = |headers: &[(&str, &str)]| gw.admin().request("GET", "/sessions", headers, "");
    for headers in [
        &[][..],
        &[("Authorization", "Bearer ")],
        &[("Authorization", "Bearer operators-toke")],
        &[("Authorization", "Bearer operators-tokem")],
        &[("Authorization", "Bearer operators-token2")],
        &[("Authorization", "Basic operators-token")],
        &[("Authorization", "operators-token")],
    ] {
        let reply = ask(headers);
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer")), "{headers:?}");
        assert_eq!(reply.text(), "the admin token is needed\n");
    }
    assert_eq!(ask(&[("Authorization", "Bearer operators-token")]).status, 404);
}

/// Threat 2.5 (CVE-2024-47616): one kind of token is never taken for another.
#[test]
fn a_session_token_is_no_operators_token_and_the_other_way_round() {
    let gw = with_token();
    let bearer = format!("Bearer {}", gw.login("oAlice").token);
    assert_eq!(gw.admin().request("GET", "/sessions", &[("Authorization", &bearer)], "").status, 401);
    let reply = gw.client().request("GET", "/orders", &[("Authorization", "Bearer operators-token")], "");
    assert_eq!(reply.code(), "token_invalid");
}

#[test]
fn where_no_token_is_configured_nobody_has_it() {
    let gw = TestGateway::start();
    for headers in [&[][..], &[("Authorization", "Bearer ")], &[("Authorization", "")]] {
        assert_eq!(gw.admin().request("GET", "/", headers, "").status, 401);
    }
}

#[test]
fn only_get_and_head_are_answered() {
    let gw = with_token();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        for path in ["/healthz", "/readyz", "/metrics", "/sessions"] {
            let reply = gw.admin().request(method, path, &[("Authorization", "Bearer operators-token")], "");
            assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
}

#[test]
fn the_two_listeners_have_nothing_in_common() {
    let gw = TestGateway::start();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(gw.client().get(path).code(), "token_missing", "{path} is an ordinary path in public");
    }
    let body = json!({ "jsCode": gw.code("oAlice"), "appId": APP }).to_string();
    assert_eq!(gw.admin().post("/v1/verify", &body).status, 405);
    assert_eq!(gw.admin().get("/v1/session").status, 401);
    assert_eq!(gw.wechat.total_calls(), 0);
}

#[test]
fn what_is_no_request_is_400() {
    let gw = TestGateway::start();
    let mut admin = gw.admin();
    let reply = admin.raw("GET /healthz#x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((reply.status, reply.text().as_str()), (400, "the request is not well-formed\n"));
    assert!(admin.is_closed());
}
