//! The operators' listener: alive, ready, counted, whose sessions; and closed to everybody else.

mod command_line;
mod document;
mod gate;
mod metrics;
pub mod open_metrics;
mod sessions;

use serde_json::json;
use wxgate::{config::Config, model::Secret};

use crate::support::{APP, Reply, TestGateway, until, upstream::answer};

const TEXT: Option<&str> = Some("text/plain; charset=utf-8");
const TOKEN: &str = "operators-token!";
const BEARER: (&str, &str) = ("Authorization", "Bearer operators-token!");

fn token(config: &mut Config) {
    config.admin.token = Some(Secret::new(TOKEN));
}

fn with_token() -> TestGateway {
    TestGateway::with(token)
}

/// An operator's request, with the token.
fn operator(gw: &TestGateway, method: &str, path: &str) -> Reply {
    gw.admin().request(method, path, &[BEARER], "")
}

/// Where a user's sessions are.
fn sessions_of(openid: &str) -> String {
    format!("/v1/users/{APP}/{openid}/sessions")
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
fn the_three_listeners_have_nothing_in_common() {
    let gw = TestGateway::with(crate::internal::listening);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(gw.client().get(path).code(), "token_missing", "{path} is an ordinary path in public");
    }
    let body = json!({ "jsCode": gw.code("oAlice"), "appId": APP }).to_string();
    assert_eq!(gw.admin().post("/v1/verify", &body).code(), "admin_token_unset");
    let gw_with_token = with_token();
    for path in ["/v1/verify", "/v1/session", "/v1/logout"] {
        assert_eq!(operator(&gw_with_token, "POST", path).code(), "not_found", "{path}");
    }
    for path in ["/v1/sessions/count", &sessions_of("oAlice")] {
        assert_eq!(gw_with_token.client().request("GET", path, &[BEARER], "").code(), "token_invalid", "{path}");
    }
    for path in ["/healthz", "/metrics", "/v1/verify", "/v1/session", "/v1/profile", "/v1/sessions/count", "/orders"] {
        let reply = gw.internal().request("GET", path, &[crate::internal::BEARER], "");
        assert_eq!((reply.status, reply.code().as_str()), (404, "not_found"), "{path}");
    }
    for path in ["/internal/v1/decrypt".to_owned(), format!("/internal/v1/users/{APP}/oAlice/profile")] {
        let in_public = gw.client().request("GET", &path, &[crate::internal::BEARER], "");
        assert_eq!(in_public.code(), "token_invalid", "{path} is an ordinary path in public");
        assert_eq!(gw.admin().request("GET", &path, &[crate::internal::BEARER], "").code(), "admin_token_unset");
        assert_eq!(operator(&gw_with_token, "GET", &path).code(), "not_found");
    }
    let as_operator = gw.internal().request("GET", "/internal/v1/decrypt", &[BEARER], "");
    assert_eq!(as_operator.code(), "internal_token_invalid");
    assert_eq!((gw.wechat.total_calls(), gw.upstream.count()), (0, 0));
}

#[test]
fn what_is_no_request_is_400() {
    let gw = TestGateway::start();
    let mut admin = gw.admin();
    let reply = admin.raw("GET /healthz#x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((reply.status, reply.text().as_str()), (400, "the request is not well-formed\n"));
    assert!(admin.is_closed());
}
