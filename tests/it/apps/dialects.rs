//! Who speaks WeChat's protocol elsewhere: QQ, private containers, third-party platforms. The stand-in speaks as they do.

use wxgate::simulator::{Dialect, Fault};

use super::{known_as, outcome, some, try_login};
use crate::support::{APP, TestGateway, User};

fn speaking(dialect: Dialect) -> TestGateway {
    let gw = TestGateway::start();
    gw.wechat.speaks(APP, dialect);
    gw
}

/// A login goes through with a unionid and without, and each refusal means what it means from WeChat.
fn is_understood(dialect: Dialect) {
    let gw = speaking(dialect);
    let mut alice = gw.login("oAlice");
    assert_eq!(known_as(&gw, &mut alice), some(["oAlice", APP, "", "wx_client"]), "a unionid of \"\" is none");
    gw.wechat.knows_with_union("with union", APP, "oBob", "uBob");
    let token = gw.verify_code("with union").json()["token"].as_str().unwrap().to_owned();
    let mut bob = User { client: gw.client(), token, openid: "oBob".into() };
    assert_eq!(known_as(&gw, &mut bob), some(["oBob", APP, "uBob", "wx_client"]));

    for (errcode, status, code) in [
        (40029, 401, "code_invalid"),
        (40163, 401, "code_used"),
        (40226, 403, "user_blocked"),
        (45011, 429, "rate_limited"),
        (40013, 502, "app_misconfigured"),
        (40125, 502, "app_misconfigured"),
        (77777, 502, "wechat_unreachable"),
    ] {
        gw.wechat.next_fault(Fault::Errcode { errcode, errmsg: None });
        assert_eq!(outcome(&try_login(&gw, APP, "oAlice")), (status, code.into()), "{dialect:?} {errcode}");
    }
    gw.wechat.next_fault(Fault::Errcode { errcode: -1, errmsg: None });
    gw.login("oAlice");
    assert_eq!(outcome(&gw.verify_code("never made")), (401, "code_invalid".into()));
    for field in ["openid", "session_key"] {
        gw.wechat.next_fault(Fault::Without { field: field.into() });
        assert_eq!(outcome(&try_login(&gw, APP, "oAlice")), (502, "wechat_unreachable".into()), "{dialect:?} {field}");
    }
}

#[test]
fn qq_says_an_errcode_of_0_and_an_empty_unionid() {
    is_understood(Dialect::Qq);
}

#[test]
fn a_private_container_fills_what_it_has_not_with_empty_texts() {
    is_understood(Dialect::Container);
}

#[test]
fn a_third_party_platform_writes_the_errcode_as_a_text() {
    is_understood(Dialect::Component);
}

#[test]
fn wechat_itself_is_understood_in_the_same_way() {
    is_understood(Dialect::WeChat);
}
