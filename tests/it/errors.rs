//! Every row of the error table, reached on a real socket, and the client's view of it asserted whole.

use std::time::Duration;

use http::Method;
use serde_json::json;
use wxgate::{
    config::sections::{AuthRule, Route, UnderscoreHeaders},
    simulator::{Fault, Order},
};

use crate::support::{
    APP, Client, OTHER_APP, Reply, TestGateway, client, messages,
    refusal::shows_no,
    refusing,
    upstream::{Then, answer},
};

const CLOSE: (&str, &str) = ("connection", "close");
const BEARER: (&str, &str) = ("www-authenticate", "Bearer");
const VERIFY_TAKES: &str =
    "The body must be a JSON object with jsCode, a string of 1 to 512 bytes, and appId, a string.";
const FAILED: &str = "Validation failed";
const BUSY: &str = "WeChat is busy. Try again with a new code.";
const LIMITED: &str = "Too many logins. Try again a little later.";
const NOT_ASKED: &str = "WeChat could not be asked.";
const SET_UP: &str = "This app is not set up correctly on the server. Its operators have been told.";
const TWO_WAYS: &str = "The request target or Host could be read in more than one way.";
const TOO_LARGE: &str = "The request body is larger than allowed.";
const BROKE_OFF: &str = "The request body broke off or is not well-formed.";
const NOT_IN_TIME: &str = "The request did not come whole in time.";
const NO_SERVICE: &str = "The service behind this gateway can't be reached.";
const NEEDED: &str = "A session token is needed.";
const NOT_VALID: &str = "The session token is not valid, or no longer.";

fn errcode(errcode: i64) -> Fault {
    Fault::Errcode { errcode, errmsg: Some("words that are WeChat's own".to_owned()) }
}

/// Logs in with a code of its own while WeChat does this to every call.
fn login_under(gw: &TestGateway, fault: Fault) -> Reply {
    gw.wechat.next_fault(Order::from(fault).times(2));
    let reply = gw.verify_code(&gw.code("oAlice"));
    gw.wechat.clear_faults();
    assert!(!reply.text().contains("own"), "{reply:?}");
    reply
}

// --- the body of a login

#[test]
fn a_login_without_a_usable_code_is_400() {
    let gw = TestGateway::start();
    let mut noes = Vec::new();
    let long = json!({ "jsCode": "c".repeat(513), "appId": APP }).to_string();
    for body in [
        "",
        "null",
        "[]",
        r#"["c","wx4f4bc4dec97d474b"]"#,
        "code=1",
        "{\"jsCode\":\"c\"",
        r#"{"appId":"wx4f4bc4dec97d474b"}"#,
        r#"{"jsCode":"","appId":"wx4f4bc4dec97d474b"}"#,
        r#"{"jsCode":7,"appId":"wx4f4bc4dec97d474b"}"#,
        r#"{"jsCode":null,"appId":"wx4f4bc4dec97d474b"}"#,
        r#"{"jsCode":"c","appId":7}"#,
        r#"{"jsCode":"c","jsCode":"d","appId":"wx4f4bc4dec97d474b"}"#,
        "{\"jsCode\":\"\u{e9}\"} and more",
        &long,
    ] {
        let mut client = gw.client();
        let reply = client.post("/v1/verify", body);
        noes.push(shows_no(&reply, 400, "bad_request", VERIFY_TAKES, &[]));
        assert_eq!(client.get("/public/").status, 200, "the connection is fine after {body}");
    }
    for no in noes {
        gw.logs(&no);
    }
    assert_eq!(gw.wechat.total_calls(), 0);
}

#[test]
fn a_login_of_512_bytes_is_passed_on_and_fields_nobody_asked_for_are_ignored() {
    let gw = TestGateway::start();
    let code = "c".repeat(512);
    gw.wechat.knows(&code, APP, "oAlice");
    let reply = gw.verify(&json!({ "jsCode": code, "appId": APP, "encryptedData": "…", "iv": [1] }));
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

/// Threat 42 (RUSTSEC-2022-0055): a body without limit.
#[test]
fn a_login_body_over_4_kib_is_413_however_it_comes() {
    let gw = TestGateway::start();
    let fits = json!({ "jsCode": "", "x": "x".repeat(4096 - 20) }).to_string();
    assert_eq!(fits.len(), 4096);
    gw.says_no(&gw.client().post("/v1/verify", &fits), 400, "bad_request", VERIFY_TAKES, &[]);

    let mut client = gw.client();
    let reply = client.post("/v1/verify", &format!("{fits} "));
    gw.says_no(&reply, 413, "body_too_large", TOO_LARGE, &[CLOSE]);
    assert!(client.is_closed());

    let mut client = gw.client();
    client.send("POST /v1/verify HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let reply = client.raw(format!("1001\r\n{}\r\n0\r\n\r\n", "x".repeat(4097)));
    gw.says_no(&reply, 413, "body_too_large", TOO_LARGE, &[CLOSE]);
    assert!(client.is_closed());
}

#[test]
fn an_app_that_is_not_configured_is_400() {
    let gw = TestGateway::start();
    let code = gw.code("oAlice");
    for body in [
        json!({ "jsCode": code, "appId": "wx0000000000000000" }),
        json!({ "jsCode": code, "appId": APP.to_uppercase() }),
        json!({ "jsCode": code, "appId": "" }),
        json!({ "jsCode": code, "appId": null }),
        json!({ "jsCode": code }),
    ] {
        gw.says_no(&gw.verify(&body), 400, "unknown_app", "This appId is not configured here.", &[]);
    }
    assert_eq!(gw.wechat.total_calls(), 0);
}

// --- WeChat says no

#[test]
fn a_code_that_wechat_refuses_is_401_with_the_seeds_own_words() {
    let gw = TestGateway::start();
    for (n, code) in [(40029, "code_invalid"), (41008, "code_invalid"), (40163, "code_used")] {
        let line = gw.says_no(&login_under(&gw, errcode(n)), 401, code, FAILED, &[]);
        let cause = line["cause"].as_str().unwrap();
        assert!(cause.contains(&format!("errcode {n}, rid ")), "{cause}");
        assert_eq!((&line["endpoint"], &line["app"]), (&json!("verify"), &json!(APP)), "{line}");
    }
}

#[test]
fn the_stand_ins_own_refusals_come_out_the_same() {
    let gw = TestGateway::start();
    let code = gw.code("oAlice");
    assert_eq!(gw.verify_code(&code).status, 200);
    gw.later(Duration::from_secs(11));
    gw.says_no(&gw.verify_code(&code), 401, "code_used", FAILED, &[]);
    gw.says_no(&gw.verify_code("never made"), 401, "code_invalid", FAILED, &[]);
    let of_another_app = gw.wechat.make_code(OTHER_APP, "oAlice").unwrap();
    gw.says_no(&gw.verify_code(&of_another_app), 401, "code_invalid", FAILED, &[]);
    gw.wechat.block("oMallory", true);
    let blocked = gw.verify_code(&gw.code("oMallory"));
    gw.says_no(&blocked, 403, "user_blocked", "WeChat does not let this user log in.", &[]);
}

#[test]
fn a_user_whom_wechat_blocks_is_403() {
    let gw = TestGateway::start();
    let reply = login_under(&gw, errcode(40226));
    gw.says_no(&reply, 403, "user_blocked", "WeChat does not let this user log in.", &[]);
}

#[test]
fn wechats_minute_quota_is_429_and_to_be_tried_in_the_next_minute() {
    let gw = TestGateway::start();
    gw.says_no(&login_under(&gw, errcode(45011)), 429, "rate_limited", LIMITED, &[("retry-after", "60")]);
}

#[test]
fn a_wechat_that_is_busy_twice_is_503() {
    let gw = TestGateway::start();
    let reply = login_under(&gw, errcode(-1));
    gw.says_no(&reply, 503, "wechat_busy", BUSY, &[("retry-after", "1")]);
    assert_eq!(gw.wechat.total_calls(), 2);
}

#[test]
fn a_set_up_that_wechat_refuses_is_502_and_the_error_log_says_what_to_mend() {
    let messages = messages();
    let gw = TestGateway::start();
    let codes = [
        40013, 40125, 40164, 40243, 41002, 41004, 40001, 40002, 45009, 48001, 50001, 50002, 61003, 89501, 89503, 89506,
        89507,
    ];
    let noes = codes.map(|n| shows_no(&login_under(&gw, errcode(n)), 502, "app_misconfigured", SET_UP, &[]));
    for (n, no) in codes.iter().zip(noes) {
        gw.logs(&no);
        let said = messages.line(&no.id);
        assert!(said.contains(r#""level":"ERROR""#) && said.contains(APP), "{said}");
        let key = ["`secret`", "`app_id`", "`api_base`", "console"].iter().any(|key| said.contains(key));
        assert!(key, "{n}: {said}");
    }
}

#[test]
fn a_wrong_secret_in_the_configuration_is_told_by_its_key() {
    let messages = messages();
    let gw = TestGateway::with(|config| config.apps[0].secret = wxgate::model::AppSecret::new("mistyped"));
    let reply = gw.verify_code(&gw.code("oAlice"));
    let line = gw.says_no(&reply, 502, "app_misconfigured", SET_UP, &[]);
    let said = messages.line(line["id"].as_str().unwrap());
    assert!(said.contains("`secret` in [[apps]]") && said.contains(APP), "{said}");
    assert!(!said.contains("mistyped"), "{said}");
}

// --- WeChat can't be asked

/// Threats 5 (CVE-2026-31908) and 42 (CVE-2026-26998): an openid with a header in it, and an answer without end.
#[test]
fn an_answer_of_wechat_that_can_not_be_used_is_502() {
    let gw = TestGateway::start();
    let text = |body: &str| Fault::Body { body: body.to_owned() };
    let faults = [
        Fault::Cut,
        Fault::CutUnread,
        Fault::HalfAnswer,
        Fault::NotJson,
        Fault::EmptyBody,
        Fault::Status { status: 500 },
        Fault::Status { status: 404 },
        Fault::Redirect { location: "http://elsewhere.example/".to_owned() },
        Fault::Oversize { bytes: 64 * 1024 + 1 },
        Fault::Endless,
        Fault::Without { field: "openid".to_owned() },
        Fault::Without { field: "session_key".to_owned() },
        Fault::Openid { openid: "oAlice\r\nX-WX-OPENID: oAdmin".to_owned() },
        Fault::Openid { openid: "oAlice oBob".to_owned() },
        Fault::Openid { openid: "é".to_owned() },
        Fault::Openid { openid: String::new() },
        text("[]"),
        text("null"),
        text("{}"),
        text(r#"{"errcode":0}"#),
        text(r#"{"openid":7,"session_key":"k"}"#),
        text(r#"{"openid":"oAlice","openid":"oBob","session_key":"k"}"#),
        errcode(99999),
    ];
    let no = |fault: Fault| {
        (format!("{fault:?}"), shows_no(&login_under(&gw, fault), 502, "wechat_unreachable", NOT_ASKED, &[]))
    };
    for (fault, no) in faults.map(no) {
        let line = gw.logs(&no);
        assert!(line["cause"].as_str().is_some_and(|cause| cause.contains("the platform")), "{fault}: {line}");
    }
    assert_eq!(gw.upstream.connections(), 0);
}

#[test]
fn a_wechat_that_refuses_connections_is_502() {
    let (_socket, dead) = refusing();
    let gw = TestGateway::with(|config| {
        config.apps[0].api_base = format!("http://{}:{}", dead.host, dead.port).parse().unwrap();
    });
    let line = gw.says_no(&gw.verify_code("c"), 502, "wechat_unreachable", NOT_ASKED, &[]);
    let cause = "the login failed: the code could not be exchanged: the platform was not reached: no connection (connection refused)";
    assert_eq!(line["cause"], cause);
}

#[test]
fn a_wechat_that_does_not_answer_in_time_is_504() {
    let gw = TestGateway::with(|config| config.wechat.timeout = Duration::from_millis(200));
    let line =
        gw.says_no(&login_under(&gw, Fault::Hang), 504, "wechat_timeout", "WeChat took too long to answer.", &[]);
    assert!(line["cause"].as_str().unwrap().contains("within wechat.timeout"), "{line}");
    assert_eq!(gw.wechat.total_calls(), 1, "a code that may be spent is not sent again");
}

// --- who may pass

#[test]
fn without_a_token_a_route_that_needs_one_is_401() {
    let gw = TestGateway::start();
    for headers in [&[][..], &[("Authorization", "Basic dXNlcjpwdw==")]] {
        for path in ["/orders", "/v1/session"] {
            let reply = gw.client().request("GET", path, headers, "");
            gw.says_no(&reply, 401, "token_missing", NEEDED, &[BEARER]);
        }
    }
    assert_eq!(gw.upstream.connections(), 0);
}

#[test]
fn with_a_token_that_opens_nothing_it_is_401_too() {
    let gw = TestGateway::start();
    let mut noes = Vec::new();
    let of_another_gateway = TestGateway::start().login("oAlice").token;
    let mut logged_out = gw.login("oAlice");
    assert_eq!(logged_out.post("/v1/logout", "").status, 204);
    let run_out = gw.login("oAlice").token;
    gw.later(Duration::from_hours(24));
    let tokens = [
        of_another_gateway,
        logged_out.token,
        run_out,
        "wxg_garbage".to_owned(),
        String::new(),
        "a, Bearer b".to_owned(),
    ];
    for token in tokens {
        let bearer = format!("Bearer {token}");
        for path in ["/orders", "/v1/session"] {
            let reply = gw.client().request("GET", path, &[("Authorization", &bearer)], "");
            noes.push(shows_no(&reply, 401, "token_invalid", NOT_VALID, &[BEARER]));
        }
    }
    for no in noes {
        gw.logs(&no);
    }
    assert_eq!(gw.upstream.connections(), 0);
}

#[test]
fn a_live_token_of_an_app_that_the_route_does_not_name_is_403() {
    let gw = TestGateway::with(|config| config.routes[0].apps = Some(vec![config.apps[0].app_id.clone()]));
    let mut stranger = gw.login_to(OTHER_APP, "oAlice");
    let reply = stranger.get("/orders");
    let line = gw.says_no(&reply, 403, "app_not_allowed", "Sessions of this app may not come here.", &[]);
    assert_eq!(line["route"], "/", "{line}");
    assert_eq!(gw.login("oAlice").get("/orders").status, 200);
}

// --- nothing here

#[test]
fn no_route_is_404() {
    let only_public = |config: &mut wxgate::config::Config| {
        let open = Route { auth: AuthRule::None, ..Route::new("/public/", "app") };
        let get = Route { methods: Some(vec![Method::GET]), ..Route::new("/read", "app") };
        config.routes = vec![open, get];
    };
    let gw = TestGateway::with(only_public);
    for (method, path) in
        [("GET", "/"), ("GET", "/publication"), ("POST", "/read"), ("GET", "/v1"), ("GET", "/v1/verify/")]
    {
        let reply = gw.client().request(method, path, &[], "");
        gw.says_no(&reply, 404, "no_route", "There is nothing at this path.", &[]);
    }
}

#[test]
fn an_endpoint_of_ours_with_another_method_is_405() {
    let gw = TestGateway::start();
    for (method, path, allow) in [
        ("GET", "/v1/verify", "POST"),
        ("PUT", "/v1/verify", "POST"),
        ("OPTIONS", "/v1/verify", "POST"),
        ("POST", "/v1/session", "GET, HEAD"),
        ("DELETE", "/v1/session", "GET, HEAD"),
        ("GET", "/v1/logout", "POST"),
        ("BREW", "/v1/logout", "POST"),
    ] {
        let reply = gw.client().request(method, path, &[], "");
        let error = "This endpoint has another method.";
        gw.says_no(&reply, 405, "method_not_allowed", error, &[("allow", allow)]);
    }
}

#[test]
fn a_refused_head_request_has_the_same_head_and_no_body() {
    let gw = TestGateway::start();
    let mut client = gw.client();
    let reply = client.request("HEAD", "/v1/verify", &[], "");
    assert_eq!((reply.status, reply.header("allow"), reply.body.len()), (405, Some("POST"), 0), "{reply:?}");
    let reply = client.get("/orders");
    gw.says_no(&reply, 401, "token_missing", NEEDED, &[BEARER]);
}

/// Threat 35 (CVE-2026-71324) has a story of its own; this is what the client is told.
#[test]
fn trace_and_connect_are_405() {
    let gw = TestGateway::start();
    let allow = ("allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    for request in ["TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"] {
        let mut client = gw.client();
        let reply = client.raw(request);
        gw.says_no(&reply, 405, "method_not_allowed", "This method is not forwarded.", &[allow, CLOSE]);
        assert!(client.is_closed(), "{request}");
    }
    assert_eq!(gw.upstream.connections(), 0);
}

// --- limits

#[test]
fn a_head_that_is_too_large_is_431() {
    let gw = TestGateway::start();
    let error = "The request's headers are larger than allowed.";
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}\r\n\r\n", "a".repeat(32 * 1024));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: a\r\n".repeat(100));
    for request in [large, many] {
        let mut client = gw.client();
        let reply = client.raw(request);
        gw.says_no(&reply, 431, "headers_too_large", error, &[CLOSE]);
        assert!(client.is_closed());
    }
}

#[test]
fn a_target_that_is_too_long_is_414() {
    let gw = TestGateway::start();
    let mut client = gw.client();
    let reply = client.raw(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(8 * 1024)));
    gw.says_no(&reply, 414, "uri_too_long", "The request target is longer than allowed.", &[CLOSE]);
    assert!(client.is_closed());
}

#[test]
fn a_forwarded_body_over_max_body_is_413() {
    let gw = TestGateway::with(|config| config.server.max_body = 100);
    let mut user = gw.login("oAlice");
    assert_eq!(user.post("/orders", &"x".repeat(100)).status, 200);
    let reply = user.post("/orders", &"x".repeat(101));
    gw.says_no(&reply, 413, "body_too_large", TOO_LARGE, &[CLOSE]);
    assert!(user.client.is_closed());

    let bearer = format!("Bearer {}", user.token);
    let headers = [("Authorization", bearer.as_str()), ("Transfer-Encoding", "chunked")];
    let mut client = gw.client();
    client.send(client::head("POST", "/orders", &headers, 0));
    let reply = client.raw(format!("65\r\n{}\r\n0\r\n\r\n", "x".repeat(101)));
    gw.says_no(&reply, 413, "body_too_large", TOO_LARGE, &[CLOSE]);
    assert!(client.is_closed());
}

// --- in time

#[test]
fn a_head_that_does_not_come_whole_in_time_is_408() {
    let gw = TestGateway::with(|config| config.server.header_timeout = Duration::from_millis(100));
    for part in ["GET / HTTP/1.1\r\nHost: a\r\nX-A: ", "GET"] {
        let mut client = gw.client();
        let reply = client.raw(part);
        gw.says_no(&reply, 408, "request_timeout", NOT_IN_TIME, &[CLOSE]);
        assert!(client.is_closed(), "{part}");
    }
}

#[test]
fn a_body_that_does_not_come_whole_in_time_is_408() {
    let gw = TestGateway::with(|config| config.server.body_timeout = Duration::from_millis(100));
    let bearer = format!("Bearer {}", gw.login("oAlice").token);
    let chunked = ("Transfer-Encoding", "chunked");
    for path in ["/v1/verify", "/v1/logout", "/orders"] {
        for (framing, part) in [(("Content-Length", "20"), "{\"jsCode\":"), (chunked, "5\r\n{\"js"), (chunked, "")] {
            let mut client = gw.client();
            client.send(client::head("POST", path, &[("Authorization", &bearer), framing], 0));
            let reply = client.raw(part);
            gw.says_no(&reply, 408, "request_timeout", NOT_IN_TIME, &[CLOSE]);
            assert!(client.is_closed(), "{path} {part}");
        }
    }
}

// --- upstreams

#[test]
fn an_upstream_that_can_not_be_reached_is_502() {
    let (_socket, dead) = refusing();
    let gw = TestGateway::with(|config| config.upstreams[0].servers = vec![dead.into()]);
    let line = gw.says_no(&gw.login("oAlice").get("/orders"), 502, "upstream_unreachable", NO_SERVICE, &[]);
    assert!(line["cause"].as_str().unwrap().contains("no connection to http://127.0.0.1:"), "{line}");
}

#[test]
fn an_upstream_that_answers_what_is_no_answer_is_502() {
    let gw = TestGateway::start();
    for bytes in [
        "",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    ] {
        gw.upstream.does(move |_, out| {
            answer(out, bytes);
            Then::Close
        });
        let reply = gw.client().post("/public/", "x");
        gw.says_no(&reply, 502, "upstream_unreachable", NO_SERVICE, &[]);
    }
}

#[test]
fn an_upstream_that_does_not_answer_in_time_is_504() {
    let gw = TestGateway::with(|config| config.upstreams[0].response_timeout = Duration::from_millis(200));
    gw.upstream.does(|_, _| Then::KeepOpen);
    let error = "The service behind this gateway took too long.";
    let line = gw.says_no(&gw.client().get("/public/"), 504, "upstream_timeout", error, &[]);
    assert_eq!((&line["route"], &line["complete"]), (&json!("/public/"), &json!(true)), "{line}");
}

// --- what could be read in two ways

#[test]
fn a_target_or_host_that_two_parsers_could_read_differently_is_400() {
    let gw = TestGateway::start();
    for request in [
        "GET /public/../orders HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /public/%2e%2e/orders HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /public%2forders HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET orders HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /public/ HTTP/1.1\r\n\r\n",
        "GET /public/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET http://b/public/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut client = gw.client();
        let reply = client.raw(request);
        gw.says_no(&reply, 400, "bad_request", TWO_WAYS, &[CLOSE]);
        assert!(client.is_closed(), "{request}");
    }
    assert_eq!(gw.upstream.connections(), 0);
}

#[test]
fn framing_that_two_parsers_could_read_differently_is_400() {
    let gw = TestGateway::start();
    let framing = "Where the request's body ends could be read in more than one way.";
    let form = "The request is not well-formed.";
    for (request, error) in [
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", framing),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", framing),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", framing),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "A request target has no fragment."),
        ("GET / HTTP/1.1\nHost: a\n\n", form),
        ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", form),
    ] {
        let mut client = gw.client();
        let reply = client.raw(request);
        gw.says_no(&reply, 400, "bad_request", error, &[CLOSE]);
        assert!(client.is_closed(), "{request}");
    }
}

#[test]
fn a_body_that_is_no_body_is_the_clients_fault() {
    let gw = TestGateway::start();
    let bearer = format!("Bearer {}", gw.login("oAlice").token);
    for path in ["/v1/verify", "/v1/logout", "/orders"] {
        let mut client = gw.client();
        let headers = [("Authorization", bearer.as_str()), ("Transfer-Encoding", "chunked")];
        client.send(client::head("POST", path, &headers, 0));
        let reply = client.raw("5\r\nabcdeXX5\r\n");
        gw.says_no(&reply, 400, "bad_request", BROKE_OFF, &[CLOSE]);
        assert!(client.is_closed(), "{path}");
    }
}

#[test]
fn two_authorization_lines_are_400() {
    let gw = TestGateway::start();
    let bearer = format!("Bearer {}", gw.login("oAlice").token);
    let mut client = gw.client();
    let lines = [("Authorization", bearer.as_str()), ("Authorization", bearer.as_str())];
    let reply = client.request("GET", "/orders", &lines, "");
    gw.says_no(&reply, 400, "bad_request", "There must be at most one Authorization header.", &[CLOSE]);
    assert!(client.is_closed());
}

#[test]
fn an_underscore_is_400_where_it_is_to_be_refused() {
    let gw = TestGateway::with(|config| config.server.underscore_headers = UnderscoreHeaders::Reject);
    let mut client = gw.client();
    let reply = client.request("GET", "/public/", &[("X_A", "1")], "");
    gw.says_no(&reply, 400, "bad_request", "Header names with an underscore are not taken here.", &[CLOSE]);
    assert!(client.is_closed());
}

// --- the id

#[test]
fn every_answer_has_an_id_of_its_own() {
    let gw = TestGateway::start();
    let mut client: Client = gw.client();
    let ids: std::collections::BTreeSet<String> =
        (0..50).map(|_| client.get("/orders").header("x-request-id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 50);
}
