//! Users of Douyin beside those of WeChat.

use std::time::Duration;

use serde_json::{Value, json};
use wxgate::{
    config::{
        Config,
        sections::{App, PlatformKind},
    },
    model::{AppId, AppSecret},
    simulator::{Fault, Order},
};

use super::{calls, encrypted, known_as, outcome, signed, some, try_login};
use crate::support::{APP, TestGateway, User};

const TT: &str = "tt5daf2b0123457910";
const TT_SECRET: &str = "188506c0123456789055a31de40625ec";

fn with_douyin(config: &mut Config) {
    let (id, base) = (AppId::parse(TT).unwrap(), config.apps[0].api_base.clone());
    config.apps.push(App { platform: PlatformKind::Douyin, ..App::new(id, AppSecret::new(TT_SECRET), base) });
}

fn gateway() -> TestGateway {
    gateway_with(|_| {})
}

fn gateway_with(change: impl FnOnce(&mut Config)) -> TestGateway {
    let gw = TestGateway::with(|config| {
        with_douyin(config);
        change(config);
    });
    gw.wechat.has_secret(TT, TT_SECRET);
    gw
}

#[test]
fn a_user_of_douyin_logs_in_beside_one_of_wechat_and_the_backend_can_tell() {
    let gw = gateway();
    let (mut lin, mut alice) = (gw.login_to(TT, "oLin"), gw.login("oAlice"));
    assert_eq!(known_as(&gw, &mut lin), some(["oLin", TT, "", "tt_client"]));
    assert_eq!(known_as(&gw, &mut alice), some(["oAlice", APP, "", "wx_client"]));
    gw.wechat.knows_with_union("with union", TT, "oLin", "uLin");
    let reply = gw.verify(&json!({ "jsCode": "with union", "appId": TT }));
    let token = reply.json()["token"].as_str().unwrap().to_owned();
    let mut again = User { client: gw.client(), token, openid: "oLin".into() };
    assert_eq!(known_as(&gw, &mut again), some(["oLin", TT, "uLin", "tt_client"]));
    assert_eq!(gw.app().counters().douyin.ok.get(), 2);
    assert_eq!(gw.app().counters().wechat.login.ok.get(), 1);
    let page = gw.admin().get("/metrics").text();
    assert!(page.contains("wxgate_douyin_calls_total{outcome=\"ok\"} 2"), "{page}");
}

#[test]
fn each_number_of_douyins_is_what_it_would_be_of_wechats() {
    let gw = gateway();
    for (number, status, code) in [
        (40018, 401, "code_invalid"),
        (40019, 401, "code_invalid"),
        (40014, 401, "code_invalid"),
        (28_001_007, 401, "code_invalid"),
        (28_001_046, 403, "user_blocked"),
        (28_003_018, 429, "rate_limited"),
        (40015, 502, "app_misconfigured"),
        (40017, 502, "app_misconfigured"),
        (28_001_016, 502, "app_misconfigured"),
        (77_777, 502, "wechat_unreachable"),
    ] {
        gw.wechat.next_fault(Fault::Errcode { errcode: number, errmsg: None });
        assert_eq!(outcome(&try_login(&gw, TT, "oLin")), (status, code.into()), "{number}");
    }
    for number in [-1, 28_001_005] {
        let busy = |times| Order::from(Fault::Errcode { errcode: number, errmsg: None }).times(times).burns_code(false);
        gw.wechat.next_fault(busy(1));
        assert_eq!(calls(&gw, || drop(gw.login_to(TT, "oLin"))), 2, "{number}: once more");
        gw.wechat.next_fault(busy(2));
        assert_eq!(outcome(&try_login(&gw, TT, "oLin")), (503, "wechat_busy".into()));
    }
    assert_eq!(outcome(&gw.verify(&json!({ "jsCode": "never made", "appId": TT }))), (401, "code_invalid".into()));
}

#[test]
fn an_answer_of_douyins_that_can_not_be_used_is_502_and_the_code_is_sent_once() {
    let gw = gateway();
    let text = |body: Value| Fault::Body { body: body.to_string() };
    for fault in [
        Fault::Cut,
        Fault::HalfAnswer,
        Fault::NotJson,
        Fault::EmptyBody,
        Fault::Endless,
        Fault::Status { status: 502 },
        Fault::Redirect { location: gw.wechat.api_base() },
        Fault::Without { field: "openid".into() },
        Fault::Without { field: "session_key".into() },
        Fault::Openid { openid: "o\r\nX-Admin: 1".into() },
        text(json!({ "openid": "oLin", "session_key": "tiihtNczf5v6AKRyjwEUhQ==" })),
        text(json!({ "err_no": 0, "data": { "anonymous_openid": "a", "openid": "", "session_key": "k" } })),
    ] {
        gw.wechat.next_fault(fault.clone());
        let mut reply = None;
        let asked = calls(&gw, || reply = Some(try_login(&gw, TT, "oLin")));
        assert_eq!(outcome(&reply.unwrap()), (502, "wechat_unreachable".into()), "{fault:?}");
        assert_eq!(asked, 1, "{fault:?}");
    }
}

#[test]
fn a_douyin_that_is_too_slow_is_504_and_holds_up_no_login_to_wechat() {
    let gw = gateway_with(|config| config.wechat.timeout = Duration::from_millis(300));
    gw.wechat.next_fault(Fault::Hang);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| outcome(&try_login(&gw, TT, "oLin")));
        gw.until_hanging(1);
        gw.login("oAlice");
        assert_eq!(slow.join().unwrap(), (504, "wechat_timeout".into()));
    });
}

#[test]
fn a_secret_of_douyins_changes_as_one_of_wechats_does() {
    let gw = gateway_with(|config| config.apps[2].other_secret = Some(AppSecret::new("the next one")));
    gw.wechat.spares_codes(true);
    gw.login_to(TT, "oLin");
    gw.wechat.has_secret(TT, "the next one");
    assert_eq!(calls(&gw, || drop(gw.login_to(TT, "oLin"))), 2);
    assert_eq!(calls(&gw, || drop(gw.login_to(TT, "oLin"))), 1);
    gw.wechat.has_secret(TT, "another one");
    assert_eq!(outcome(&try_login(&gw, TT, "oLin")), (502, "app_misconfigured".into()));
}

#[test]
fn what_douyin_signs_or_encrypts_of_its_user_is_taken_as_what_wechat_does() {
    let gw = gateway();
    let mut lin = gw.login_to(TT, "oLin");
    let info = json!({ "nickName": "林", "gender": 1, "avatarUrl": "https://p3.douyinpic.com/a.jpeg" });
    let data = gw.wechat.user_data(TT, "oLin", &info).unwrap();
    for (told, source) in [(encrypted(&data), "decrypted"), (signed(&data), "signed")] {
        let reply = lin.put("/v1/profile", &told);
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.json()["nickName"], "林");
        assert_eq!(reply.json()["fields"]["nickName"]["source"], source);
    }
    let mut alice = gw.login("oLin");
    for told in [signed(&data), encrypted(&data)] {
        assert_eq!(
            alice.put("/v1/profile", &told).code(),
            "session_key_stale",
            "the openid is the same, the app is not"
        );
    }
}

#[test]
fn a_douyin_app_may_come_and_an_app_may_change_its_platform_while_it_runs() {
    let mut gw = TestGateway::with(|config| config.server.workers = 1);
    gw.wechat.has_secret(TT, TT_SECRET);
    assert_eq!(outcome(&try_login(&gw, TT, "oLin")), (400, "unknown_app".into()));
    gw.reload(with_douyin);
    crate::support::until("the app", || (try_login(&gw, TT, "oLin").status == 200).then_some(()));
    let change = gw.reload(|config| config.apps[2].platform = PlatformKind::WeChat);
    assert_eq!(change.applied[0].to_string(), format!("changed apps.{TT}.platform"));
    let asked = || gw.app().counters().wechat.login.ok.get();
    crate::support::until("the other platform", || {
        gw.login_to(TT, "oLin");
        (asked() > 0).then_some(())
    });
}

#[test]
fn a_user_of_douyin_has_no_phone_button_and_wechat_is_not_asked_about_it() {
    let gw = gateway();
    let mut lin = gw.login_to(TT, "oLin");
    let reply = lin.post("/v1/phone", r#"{"code":"a code"}"#);
    assert_eq!((reply.status, reply.json()["code"].as_str()), (404, Some("no_route")));
    assert_eq!(gw.app().counters().wechat.access_token.total(), 0);
}
