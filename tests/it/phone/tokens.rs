//! The access tokens behind the phone button. The stories are those of others: what happened to users of SDKs.

use std::{thread::scope, time::Duration};

use wxgate::{
    config::sections::Rate,
    model::AppSecret,
    simulator::{Fault, Order},
};

use super::{NUMBER, PHONE_NUMBER, STABLE_TOKEN, errcode, send, tapped, tell};
use crate::support::{APP, TestGateway, User, messages, until};

/// Logins failed with 45009, because a token was fetched that no login needs:
/// <https://github.com/binarywang/WxJava/issues/1085>.
#[test]
fn no_login_needs_an_access_token() {
    let gw = TestGateway::start();
    gw.wechat.next_fault(Order::from(errcode(45009)).on(STABLE_TOKEN));
    let mut alice = gw.login("oAlice");
    assert_eq!(alice.get("/orders").status, 200);
    assert_eq!(gw.wechat.calls_of(STABLE_TOKEN), 0, "and none is fetched at the start");
    assert_eq!(send(&mut alice, &tapped(&gw, NUMBER)).code(), "rate_limited");
    tell(&gw, &mut alice, NUMBER);
}

/// Each thread fetched a token of its own: <https://github.com/binarywang/WxJava/issues/1293> and several more.
#[test]
fn however_many_tap_at_once_one_token_is_fetched_and_kept() {
    let gw = TestGateway::start();
    let mut users: Vec<User> = (0..8).map(|n| gw.login(&format!("oUser{n}"))).collect();
    gw.wechat.next_fault(Order::from(Fault::Hang).on(STABLE_TOKEN));
    scope(|scope| {
        for user in &mut users {
            scope.spawn(|| tell(&gw, user, NUMBER));
        }
        gw.until_hanging(1);
        gw.wechat.release();
    });
    assert_eq!((gw.wechat.calls_of(STABLE_TOKEN), gw.wechat.calls_of(PHONE_NUMBER)), (1, 8));
    gw.later(Duration::from_mins(100));
    tell(&gw, &mut gw.login("oLater"), NUMBER);
    assert_eq!(gw.wechat.calls_of(STABLE_TOKEN), 1);
    gw.later(Duration::from_mins(15));
    tell(&gw, &mut gw.login("oMuchLater"), NUMBER);
    assert_eq!(gw.wechat.calls_of(STABLE_TOKEN), 2, "no token is used in its last five minutes");
}

/// An older token overwrote a newer one: <https://github.com/lanrion/weixin_authorize/issues/81>. Users asked for this by
/// hand: <https://github.com/JasonBoy/wechat-jssdk/issues/46>.
#[test]
fn a_dead_token_is_replaced_within_the_call_and_nobody_hears_of_it() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    tell(&gw, &mut alice, NUMBER);
    gw.wechat.replace_tokens(APP);
    tell(&gw, &mut alice, "13900000001");
    tell(&gw, &mut alice, "13900000002");
    assert_eq!((gw.wechat.calls_of(STABLE_TOKEN), gw.wechat.calls_of(PHONE_NUMBER)), (2, 4));
}

#[test]
fn a_token_that_stays_dead_is_replaced_once_per_call_and_no_more() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    tell(&gw, &mut alice, NUMBER);
    let (tokens, calls) = (gw.wechat.calls_of(STABLE_TOKEN), gw.wechat.calls_of(PHONE_NUMBER));
    for dead in [40001, 40014, 42001] {
        gw.wechat.next_fault(Order::from(errcode(dead)).times(2).on(PHONE_NUMBER));
        assert_eq!(send(&mut alice, &tapped(&gw, NUMBER)).code(), "wechat_unreachable");
    }
    assert_eq!((gw.wechat.calls_of(STABLE_TOKEN), gw.wechat.calls_of(PHONE_NUMBER)), (tokens + 3, calls + 6));
}

/// Two environments with one AppID ended each other's tokens: <https://github.com/ArtisanCloud/PowerWeChat/issues/200>.
#[test]
fn two_gateways_with_one_app_leave_each_others_tokens_alone() {
    let one = TestGateway::start();
    let other = TestGateway::with(|config| config.apps[0].api_base = one.wechat.api_base().parse().unwrap());
    let mut alice = one.login("oAlice");
    let code = one.code("oBob");
    let token = other.verify_code(&code).json()["token"].as_str().unwrap().to_owned();
    let mut bob = User { client: other.client(), token, openid: "oBob".to_owned() };
    for n in 0..3 {
        for user in [&mut alice, &mut bob] {
            tell(&one, user, &format!("1390000000{n}"));
        }
    }
    assert_eq!((one.wechat.calls_of(STABLE_TOKEN), one.wechat.calls_of(PHONE_NUMBER)), (2, 6));
}

/// A code with a quote in it brought AppID, secret and token to the client in the text of an error:
/// <https://github.com/binarywang/WxJava/issues/3245>.
#[test]
fn a_code_that_no_url_can_hold_brings_no_secret_back() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    for code in ["a\"b", "a b{c}|d", "登录", "%zz", "\0"] {
        let reply = send(&mut alice, code);
        assert_eq!(reply.code(), "phone_code_invalid");
        for secret in ["the-app-secret", "98_", "access_token", APP] {
            assert!(!reply.text().contains(secret), "{}", reply.text());
        }
    }
}

#[test]
fn a_frozen_secret_gives_way_to_the_other_as_a_wrong_one_does() {
    for errcode in [40125, 40001, 40243] {
        let gw = TestGateway::with(|config| config.apps[0].other_secret = Some(AppSecret::new("the one after it")));
        let mut alice = gw.login("oAlice");
        gw.wechat.has_secret(APP, "the one after it");
        gw.wechat.next_fault(Order::from(Fault::Errcode { errcode, errmsg: None }).on(STABLE_TOKEN));
        tell(&gw, &mut alice, NUMBER);
        assert_eq!(gw.wechat.calls_of(STABLE_TOKEN), 2, "{errcode}");
    }
}

#[test]
fn why_there_is_no_token_is_told_as_with_a_login() {
    let gw = TestGateway::with(|config| config.wechat.timeout = Duration::from_millis(500));
    let mut alice = gw.login("oAlice");
    for (fault, times, status, code) in [
        (errcode(40125), 1, 502, "app_misconfigured"),
        (errcode(40164), 1, 502, "app_misconfigured"),
        (errcode(45011), 1, 429, "rate_limited"),
        (errcode(-1), 2, 503, "wechat_busy"),
        (Fault::Cut, 1, 502, "wechat_unreachable"),
        (Fault::Without { field: "access_token".into() }, 1, 502, "wechat_unreachable"),
        (Fault::Hang, 1, 504, "wechat_timeout"),
    ] {
        gw.wechat.next_fault(Order::from(fault.clone()).times(times).on(STABLE_TOKEN));
        let reply = send(&mut alice, &tapped(&gw, NUMBER));
        assert_eq!((reply.status, reply.code()), (status, code.to_owned()), "{fault:?}");
        // A refused set-up is remembered, the second time for two seconds.
        gw.later(Duration::from_secs(2));
    }
    assert_eq!(gw.wechat.calls_of(PHONE_NUMBER), 0, "no code was spent for it");
    tell(&gw, &mut alice, NUMBER);
}

#[test]
fn a_set_up_that_wechat_refuses_costs_no_call_of_each_client_and_is_told_by_its_errcode() {
    let messages = messages();
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let fault = Fault::Errcode { errcode: 89503, errmsg: Some("not yet, rid: 89503-agreed-by-nobody".to_owned()) };
    gw.wechat.next_fault(Order::from(fault).times(100).on(STABLE_TOKEN));
    let mut asked = Vec::new();
    for seconds in [0, 0, 0, 1, 1, 1, 0, 60, 60] {
        gw.later(Duration::from_secs(seconds));
        let reply = send(&mut alice, &tapped(&gw, NUMBER));
        assert_eq!((reply.status, reply.code().as_str()), (502, "app_misconfigured"));
        asked.push(gw.wechat.calls_of(STABLE_TOKEN));
    }
    assert_eq!(asked, [1, 1, 1, 2, 2, 3, 3, 4, 5]);
    let text = messages.text();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("no access token") && line.contains("89503-agreed-by-nobody"))
        .collect();
    assert_eq!(lines.len(), 5, "one for each that was asked for: {lines:?}");
    for part in [r#""level":"ERROR""#, "errcode 89503", r#""advice":"the app's administrator"#, APP] {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
    gw.wechat.clear_faults();
    gw.later(Duration::from_mins(1));
    tell(&gw, &mut alice, NUMBER);
}

#[test]
fn a_reload_forgets_that_a_set_up_was_refused_though_nothing_has_changed_here() {
    let mut gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    gw.wechat.next_fault(Order::from(errcode(40164)).on(STABLE_TOKEN));
    for _ in 0..2 {
        assert_eq!(send(&mut alice, &tapped(&gw, NUMBER)).code(), "app_misconfigured");
    }
    assert!(gw.reload(|_| {}).is_empty());
    tell(&gw, &mut alice, NUMBER);
    assert_eq!(gw.wechat.calls_of(STABLE_TOKEN), 2);
}

#[test]
fn another_secret_is_used_as_soon_as_it_is_configured() {
    let rate = Rate { count: 1_000_000.try_into().unwrap(), per: Duration::from_mins(1) };
    let mut gw = TestGateway::with(|config| config.limits.profile_per_user = rate);
    let mut alice = gw.login("oAlice");
    tell(&gw, &mut alice, NUMBER);
    gw.reload(|config| config.apps[0].secret = AppSecret::new("not it"));
    let code = until("the workers to follow", || {
        let reply = send(&mut alice, &tapped(&gw, NUMBER));
        (reply.status != 200).then(|| reply.code())
    });
    assert_eq!(code, "app_misconfigured");
    assert_eq!(alice.get("/orders").status, 200);
}
