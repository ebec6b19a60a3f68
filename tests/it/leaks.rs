//! What the real binary says of a busy day at its most talkative level: enough to work with, and no secret.

use serde_json::json;
use wxgate::simulator::{Fault, Options, Order, Simulator};

use crate::support::{
    APP, Recorder, SECRET,
    binary::Binary,
    client, until,
    upstream::{Then, answer},
};

const ADMIN_TOKEN: &str = "the-operators-own-token";
const USER_KEY: &str = "the-key-of-the-user-hashes";
const ASSERTION_KEY: &str = include_str!("../keys/ed25519.pem");
const SESSION_KEY: &str = "c2Vzc2lvbi1rZXktb24tdHJpYWw=";
const OPENID: &str = "oOpenidOnTrial";
const UNIONID: &str = "uUnionidOnTrial";
const PHONE: &str = "13900998877";

fn serve(format: &str, wechat: &Simulator, upstream: &Recorder) -> Binary {
    let config = format!(
        r#"
        [server]
        listen = ["127.0.0.1:0"]
        header_timeout = "200ms"
        [admin]
        listen = "127.0.0.1:0"
        token = {{ env = "ON_TRIAL_ADMIN" }}
        [[apps]]
        app_id = "{APP}"
        secret = {{ env = "ON_TRIAL_SECRET" }}
        api_base = "{}"
        [wechat]
        timeout = "500ms"
        [identity.assertion]
        issuer = "https://gate.example.com"
        key = {{ env = "ON_TRIAL_ASSERTION" }}
        [log]
        level = "debug"
        format = "{format}"
        user_key = {{ env = "ON_TRIAL_KEY" }}
        [limits]
        verify_per_ip = "1000000/min"
        profile_per_user = "1000000/min"
        [[upstreams]]
        name = "app"
        servers = ["http://{}"]
        [[routes]]
        path = "/"
        upstream = "app"
        [[routes]]
        path = "/carried/"
        upstream = "app"
        token_header = "X-Session-Token"
        token_query = "token"
        token_subprotocol = true
        [[routes]]
        path = "/called/"
        upstream = "app"
        forward_phone = true
        "#,
        wechat.api_base(),
        upstream.addr()
    );
    let env = [
        ("ON_TRIAL_ADMIN", ADMIN_TOKEN),
        ("ON_TRIAL_SECRET", SECRET),
        ("ON_TRIAL_KEY", USER_KEY),
        ("ON_TRIAL_ASSERTION", ASSERTION_KEY),
    ];
    Binary::serve(&format!("leaks_{format}"), &config, &env)
}

/// Logins that fail in every way, each answer of WeChat's full of secrets. Gives the codes.
fn failing_logins(gw: &Binary, wechat: &Simulator) -> Vec<String> {
    let gossip = format!("invalid {SECRET} {SESSION_KEY} {OPENID} https://x/?secret={SECRET}");
    let errmsg = Some(gossip.clone());
    let faults = [
        Fault::Errcode { errcode: 40029, errmsg: errmsg.clone() },
        Fault::Errcode { errcode: 40125, errmsg: errmsg.clone() },
        Fault::Errcode { errcode: -1, errmsg: errmsg.clone() },
        Fault::Errcode { errcode: 99_999, errmsg },
        Fault::Body { body: gossip.clone() },
        Fault::Body { body: format!(r#"{{"openid":"{OPENID}","session_key":{{"x":"{SESSION_KEY}"}}}}"#) },
        Fault::Openid { openid: format!("{OPENID}\r\nX: {SECRET}") },
        Fault::Redirect { location: format!("http://127.0.0.1:1/?secret={SECRET}&js_code={SESSION_KEY}") },
        Fault::Status { status: 500 },
        Fault::Cut,
        Fault::CutUnread,
        Fault::HalfAnswer,
        Fault::Endless,
        Fault::Hang,
    ];
    let login = |(at, fault): (usize, Fault)| {
        let code = format!("login-code-on-trial-{at}");
        wechat.knows_with_union(&code, APP, OPENID, UNIONID);
        wechat.next_fault(Order::from(fault.clone()).times(2));
        let body = json!({ "jsCode": code, "secret": SECRET }).to_string();
        let reply = gw.client().post(&format!("/v1/verify?code={code}"), &body);
        assert!(reply.status >= 400, "{fault:?}: {reply:?}");
        wechat.clear_faults();
        code
    };
    faults.into_iter().enumerate().map(login).collect()
}

/// A login that works; its token.
fn login(gw: &Binary, wechat: &Simulator, code: &str) -> String {
    let body = json!({ "openid": OPENID, "unionid": UNIONID, "session_key": SESSION_KEY }).to_string();
    wechat.next_fault(Fault::Body { body });
    let reply = gw.client().post("/v1/verify", &json!({ "jsCode": code }).to_string());
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["token"].as_str().unwrap().to_owned()
}

/// A phone number, and phone codes that fail in every way.
fn phones(gw: &Binary, wechat: &Simulator, upstream: &Recorder, token: &str) {
    let bearer = format!("Bearer {token}");
    let auth = ("Authorization", bearer.as_str());
    let tap = |code: &str| {
        wechat.knows_phone(code, APP, "86", PHONE);
        let path = format!("/v1/phone?code={code}&phone={PHONE}");
        gw.client().request("POST", &path, &[auth], &json!({ "code": code, "phone": PHONE }).to_string()).status
    };
    let gossip = format!("invalid {SECRET} {PHONE} {OPENID} https://x/?access_token=98_{SECRET}");
    let faults = [
        Fault::Errcode { errcode: 40029, errmsg: Some(gossip.clone()) },
        Fault::Errcode { errcode: 99_999, errmsg: Some(gossip.clone()) },
        Fault::Body { body: gossip.clone() },
        Fault::Body { body: format!(r#"{{"access_token":["{SECRET}"],"phone_info":{{"phoneNumber":["{PHONE}"]}}}}"#) },
        Fault::Cut,
        Fault::HalfAnswer,
        Fault::Endless,
        // Last: where no token is given for it, that is remembered for a second.
        Fault::Errcode { errcode: 48001, errmsg: Some(gossip.clone()) },
    ];
    for path in ["/cgi-bin/stable_token", "/wxa/business/getuserphonenumber"] {
        for (at, fault) in faults.iter().enumerate() {
            wechat.next_fault(Order::from(fault.clone()).on(path));
            let status = tap(&format!("phone-code-on-trial-{}-{at}", path.len()));
            assert!(status >= 400, "{path} {fault:?}: {status}");
        }
        let mut taps = 0;
        until("a number", || {
            taps += 1;
            (tap(&format!("phone-code-on-trial-{}-again-{taps}", path.len())) == 200).then_some(())
        });
    }
    let called = format!("/called/?phone={PHONE}");
    assert_eq!(gw.client().request("GET", &called, &[auth, ("X-WX-PHONE", PHONE)], "").status, 200);
    assert_eq!(upstream.last().header("x-wx-phone"), Some(PHONE));
}

/// The token wherever a client may put it, rightly and wrongly.
fn requests(gw: &Binary, upstream: &Recorder, token: &str) {
    let bearer = format!("Bearer {token}");
    let ask = |path: &str, headers: &[(&str, &str)]| gw.client().request("GET", path, headers, "").status;
    let auth = ("Authorization", bearer.as_str());
    assert_eq!(ask(&format!("/orders/{token}?token={token}"), &[auth, ("Cookie", token), ("X-Token", token)]), 200);
    assert_eq!(ask("/v1/session", &[auth]), 200);
    assert_eq!(ask("/orders", &[auth, auth]), 400);
    assert_eq!(ask(&format!("/a/../{token}"), &[auth]), 400);
    assert_eq!(ask("/orders", &[("Authorization", &format!("{bearer}x"))]), 401);
    assert_eq!(ask(&format!("/v1/verify?token={token}"), &[auth]), 405);
    let carried = format!("/carried/?token={token}");
    assert_eq!(ask(&carried, &[("Referer", &carried)]), 200);
    assert_eq!(ask(&carried, &[("X-Session-Token", token)]), 400);
    assert_eq!(ask(&format!("{carried}x"), &[]), 401);
    assert_eq!(ask("/carried/", &[("Sec-WebSocket-Protocol", &format!("chat, {token}"))]), 200);
    for raw in [
        format!("GET /#{token} HTTP/1.1\r\nHost: {token}\r\n\r\n"),
        format!("GET / HTTP/1.1\nAuthorization: {bearer}\n\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\nX: {}\r\n\r\n", "x".repeat(40_000)),
        format!("{token}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}"),
    ] {
        gw.client().send(raw).rest();
    }
    let echo = format!("HTTP/1.1 200 OK\r\nx-token: {token}\r\ncontent-length: 100\r\n\r\n{token}");
    upstream.does(move |_, out| {
        answer(out, &echo);
        Then::Close
    });
    gw.client().send(client::head("GET", "/orders", &[auth], 0)).rest();
    upstream.does(|_, _| Then::Close);
    assert_eq!(ask("/orders", &[auth]), 502);
    let told = json!({ "nickName": "nicknameOnTrial", "rawData": token, "signature": SESSION_KEY }).to_string();
    for (body, status) in [(told.as_str(), 409), (r#"{"nickName":"nicknameOnTrial"}"#, 200)] {
        let reply = gw.client().request("PUT", "/v1/profile?nicknameOnTrial", &[auth], body);
        assert_eq!(reply.status, status, "{reply:?}");
    }
    let out = gw.client().request("POST", "/v1/logout", &[auth], &format!("{{\"token\":\"{token}\"}}"));
    assert_eq!(out.status, 204);
}

/// All that an operator is told, rightly and wrongly asked for; at the end the user is logged in no more.
fn operators_pages(gw: &Binary) -> String {
    let sessions = format!("/v1/users/{APP}/{OPENID}/sessions");
    let unknown = format!("/v1/users/{OPENID}/{ADMIN_TOKEN}/sessions");
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let mut pages = String::new();
    for path in ["/metrics", "/readyz", "/v1/sessions/count", &sessions, &unknown, &format!("{sessions}/{OPENID}")] {
        for method in ["GET", "DELETE", "POST"] {
            for token in [bearer.as_str(), &format!("{bearer}{OPENID}")] {
                let reply = gw.admin().request(method, path, &[("Authorization", token)], "");
                pages += &format!("{:?} {}\n", reply.headers, reply.text());
            }
        }
    }
    pages
}

/// Threats 15 (CVE-2024-39315) and 16 (CVE-2022-23469, CVE-2026-41181), told by the binary itself.
#[test]
fn nothing_that_is_secret_is_in_anything_the_binary_says() {
    for format in ["json", "text"] {
        let wechat = Simulator::start(Options::on_free_port().with_app(APP, SECRET)).unwrap();
        let upstream = Recorder::start();
        let gw = serve(format, &wechat, &upstream);
        let codes = failing_logins(&gw, &wechat);
        let ended = login(&gw, &wechat, "login-code-on-trial");
        let mut pages = operators_pages(&gw);
        let token = login(&gw, &wechat, "another-code-on-trial");
        phones(&gw, &wechat, &upstream, &token);
        requests(&gw, &upstream, &token);
        pages += &operators_pages(&gw);
        let seen = upstream.seen();
        let assertion = seen[0].header("x-wx-assertion").unwrap();
        let private = ASSERTION_KEY.lines().nth(1).unwrap();

        let (lines, messages) = gw.stop();
        assert!(lines.lines().count() >= codes.len() + 12, "{lines}");
        assert!(messages.contains("`secret` in [[apps]]") && messages.contains("stopped"), "{messages}");
        assert!(lines.contains("errcode 40029"), "the cause is there, without WeChat's words: {lines}");
        let secrets = [
            SECRET,
            ADMIN_TOKEN,
            USER_KEY,
            SESSION_KEY,
            OPENID,
            UNIONID,
            PHONE,
            "98_",
            "nicknameOnTrial",
            "on-trial",
            assertion,
            assertion.rsplit('.').next().unwrap(),
            private,
            &token[4..],
            &token[4..16],
            &ended[4..],
        ];
        for secret in secrets {
            for (place, text) in [("access log", &lines), ("messages", &messages), ("operators' pages", &pages)] {
                assert!(!text.contains(secret), "{secret} is in the {place}: {text}");
            }
        }
        for word in ["js_code", "secret=", "?", "Bearer "] {
            assert!(!lines.contains(word), "{word} in {lines}");
        }
    }
}
