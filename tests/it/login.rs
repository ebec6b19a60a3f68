//! Logins: what WeChat may answer, and what becomes of one that arrives twice.

use std::{
    io::{Read, Write},
    net::TcpListener,
    time::Duration,
};

use serde_json::json;
use wxgate::{
    config::Config,
    model::AppId,
    simulator::{Fault, Options, Order, Simulator},
};

use crate::support::{APP, Client, OTHER_APP, Reply, SECRET, TestGateway, client, refusing, until};

const BUSY: Fault = Fault::Errcode { errcode: -1, errmsg: None };
const WINDOW: Duration = Duration::from_secs(10);

fn asked(code: &str) -> String {
    json!({ "jsCode": code, "appId": APP }).to_string()
}

/// A login on its way: sent, not answered.
fn send(gw: &TestGateway, body: &str) -> Client {
    let mut client = gw.client();
    client.send(client::head("POST", "/v1/verify", &[], body.len())).send(body);
    client
}

fn token(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["token"].as_str().unwrap().to_owned()
}

/// Whose token it is, as the backend learns it.
fn openid(gw: &TestGateway, token: &str) -> String {
    let bearer = format!("Bearer {token}");
    let reply = gw.client().request("GET", "/orders", &[("Authorization", &bearer)], "");
    assert_eq!(reply.status, 200, "{reply:?}");
    gw.upstream.last().header("x-wx-openid").unwrap().to_owned()
}

fn replayed(gw: &TestGateway, times: u64) {
    until("a login that finds another under way", || {
        (gw.app().counters().logins_replayed.get() == times).then_some(())
    });
}

fn no_window(config: &mut Config) {
    config.wechat.replay_window = Duration::ZERO;
}

// --- arriving twice

#[test]
fn the_same_code_twice_at_once_is_one_exchange_and_one_token_for_both() {
    for change in [(|_| {}) as fn(&mut Config), no_window] {
        let gw = TestGateway::with(change);
        let code = gw.code("oAlice");
        gw.wechat.next_fault(Fault::Hang);
        let mut first = send(&gw, &asked(&code));
        gw.until_hanging(1);
        let mut second = send(&gw, &asked(&code));
        replayed(&gw, 1);
        gw.wechat.release();

        let tokens = [token(&first.reply()), token(&second.reply())];
        assert_eq!(tokens[0], tokens[1]);
        assert_eq!(openid(&gw, &tokens[0]), "oAlice");
        assert_eq!((gw.wechat.calls(&code), gw.app().counters().sessions_issued.get()), (1, 1));
    }
}

#[test]
fn fifty_arrivals_at_once_are_one_exchange() {
    let gw = TestGateway::start();
    let code = gw.code("oAlice");
    gw.wechat.next_fault(Fault::Hang);
    let mut clients: Vec<Client> = (0..50).map(|_| send(&gw, &asked(&code))).collect();
    replayed(&gw, 49);
    gw.until_hanging(1);
    gw.wechat.release();
    let tokens: std::collections::BTreeSet<String> = clients.iter_mut().map(|client| token(&client.reply())).collect();
    assert_eq!((tokens.len(), gw.wechat.calls(&code)), (1, 1));
}

#[test]
fn two_at_once_share_a_failure_too() {
    let gw = TestGateway::with(|config| config.wechat.timeout = Duration::from_millis(300));
    let code = gw.code("oAlice");
    gw.wechat.next_fault(Fault::Hang);
    let mut first = send(&gw, &asked(&code));
    gw.until_hanging(1);
    let mut second = send(&gw, &asked(&code));
    for reply in [first.reply(), second.reply()] {
        assert_eq!((reply.status, reply.code().as_str()), (504, "wechat_timeout"));
    }
    assert_eq!(gw.wechat.calls(&code), 1);
}

#[test]
fn within_the_window_the_same_code_gets_the_same_token_and_after_it_wechat_is_asked() {
    let gw = TestGateway::start();
    let code = gw.code("oAlice");
    let first = token(&gw.verify_code(&code));
    gw.later(WINDOW.checked_sub(Duration::from_millis(1)).unwrap());
    assert_eq!(token(&gw.verify_code(&code)), first);
    assert_eq!(gw.wechat.calls(&code), 1);

    gw.later(Duration::from_millis(1));
    let reply = gw.verify_code(&code);
    assert_eq!((reply.status, reply.code().as_str()), (401, "code_used"));
    assert_eq!(gw.wechat.calls(&code), 2);
    assert_eq!(openid(&gw, &first), "oAlice", "the session is not hurt by that");
}

#[test]
fn within_the_window_a_failure_stays_what_it_was() {
    let gw = TestGateway::start();
    for (fault, times, status, code) in [
        (Fault::Errcode { errcode: 40029, errmsg: None }, 1, 401, "code_invalid"),
        (Fault::Errcode { errcode: 40226, errmsg: None }, 1, 403, "user_blocked"),
        (Fault::Errcode { errcode: 45011, errmsg: None }, 1, 429, "rate_limited"),
        (BUSY, 2, 503, "wechat_busy"),
        (Fault::NotJson, 1, 502, "wechat_unreachable"),
    ] {
        let asks = gw.wechat.total_calls() + u64::from(times);
        gw.wechat.next_fault(Order::from(fault).times(times).burns_code(false));
        let js_code = gw.code("oAlice");
        for _ in 0..3 {
            let reply = gw.verify_code(&js_code);
            assert_eq!((reply.status, reply.code().as_str()), (status, code));
        }
        assert_eq!(gw.wechat.total_calls(), asks, "{code}");
        gw.later(WINDOW);
        assert_eq!(gw.verify_code(&js_code).status, 200, "{code}");
    }
}

#[test]
fn a_window_of_zero_asks_wechat_each_time() {
    let gw = TestGateway::with(no_window);
    let code = gw.code("oAlice");
    token(&gw.verify_code(&code));
    let reply = gw.verify_code(&code);
    assert_eq!((reply.status, reply.code().as_str()), (401, "code_used"));
    assert_eq!(gw.wechat.calls(&code), 2);
}

#[test]
fn a_client_that_hangs_up_and_comes_back_gets_its_token() {
    let gw = TestGateway::start();
    let code = gw.code("oAlice");
    gw.wechat.next_fault(Fault::Hang);
    drop(send(&gw, &asked(&code)));
    gw.until_hanging(1);
    gw.log.line(r#""status":499"#);
    gw.wechat.release();
    let token = token(&gw.verify_code(&code));
    assert_eq!(openid(&gw, &token), "oAlice");
    assert_eq!((gw.wechat.calls(&code), gw.app().counters().sessions_issued.get()), (1, 1));
}

/// Threat 2.5 (CVE-2026-71326): a key that is two texts run together is also the key of two others.
#[test]
fn code_ab_of_app_c_and_code_a_of_app_bc_are_strangers() {
    let (left, right) = ("wx1c", "wx1");
    let gw = TestGateway::with(|config| {
        for (at, app) in [left, right].into_iter().enumerate() {
            config.apps[at].app_id = AppId::parse(app).unwrap();
        }
    });
    // The stand-in knows neither app; it holds each call and then refuses it. What matters is that there are two.
    let body = |app: &str, code: &str| json!({ "appId": app, "jsCode": code }).to_string();
    for (one, two) in [(body(left, "ab"), body(right, "cab")), (body(left, "ab"), body(right, "ab"))] {
        let calls = gw.wechat.total_calls();
        gw.wechat.next_fault(Order::from(Fault::Hang).times(2));
        let mut clients = [send(&gw, &one), send(&gw, &two)];
        gw.until_hanging(2);
        gw.wechat.release();
        assert_eq!(clients.each_mut().map(|client| client.reply().code()), ["app_misconfigured"; 2]);
        assert_eq!((gw.wechat.total_calls() - calls, gw.app().counters().logins_replayed.get()), (2, 0));
        gw.later(WINDOW);
    }
}

#[test]
fn the_same_code_in_two_apps_is_two_logins() {
    let gw = TestGateway::start();
    let code = gw.code("oAlice");
    let mine = token(&gw.verify_code(&code));
    let reply = gw.verify(&json!({ "jsCode": code, "appId": OTHER_APP }));
    assert_eq!((reply.status, reply.code().as_str()), (401, "code_invalid"), "the token of one app is not for another");
    assert_eq!(gw.wechat.calls(&code), 2);
    assert_eq!(openid(&gw, &mine), "oAlice");
}

// --- what WeChat may answer

#[test]
fn a_success_may_look_in_many_ways() {
    let gw = TestGateway::start();
    let body = |body: &str| Fault::Body { body: body.to_owned() };
    for fault in [
        Fault::ErrcodeZero,
        Fault::UnknownFields,
        body(r#"{"openid":"oAlice","session_key":"k","errcode":"0","errmsg":""}"#),
        body(r#"{"openid":"oAlice","session_key":"k","unionid":""}"#),
        body(r#"{"openid":"oAlice","session_key":"k","unionid":null,"errcode":null}"#),
        body(" \r\n{ \"session_key\" : \"k\" , \"openid\" : \"oAlice\" }\n"),
        Fault::Oversize { bytes: 64 * 1024 },
    ] {
        let said = format!("{fault:?}");
        gw.wechat.next_fault(fault);
        let token = token(&gw.verify_code(&gw.code("oAlice")));
        assert_eq!(openid(&gw, &token), "oAlice", "{said}");
        assert_eq!(gw.upstream.last().header("x-wx-unionid"), None, "{said}");
    }
}

#[test]
fn a_refusal_may_look_in_many_ways() {
    let gw = TestGateway::start();
    let body = |body: &str| Fault::Body { body: body.to_owned() };
    for fault in [
        Fault::ErrcodeText { errcode: 40029 },
        Fault::EmptyStrings { errcode: 40029 },
        body(r#"{"errcode":40029}"#),
        body(r#"{"errcode":40029,"errmsg":null,"openid":null}"#),
        body(r#"{"errcode":40029,"openid":"oMallory","session_key":"k"}"#),
    ] {
        let said = format!("{fault:?}");
        gw.wechat.next_fault(fault);
        let reply = gw.verify_code(&gw.code("oAlice"));
        assert_eq!((reply.status, reply.code().as_str()), (401, "code_invalid"), "{said}");
    }
}

#[test]
fn a_code_with_every_character_arrives_as_it_is() {
    let gw = TestGateway::start();
    for code in ["a b&secret=x#y", "a+b%20c", "码/../?", "\u{0}\r\nHost: x", "\u{1f600}"] {
        gw.wechat.knows(code, APP, "oAlice");
        assert_eq!(openid(&gw, &token(&gw.verify_code(code))), "oAlice", "{code:?}");
    }
}

#[test]
fn a_unionid_that_comes_with_a_later_login_is_told_from_then_on() {
    let gw = TestGateway::start();
    let mut before = gw.login("oAlice");
    gw.wechat.knows_with_union("later", APP, "oAlice", "uAlice");
    let after = token(&gw.verify_code("later"));
    openid(&gw, &after);
    assert_eq!(gw.upstream.last().header("x-wx-unionid"), Some("uAlice"));
    before.get("/orders");
    assert_eq!(gw.upstream.last().header("x-wx-unionid"), None, "an older session is what it was");
}

#[test]
fn the_app_may_be_left_out_where_there_is_one() {
    let gw = TestGateway::with(|config| config.apps.truncate(1));
    let reply = gw.verify(&json!({ "jsCode": gw.code("oAlice") }));
    assert_eq!(openid(&gw, &token(&reply)), "oAlice");
    let reply = gw.verify(&json!({ "jsCode": gw.code("oAlice"), "appId": null }));
    assert_eq!(reply.status, 200, "null is left out too: {reply:?}");
}

#[test]
fn each_app_asks_with_its_own_secret_at_its_own_server() {
    let private = Simulator::start(Options::on_free_port().with_app(OTHER_APP, "private")).unwrap();
    let gw = TestGateway::with(|config| {
        config.apps[1].api_base = private.api_base().parse().unwrap();
        config.apps[1].secret = wxgate::model::AppSecret::new("private");
    });
    private.knows("c", OTHER_APP, "oPrivate");
    gw.wechat.knows("c", APP, "oPublic");
    let other = gw.verify(&json!({ "jsCode": "c", "appId": OTHER_APP }));
    assert_eq!(openid(&gw, &token(&other)), "oPrivate");
    assert_eq!(openid(&gw, &token(&gw.verify_code("c"))), "oPublic");
    assert_eq!((private.total_calls(), gw.wechat.total_calls()), (1, 1));
}

// --- asking again

#[test]
fn a_busy_wechat_is_asked_once_more_and_no_oftener() {
    let gw = TestGateway::start();
    gw.wechat.next_fault(BUSY);
    let code = gw.code("oAlice");
    assert_eq!(openid(&gw, &token(&gw.verify_code(&code))), "oAlice");
    assert_eq!(gw.wechat.calls(&code), 2);

    gw.wechat.next_fault(Order::from(BUSY).times(3));
    let code = gw.code("oBob");
    let reply = gw.verify_code(&code);
    assert_eq!((reply.status, reply.code().as_str()), (503, "wechat_busy"));
    assert_eq!(gw.wechat.calls(&code), 2);
}

#[test]
fn a_code_that_busy_has_burnt_sends_the_client_for_a_new_one() {
    let gw = TestGateway::start();
    gw.wechat.next_fault(Order::from(BUSY).burns_code(true));
    let reply = gw.verify_code(&gw.code("oAlice"));
    assert_eq!((reply.status, reply.code().as_str()), (401, "code_invalid"), "not code_used: nobody has used it");
}

#[test]
fn a_code_that_may_be_spent_is_not_sent_again() {
    let gw = TestGateway::start();
    for fault in [Fault::Cut, Fault::HalfAnswer, Fault::NotJson, Fault::Status { status: 502 }] {
        let said = format!("{fault:?}");
        gw.wechat.next_fault(fault);
        let code = gw.code("oAlice");
        assert_eq!(gw.verify_code(&code).code(), "wechat_unreachable", "{said}");
        assert_eq!(gw.wechat.calls(&code), 1, "{said}");
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Simulator::start(Options::on_free_port().with_app(APP, SECRET)).unwrap();
    let gw = TestGateway::start();
    let code = gw.code("oAlice");
    elsewhere.knows(&code, APP, "oMallory");
    let location = format!("{}/sns/jscode2session?appid={APP}&secret={SECRET}&js_code={code}", elsewhere.api_base());
    gw.wechat.next_fault(Fault::Redirect { location });
    assert_eq!(gw.verify_code(&code).code(), "wechat_unreachable");
    assert_eq!(elsewhere.total_calls(), 0);
}

#[test]
fn after_a_refused_connection_the_next_login_works() {
    let (socket, dead) = refusing();
    let gw = TestGateway::with(|config| {
        config.apps[0].api_base = format!("http://{}:{}", dead.host, dead.port).parse().unwrap();
    });
    assert_eq!(gw.verify_code("c1").code(), "wechat_unreachable");

    // WeChat is back, at the same address.
    socket.listen(16).unwrap();
    let back = std::thread::spawn(move || {
        let (mut stream, _) = TcpListener::from(socket).accept().unwrap();
        let mut head = [0; 4096];
        let n = stream.read(&mut head).unwrap();
        let body = r#"{"openid":"oAlice","session_key":"k"}"#;
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).unwrap();
        String::from_utf8_lossy(&head[..n]).into_owned()
    });
    assert_eq!(openid(&gw, &token(&gw.verify_code("c2"))), "oAlice");
    let head = back.join().unwrap();
    let line = format!(
        "GET /sns/jscode2session?appid={APP}&secret={SECRET}&js_code=c2&grant_type=authorization_code HTTP/1.1\r\n"
    );
    assert!(head.starts_with(&line), "{head}");
}

/// Threat 42 (CVE-2026-26998): an answer that never ends is cut off at 64 KiB, and its connection with it.
#[test]
fn an_endless_answer_ends_here() {
    let gw = TestGateway::start();
    for fault in [Fault::Endless, Fault::Oversize { bytes: 1 << 40 }] {
        gw.wechat.next_fault(fault);
        let reply = gw.verify_code(&gw.code("oAlice"));
        assert_eq!((reply.status, reply.code().as_str()), (502, "wechat_unreachable"));
    }
    assert_eq!(openid(&gw, &token(&gw.verify_code(&gw.code("oAlice")))), "oAlice");
}

#[test]
fn a_code_lives_five_minutes() {
    let gw = TestGateway::start();
    let (early, late) = (gw.code("oAlice"), gw.code("oAlice"));
    gw.later(Duration::from_secs(299));
    assert_eq!(gw.verify_code(&early).status, 200);
    gw.later(Duration::from_secs(1));
    assert_eq!(gw.verify_code(&late).code(), "code_invalid");
}
