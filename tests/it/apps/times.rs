//! Sessions of one app stay for another time than those of the next.

use std::time::Duration;

use wxgate::config::Config;

use super::try_login;
use crate::support::{APP, OTHER_APP, TestGateway, until};

const HOUR: Duration = Duration::from_hours(1);

/// Two hours at most in the first app, and one session of each user; the usual in the other.
fn short(config: &mut Config) {
    config.server.workers = 1;
    let app = &mut config.apps[0];
    (app.idle, app.lifetime, app.per_user) = (Some(HOUR), Some(HOUR * 3 / 2), Some(1));
}

fn expires_in(gw: &TestGateway, app: &str) -> u64 {
    try_login(gw, app, "oSomebody").json()["expiresIn"].as_u64().unwrap()
}

#[test]
fn each_app_tells_its_own_time_and_its_sessions_end_by_it() {
    let gw = TestGateway::with(short);
    assert_eq!([APP, OTHER_APP].map(|app| expires_in(&gw, app)), [60 * 60, 24 * 60 * 60]);
    let (mut alice, mut other) = (gw.login("oAlice"), gw.login_to(OTHER_APP, "oAlice"));
    assert_eq!(alice.get("/v1/session").json()["expiresIn"], 60 * 60);
    gw.later(Duration::from_secs(60 * 60 - 1));
    assert_eq!(alice.get("/orders").status, 200, "that was a use");
    assert_eq!(alice.get("/v1/session").json()["expiresIn"], 30 * 60 + 1, "and the lifetime comes first now");
    gw.later(HOUR / 2 + Duration::from_secs(1));
    assert_eq!(alice.get("/orders").code(), "token_invalid");
    assert_eq!(other.get("/orders").status, 200);
    assert_eq!(other.get("/v1/session").json()["expiresIn"], 24 * 60 * 60);
}

#[test]
fn each_app_says_how_many_sessions_a_user_has() {
    let gw = TestGateway::with(short);
    let [mut first, mut second] = [gw.login("oAlice"), gw.login("oAlice")];
    let [mut here, mut there] = [gw.login_to(OTHER_APP, "oAlice"), gw.login_to(OTHER_APP, "oAlice")];
    assert_eq!([&mut first, &mut second].map(|user| user.get("/orders").status), [401, 200]);
    assert_eq!([&mut here, &mut there].map(|user| user.get("/orders").status), [200, 200]);
}

#[test]
fn an_app_may_have_no_limit_where_the_others_have_one() {
    let gw = TestGateway::with(|config| {
        config.sessions.per_user = 1;
        config.apps[0].per_user = Some(0);
    });
    let [mut first, mut second] = [gw.login("oAlice"), gw.login("oAlice")];
    let [mut here, mut there] = [gw.login_to(OTHER_APP, "oAlice"), gw.login_to(OTHER_APP, "oAlice")];
    assert_eq!([&mut first, &mut second].map(|user| user.get("/orders").status), [200, 200]);
    assert_eq!([&mut here, &mut there].map(|user| user.get("/orders").status), [401, 200]);
}

#[test]
fn a_reload_changes_the_times_of_the_logins_that_follow_and_no_others() {
    let mut gw = TestGateway::with(|config| config.server.workers = 1);
    let mut before = gw.login("oAlice");
    let change = gw.reload(short);
    let applied: Vec<String> = change.applied.iter().map(ToString::to_string).collect();
    assert_eq!(applied, ["idle", "lifetime", "per_user"].map(|key| format!("changed apps.{APP}.{key}")));
    until("the new times", || (expires_in(&gw, APP) == 60 * 60).then_some(()));
    gw.later(2 * HOUR);
    assert_eq!(before.get("/orders").status, 200, "who was logged in stays so for as long as was promised");
    assert_eq!(before.get("/v1/session").json()["expiresIn"], 24 * 60 * 60);
    let mut after = gw.login("oAlice");
    assert_eq!(before.get("/orders").status, 401, "but of two only the newest stays, as is said now");
    gw.later(HOUR);
    assert_eq!(after.get("/orders").status, 401);
}
