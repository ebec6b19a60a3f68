//! What belongs to one caller, app, gateway or listener opens nothing at another, and what must stay secret stays.

use std::time::Duration;

use serde_json::json;
use wxgate::{
    config::sections::{App as AppSection, AuthRule, Route},
    model::{AppId, AppSecret, Secret},
    simulator::{Fault, Options, Order, Simulator},
};

use crate::support::{APP, OTHER_APP, OTHER_SECRET, Reply, SECRET, TestGateway, messages};

fn with_token(gw: &TestGateway, method: &str, path: &str, token: &str) -> Reply {
    gw.client().request(method, path, &[("Authorization", &format!("Bearer {token}"))], "")
}

/// CVE-2026-33496, CVE-2021-32701: one route's yes, remembered, was another route's yes.
#[test]
fn a_token_of_one_app_opens_no_route_of_another_not_even_straight_after_its_own() {
    let gw = TestGateway::with(|config| {
        let app = |id| Some(vec![AppId::parse(id).unwrap()]);
        config.routes.push(Route { apps: app(APP), ..Route::new("/shop/", "app") });
        config.routes.push(Route { apps: app(OTHER_APP), ..Route::new("/bank/", "app") });
        config.routes.push(Route { apps: app(OTHER_APP), auth: AuthRule::Optional, ..Route::new("/ads/", "app") });
    });
    let (alice, bob) = (gw.login("oSame").token, gw.login_to(OTHER_APP, "oSame").token);
    for _ in 0..3 {
        for (token, path, verdict) in [
            (&alice, "/shop/1", "200"),
            (&alice, "/bank/1", "403 app_not_allowed"),
            (&bob, "/bank/1", "200"),
            (&bob, "/shop/1", "403 app_not_allowed"),
        ] {
            assert_eq!(with_token(&gw, "GET", path, token).verdict(), verdict, "{path}");
        }
        assert_eq!(
            gw.upstream.seen().iter().rev().take(2).map(|seen| seen.target.as_str()).collect::<Vec<_>>(),
            ["/bank/1", "/shop/1"]
        );
        for (token, app) in [(&alice, None), (&bob, Some(OTHER_APP))] {
            assert_eq!(with_token(&gw, "GET", "/ads/1", token).status, 200);
            assert_eq!(gw.upstream.last().header("x-wx-appid"), app, "another app's user is anonymous");
        }
    }
    assert_eq!(with_token(&gw, "POST", "/v1/logout", &alice).status, 204);
    assert_eq!(with_token(&gw, "GET", "/shop/1", &alice).verdict(), "401 token_invalid");
    assert_eq!(
        with_token(&gw, "GET", "/bank/1", &bob).verdict(),
        "200",
        "the same openid in another app is somebody else"
    );
}

/// CVE-2026-71326: two secrets joined into one key are not two secrets.
#[test]
fn the_code_ab_of_app_c_is_not_the_code_a_of_app_bc() {
    let wechat = Simulator::start(Options::on_free_port().with_app("c", "s").with_app("bc", "s")).unwrap();
    let gw = TestGateway::with(|config| {
        config.apps = ["c", "bc"]
            .map(|id| {
                let id = AppId::parse(id).unwrap();
                AppSection::new(id, AppSecret::new("s"), wechat.api_base().parse().unwrap())
            })
            .into();
    });
    wechat.knows("ab", "c", "oOfC");
    wechat.knows("a", "bc", "oOfBc");
    wechat.next_fault(Order::from(Fault::Hang).times(2));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tokens = std::thread::scope(|scope| {
        let logins = [("ab", "c"), ("a", "bc")].map(|(code, app)| {
            let gw = &gw;
            scope.spawn(move || gw.verify(&json!({ "jsCode": code, "appId": app })))
        });
        runtime.block_on(wechat.until_hanging(2));
        wechat.release();
        logins.map(|login| login.join().unwrap().json()["token"].as_str().unwrap().to_owned())
    });
    for (token, (app, openid)) in tokens.iter().zip([("c", "oOfC"), ("bc", "oOfBc")]) {
        assert_eq!(with_token(&gw, "GET", "/orders", token).status, 200);
        let seen = gw.upstream.last();
        assert_eq!((seen.header("x-wx-appid"), seen.header("x-wx-openid")), (Some(app), Some(openid)));
    }
    assert_eq!((wechat.calls("ab"), wechat.calls("a")), (1, 1));
    assert_eq!(
        gw.verify(&json!({ "jsCode": "ab", "appId": "bc" })).verdict(),
        "401 code_invalid",
        "nor is it replayed across"
    );
}

/// CVE-2026-34454 and session fixation: a token is made here, or it is none.
#[test]
fn a_token_that_a_client_brings_is_never_adopted() {
    let (elsewhere, gw) = (TestGateway::start(), TestGateway::start());
    let brought = elsewhere.login("oMallory").token;
    assert_eq!(with_token(&gw, "GET", "/orders", &brought).verdict(), "401 token_invalid");
    let code = gw.wechat.make_code(APP, "oAlice").unwrap();
    let body =
        json!({ "jsCode": code, "appId": APP, "token": brought, "expiresIn": 1, "openid": "oMallory" }).to_string();
    let (bearer, cookie) = (format!("Bearer {brought}"), format!("token={brought}"));
    let reply = gw.client().request("POST", "/v1/verify", &[("Authorization", &bearer), ("Cookie", &cookie)], &body);
    let token = reply.json()["token"].as_str().unwrap().to_owned();
    assert_ne!(token, brought);
    assert_eq!(reply.header("set-cookie"), None);
    assert_eq!(with_token(&gw, "GET", "/orders", &brought).verdict(), "401 token_invalid");
    assert_eq!(with_token(&gw, "GET", "/orders", &token).status, 200);
    assert_eq!(gw.upstream.last().header("x-wx-openid"), Some("oAlice"));
}

/// CVE-2024-47616: one kind of token was taken for another.
#[test]
fn the_admin_token_and_session_tokens_open_each_other_s_doors_to_nobody() {
    let gw = TestGateway::with(|config| config.admin.token = Some(Secret::new("the-admin-token")));
    let session = gw.login("oAlice").token;
    let admin = |path: &str, token: &str| {
        gw.admin().request("GET", path, &[("Authorization", &format!("Bearer {token}"))], "").status
    };
    assert_eq!(admin("/sessions", "the-admin-token"), 404, "the token is taken, the page is not built");
    let wrong = ["the-admin-toke", "the-admin-token2", "THE-ADMIN-TOKEN", "", " ", "the-admin-token, x"];
    for token in wrong.iter().copied().chain([session.as_str()]) {
        assert_eq!(admin("/sessions", token), 401, "{token:?}");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!((admin(path, &session), gw.admin().get(path).status), (200, 200), "{path} asks for no token");
    }
    assert_eq!(with_token(&gw, "GET", "/orders", "the-admin-token").verdict(), "401 token_invalid");
    assert_eq!(with_token(&gw, "GET", "/v1/session", "the-admin-token").verdict(), "401 token_invalid");
    assert_eq!(gw.upstream.connections(), 0);
}

#[test]
fn without_an_admin_token_in_the_configuration_nobody_has_it() {
    let gw = TestGateway::start();
    let session = gw.login("oAlice").token;
    for line in ["Bearer ", "Bearer", "", "Bearer null", &format!("Bearer {session}")] {
        assert_eq!(gw.admin().request("GET", "/sessions", &[("Authorization", line)], "").status, 401, "{line:?}");
    }
    assert_eq!(gw.admin().get("/sessions").status, 401);
}

/// Threat 42, axum's RUSTSEC-2022-0055: a login is small.
#[test]
fn a_login_of_more_than_4_kib_is_refused_unread_and_wechat_is_not_asked() {
    let gw = TestGateway::start();
    let code = gw.wechat.make_code(APP, "oAlice").unwrap();
    let login = |padding: usize| json!({ "jsCode": code, "appId": APP, "padding": "a".repeat(padding) }).to_string();
    let largest = 4096 - login(0).len();
    let head = "POST /v1/verify HTTP/1.1\r\nHost: api.example.com\r\n";
    let too_large = login(largest + 1);
    for request in [
        format!("{head}Content-Length: {}\r\n\r\n{too_large}", too_large.len()),
        format!("{head}Content-Length: 1000000000000\r\n\r\n"),
        format!("{head}Content-Length: 4097\r\nExpect: 100-continue\r\n\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{too_large}\r\n0\r\n\r\n", too_large.len()),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", "1\r\n \r\n".repeat(4097)),
    ] {
        let reply = gw.raw(&request);
        assert_eq!(reply.verdict(), "413 body_too_large", "{}", &request[..80]);
        assert_eq!(reply.header("connection"), Some("close"), "{}", &request[..80]);
        assert_eq!(reply.json()["requestId"].as_str(), reply.header("x-request-id"));
    }
    assert_eq!(gw.wechat.total_calls(), 0);
    assert_eq!(gw.client().post("/v1/verify", &login(largest)).status, 200);
}

/// Threat 42, CVE-2026-26998: the other side's answer is bounded as well.
#[test]
fn an_answer_of_wechat_s_that_is_too_large_or_never_ends_is_cut_off() {
    let gw = TestGateway::start();
    for fault in [Fault::Oversize { bytes: 1 << 30 }, Fault::Oversize { bytes: 70_000 }, Fault::Endless] {
        let code = gw.wechat.make_code(APP, "oAlice").unwrap();
        gw.wechat.next_fault(fault.clone());
        let reply = gw.verify(&json!({ "jsCode": code, "appId": APP }));
        assert_eq!(reply.verdict(), "502 wechat_unreachable", "{fault:?}");
    }
    gw.login("oAlice");
}

/// CVE-2024-23324: what can't be asked says neither yes nor no.
#[test]
fn without_wechat_nobody_gets_in_and_nobody_is_thrown_out() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    gw.wechat.next_fault(Order::from(Fault::CutUnread).times(10));
    let code = gw.wechat.make_code(APP, "oBob").unwrap();
    let reply = gw.verify(&json!({ "jsCode": code, "appId": APP }));
    assert_eq!(reply.verdict(), "502 wechat_unreachable");
    assert!(!reply.text().contains("wxg_"), "{reply:?}");
    assert_eq!(alice.get("/orders").status, 200, "who is in stays in");
    gw.wechat.clear_faults();
    gw.later(Duration::from_secs(11));
    assert_eq!(gw.verify(&json!({ "jsCode": code, "appId": APP })).status, 200, "the code was not spent");
}

/// Threats 15 and 16: CVE-2024-39315, CVE-2022-23469. Whatever goes wrong, at the most talkative level.
#[test]
fn no_secret_is_ever_told() {
    let said = messages();
    let gw = TestGateway::with(|config| config.admin.token = Some(Secret::new("the-admin-token")));
    let (openid, session_key) = ("oSecretAlice", "c2VjcmV0LXNlc3Npb24ta2V5IQ==");
    let answer = json!({ "openid": openid, "unionid": "uSecretAlice", "session_key": session_key }).to_string();
    gw.wechat.next_fault(Fault::Body { body: answer });
    let mut told = vec![];
    let login = gw.verify(&json!({ "jsCode": "secret-code", "appId": APP }));
    let token = login.json()["token"].as_str().unwrap().to_owned();
    assert!(!login.text().contains("Secret"), "{login:?}");
    for fault in [
        Fault::Errcode { errcode: 40125, errmsg: Some(format!("invalid appsecret {SECRET}")) },
        Fault::Errcode { errcode: 40029, errmsg: Some(format!("bad {session_key}")) },
        Fault::Body { body: format!("{{\"session_key\": \"{session_key}\", \"openid\": 5, \"x\": \"{SECRET}\"}}") },
        Fault::Body { body: format!("not json: {session_key} {SECRET}") },
        Fault::Redirect { location: format!("http://127.0.0.1:1/?secret={SECRET}") },
        Fault::Status { status: 500 },
        Fault::HalfAnswer,
        Fault::Cut,
    ] {
        gw.wechat.next_fault(Order::from(fault).times(2));
        told.push(gw.verify(&json!({ "jsCode": "secret-code-2", "appId": APP, "secret": SECRET })));
    }
    gw.wechat.clear_faults();
    for path in ["/orders?token=", "/v1/session?token=", "/public/x?token=", "/%2e%2e/?token=", "/v1/nothing?token="] {
        told.push(with_token(&gw, "GET", &format!("{path}{token}"), &token));
        told.push(with_token(&gw, "GET", &format!("{path}{token}"), &format!("{token}x")));
    }
    told.push(gw.client().post("/v1/verify", &format!("{{\"jsCode\": \"secret-code\", {token}")));
    told.push(gw.raw(format!("GET /public/x#{token} HTTP/1.1\r\nHost: {token}\r\n\r\n")));
    told.push(gw.raw(format!("GET /orders HTTP/1.1\r\nHost: api.example.com\r\n{token}: {token}\r\n\r\n")));
    let last = with_token(&gw, "POST", "/v1/logout", &token);
    gw.log.line(last.header("x-request-id").unwrap());
    told.push(last);
    told.extend(["/metrics", "/readyz", "/nothing"].map(|path| gw.admin().get(path)));
    let told = told.iter().map(|reply| format!("{:?} {}", reply.headers, reply.text())).collect::<String>();
    let written = gw.log.text();
    assert!(written.lines().count() > 10, "the log was written: {written}");
    assert!(
        said.text().contains("a call of the platform failed because of the set-up"),
        "the messages were written: {}",
        said.text()
    );
    for secret in
        [&token[4..], &token[..12], session_key, SECRET, OTHER_SECRET, "the-admin-token", "secret-code", "SecretAlice"]
    {
        for (place, text) in [("answers", &told), ("access log", &written), ("messages", &said.text())] {
            assert!(!text.contains(secret), "{secret} is in the {place}: {text}");
        }
    }
}

#[test]
fn guesses_at_a_token_open_nothing() {
    let gw = TestGateway::start();
    let token = gw.login("oAlice").token;
    let mut client = gw.client();
    let bytes = token.as_bytes();
    for at in 0..bytes.len() {
        for other in [b'A', b'z', b'0', b'_'].into_iter().filter(|other| *other != bytes[at]) {
            let mut guess = bytes.to_vec();
            guess[at] = other;
            let bearer = format!("Bearer {}", String::from_utf8(guess).unwrap());
            let reply = client.request("GET", "/orders", &[("Authorization", &bearer)], "");
            assert_eq!(reply.verdict(), "401 token_invalid", "{bearer}");
        }
    }
    for cut in 0..bytes.len() {
        let bearer = format!("Bearer {}", &token[..cut]);
        assert_eq!(client.request("GET", "/orders", &[("Authorization", &bearer)], "").status, 401, "{bearer}");
    }
    assert_eq!(gw.upstream.connections(), 0);
    gw.later(Duration::from_hours(24));
    assert_eq!(with_token(&gw, "GET", "/orders", &token).verdict(), "401 token_invalid");
}
