//! Who may send what, and what becomes of it where that changes meanwhile.

use std::time::Duration;

use serde_json::json;
use wxgate::{
    config::sections::{NewestSealKey, Seal},
    model::{SealKey, Secret},
};

use super::{BUSY, TAKEN, body, change, metric, receiver, slow_for_alice, start, telling, told};
use crate::{
    redis::instances::gateway_with,
    support::{redis_server::RedisServer, until},
};

/// A clock that jumps ends all claims.
#[test]
fn while_a_try_is_under_way_nothing_else_of_its_user_is_sent_though_its_claim_has_run_out() {
    let (receiver, finish) = slow_for_alice();
    let gw = start(&receiver);
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    change(&mut alice, &json!({ "nickName": "1" }));
    change(&mut alice, &json!({ "nickName": "2" }));
    receiver.wait_for(1);
    gw.later(Duration::from_mins(5));
    for n in 0..3 {
        // What is told of Bob shows that the sender has looked again.
        change(&mut bob, &json!({ "nickName": n.to_string() }));
        receiver.wait_for(2 + n);
    }
    let of_alice = || told(&receiver).into_iter().filter(|(user, _)| user == "oAlice").map(|(_, name)| name);
    assert_eq!(of_alice().collect::<Vec<_>>(), ["1"]);
    drop(finish);
    until("the second", || {
        gw.later(Duration::from_secs(1));
        (of_alice().next_back().unwrap() == "2").then_some(())
    });
}

#[test]
fn what_another_key_has_sealed_waits_for_whoever_has_that_key() {
    let server = RedisServer::start();
    let receiver = receiver();
    receiver.answers(BUSY);
    let gateway = |key: &str| {
        let key = SealKey::parse(&Secret::new(key.repeat(32))).unwrap();
        gateway_with(&server.section(), |config| {
            config.sessions.seal = Some(Seal { key: NewestSealKey::Given(key), old_keys: Vec::new() });
            telling(config, &receiver).longest_retry = Duration::from_secs(10);
        })
    };
    let gw = gateway("5e");
    change(&mut gw.login("oAlice"), &json!({ "nickName": "sealed" }));
    receiver.wait_for(1);
    gw.stop();
    receiver.answers(TAKEN);
    let gw = gateway("77");
    until("no key", || {
        gw.later(Duration::from_secs(1));
        (metric(&gw, "wxgate_webhook_notices_total{outcome=\"unreadable\"}") >= 2.0).then_some(())
    });
    let before = receiver.count();
    gw.stop();
    let gw = gateway("5e");
    // By the clock of the other one it is that late at most.
    gw.later(Duration::from_hours(12));
    receiver.wait_for(before + 1);
    assert_eq!(told(&receiver).last().unwrap(), &("oAlice".to_owned(), "sealed".to_owned()));
}

/// Nobody was there to try.
#[test]
fn what_was_never_tried_is_tried_however_old_it_is() {
    let receiver = receiver();
    let mut gw = start(&receiver);
    receiver.answers(BUSY);
    let mut alice = gw.login("oAlice");
    change(&mut alice, &json!({ "nickName": "1" }));
    change(&mut alice, &json!({ "nickName": "2" }));
    receiver.wait_for(1);
    gw.reload(|config| config.webhook = None);
    gw.later(Duration::from_hours(24 * 30));
    receiver.answers(TAKEN);
    gw.reload(|config| {
        telling(config, &receiver);
    });
    until("the second", || {
        gw.later(Duration::from_secs(1));
        (told(&receiver).last().unwrap().1 == "2").then_some(())
    });
}

/// It has waited since there was somebody to tell.
#[test]
fn a_removal_takes_along_what_waits_while_nobody_is_told_and_is_told_later() {
    let receiver = receiver();
    receiver.answers(BUSY);
    let mut gw = start(&receiver);
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    for nickname in ["1", "2", "3"] {
        change(&mut alice, &json!({ "nickName": nickname }));
    }
    receiver.wait_for(1);
    gw.reload(|config| config.webhook = None);
    // The workers follow a moment later.
    until("nobody is told", || (metric(&gw, "wxgate_webhook_waiting") == 0.0).then_some(()));
    for user in [&mut alice, &mut bob] {
        assert_eq!(user.request("DELETE", "/v1/profile", &[], "").status, 204);
    }
    receiver.answers(TAKEN);
    let before = receiver.count();
    gw.reload(|config| {
        telling(config, &receiver);
    });
    until("the removal", || {
        gw.later(Duration::from_secs(1));
        receiver.seen()[before..].iter().any(|seen| body(seen)["type"] == "profile.removed").then_some(())
    });
    let rest: Vec<_> = told(&receiver)[before..].iter().map(|(user, nickname)| format!("{user} {nickname}")).collect();
    assert!(!rest.iter().any(|one| one.ends_with('2') || one.ends_with('3') || one.starts_with("oBob")), "{rest:?}");
}
