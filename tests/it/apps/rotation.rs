//! An AppSecret is changed: the platform takes one of two, and nobody has to be there at that moment.

use serde_json::json;
use wxgate::{
    config::Config,
    model::AppSecret,
    simulator::{Fault, Order},
};

use super::{calls, outcome, try_login};
use crate::support::{APP, OTHER_APP, SECRET, TestGateway, client, messages, until};

const NEW: &str = "the-app-secret-that-comes-after-it";

fn with_two(config: &mut Config) {
    config.apps[0].other_secret = Some(AppSecret::new(NEW));
}

/// The console has made a new secret, and a code that came with a wrong one is still good.
fn rotated() -> TestGateway {
    let gw = TestGateway::with(with_two);
    gw.wechat.spares_codes(true);
    gw.login("oAlice");
    gw.wechat.has_secret(APP, NEW);
    gw
}

#[test]
fn a_code_that_the_one_secret_is_refused_for_is_tried_with_the_other_and_that_one_goes_first_from_then_on() {
    let gw = rotated();
    assert_eq!(calls(&gw, || drop(gw.login("oAlice"))), 2);
    assert_eq!(calls(&gw, || drop(gw.login("oBob"))), 1, "the one that worked goes first");
    assert_eq!(calls(&gw, || drop(gw.login_to(OTHER_APP, "oAlice"))), 1, "each app has its own");
    gw.wechat.has_secret(APP, SECRET);
    assert_eq!(calls(&gw, || drop(gw.login("oAlice"))), 2, "and back, as a console does that takes a while");
    assert_eq!(calls(&gw, || drop(gw.login("oAlice"))), 1);
}

#[test]
fn a_frozen_secret_gives_way_to_the_other_as_a_wrong_one_does() {
    let gw = rotated();
    gw.wechat.next_fault(Fault::Errcode { errcode: 40243, errmsg: None });
    assert_eq!(calls(&gw, || drop(gw.login("oAlice"))), 2);
    assert_eq!(calls(&gw, || drop(gw.login("oBob"))), 1, "the one that worked goes first");
}

#[test]
fn a_code_that_the_wrong_secret_has_burnt_sends_the_client_for_a_new_one() {
    let gw = rotated();
    gw.wechat.spares_codes(false);
    assert_eq!(outcome(&try_login(&gw, APP, "oAlice")), (401, "code_invalid".into()), "not used: that was us");
    assert_eq!(calls(&gw, || drop(gw.login("oAlice"))), 1, "the next one is good at once");
}

#[test]
fn two_wrong_secrets_are_a_fault_of_the_set_up_and_the_log_names_both_keys() {
    let messages = messages();
    let gw = rotated();
    gw.wechat.has_secret(APP, "a third one");
    let mut reply = None;
    assert_eq!(calls(&gw, || reply = Some(try_login(&gw, APP, "oAlice"))), 2, "each is tried once");
    let reply = reply.unwrap();
    assert_eq!(outcome(&reply), (502, "app_misconfigured".into()));
    let said = messages.line(reply.header("x-request-id").unwrap());
    assert!(said.contains("`secret` and `other_secret` in [[apps]]") && said.contains(APP), "{said}");
    assert!(!said.contains(SECRET) && !said.contains(NEW), "{said}");
    gw.wechat.has_secret(APP, SECRET);
    gw.login("oAlice");
}

#[test]
fn what_has_nothing_to_do_with_the_secret_is_not_tried_with_another() {
    let gw = rotated();
    gw.login("oAlice");
    for errcode in [40029, 40163, 40226, 45011, 40013, 40164] {
        gw.wechat.next_fault(Fault::Errcode { errcode, errmsg: None });
        assert_eq!(calls(&gw, || drop(try_login(&gw, APP, "oAlice"))), 1, "{errcode}");
    }
    gw.wechat.next_fault(Order::from(Fault::Errcode { errcode: -1, errmsg: None }).times(1));
    assert_eq!(calls(&gw, || drop(gw.login("oAlice"))), 2, "the retry of a busy WeChat, with the same");
    assert_eq!(calls(&gw, || drop(gw.login("oAlice"))), 1, "and none of it has changed which one goes first");
}

#[test]
fn many_who_log_in_while_the_secret_changes_all_get_in() {
    let gw = rotated();
    std::thread::scope(|scope| {
        for number in 0..16 {
            let gw = &gw;
            scope.spawn(move || {
                gw.login(&format!("oUser{number}"));
                gw.login_to(OTHER_APP, &format!("oUser{number}"));
            });
        }
    });
    assert_eq!(calls(&gw, || drop(gw.login("oAlice"))), 1);
}

#[test]
fn a_reload_swaps_secrets_and_loses_nothing_that_is_under_way() {
    let mut gw = TestGateway::with(|config| config.server.workers = 1);
    let code = gw.code("oAlice");
    gw.wechat.next_fault(Fault::Hang);
    let body = json!({ "jsCode": code, "appId": APP }).to_string();
    let mut under_way = gw.client();
    under_way.send(client::head("POST", "/v1/verify", &[], body.len())).send(&body);
    gw.until_hanging(1);
    gw.wechat.has_secret(APP, NEW);
    let change = gw.reload(|config| {
        config.apps[0].other_secret = Some(AppSecret::new(SECRET));
        config.apps[0].secret = AppSecret::new(NEW);
    });
    let applied: Vec<String> = change.applied.iter().map(ToString::to_string).collect();
    assert_eq!(applied, [format!("changed apps.{APP}.secret"), format!("changed apps.{APP}.other_secret")]);
    until("the new secret", || (try_login(&gw, APP, "oBob").status == 200).then_some(()));
    gw.wechat.release();
    let reply = under_way.reply();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(gw.verify_code(&code).json()["token"], reply.json()["token"], "the window is known to the new one");
}

#[test]
fn a_reload_does_not_forget_which_secret_works() {
    let mut gw = rotated();
    gw.login("oAlice");
    let before = gw.app().counters().wechat.login.total();
    // Whatever changes of the app makes a new client of it.
    gw.reload(|config| config.apps[0].per_user = Some(9));
    gw.reload(|config| {
        config.apps[0].secret = AppSecret::new(NEW);
        config.apps[0].other_secret = Some(AppSecret::new(SECRET));
    });
    gw.login("oBob");
    assert_eq!(gw.app().counters().wechat.login.total() - before, 1);
}
