//! One user's changes are told in their order, whatever fails, and hold up nobody else's.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use serde_json::json;

use super::{BUSY, TAKEN, change, metric, receiver, slow_for_alice, start, telling, told};
use crate::{
    redis::instances::gateway_with,
    support::{Recorder, redis_server::RedisServer, until, upstream::answer},
};

/// The nicknames of a user, each once where it was told again at once.
fn nicknames(receiver: &Recorder, openid: &str) -> Vec<String> {
    let mut all: Vec<String> =
        told(receiver).into_iter().filter(|(user, _)| user == openid).map(|(_, name)| name).collect();
    all.dedup();
    all
}

#[test]
fn while_the_receiver_is_down_changes_go_on_and_are_told_in_order_after() {
    let receiver = receiver();
    receiver.answers(BUSY);
    let gw = start(&receiver);
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    for n in ["1", "2", "3"] {
        change(&mut alice, &json!({ "nickName": n }));
        change(&mut bob, &json!({ "nickName": n }));
    }
    receiver.wait_for(2);
    until("three of each waiting", || (metric(&gw, "wxgate_webhook_waiting") == 6.0).then_some(()));
    assert!(told(&receiver).iter().all(|(_, nickname)| nickname == "1"), "the second waits for the first");
    gw.later(Duration::from_secs(40));
    receiver.wait_for(4);
    until("an age", || (metric(&gw, "wxgate_webhook_oldest_age_seconds") >= 40.0).then_some(()));
    receiver.answers(TAKEN);
    until("all of it told", || {
        gw.later(Duration::from_secs(1));
        (nicknames(&receiver, "oAlice").len() == 3 && nicknames(&receiver, "oBob").len() == 3).then_some(())
    });
    for user in ["oAlice", "oBob"] {
        assert_eq!(nicknames(&receiver, user), ["1", "2", "3"]);
    }
    assert!(metric(&gw, "wxgate_webhook_notices_total{outcome=\"failed\"}") >= 4.0);
}

#[test]
fn who_is_slow_for_one_user_holds_up_nobody_else() {
    let (receiver, finish) = slow_for_alice();
    let gw = start(&receiver);
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    change(&mut alice, &json!({ "nickName": "1" }));
    change(&mut alice, &json!({ "nickName": "2" }));
    receiver.wait_for(1);
    for n in ["1", "2", "3"] {
        change(&mut bob, &json!({ "nickName": n }));
    }
    until("all of bob's", || (nicknames(&receiver, "oBob") == ["1", "2", "3"]).then_some(()));
    assert_eq!(nicknames(&receiver, "oAlice"), ["1"]);
    finish.send(()).unwrap();
    until("alice's second", || (nicknames(&receiver, "oAlice") == ["1", "2"]).then_some(()));
    drop(finish);
}

#[test]
fn two_gateways_on_one_redis_tell_each_change_in_its_order() {
    let server = RedisServer::start();
    let receiver = receiver();
    // Each third try fails, so that both have something to try again.
    let tries = Mutex::new(0);
    receiver.does(move |_, out| {
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        answer(out, if *tries % 3 == 0 { BUSY } else { TAKEN })
    });
    let gateways = [(); 2].map(|()| {
        gateway_with(&server.section(), |config| {
            let webhook = telling(config, &receiver);
            webhook.max_per_user = 1000;
            webhook.first_retry = Duration::from_millis(10);
        })
    });
    let users = ["oAlice", "oBob", "oCarol"];
    std::thread::scope(|scope| {
        for (at, openid) in users.into_iter().enumerate() {
            let gateways = &gateways;
            scope.spawn(move || {
                let mut here = [gateways[0].login(openid), gateways[1].login(openid)];
                for n in 0..12 {
                    change(&mut here[(n + at) % 2], &json!({ "nickName": format!("{n}") }));
                }
            });
        }
    });
    let expected: Vec<String> = (0..12).map(|n| n.to_string()).collect();
    until("all of it told", || {
        for gw in &gateways {
            gw.later(Duration::from_millis(10));
        }
        let last: HashMap<String, String> = told(&receiver).into_iter().collect();
        users.iter().all(|user| last.get(*user).is_some_and(|name| name == "11")).then_some(())
    });
    for user in users {
        assert_eq!(nicknames(&receiver, user), expected, "{user}");
    }
}
