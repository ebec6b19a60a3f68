//! What a receiver may answer, and what becomes of what it does not take.

use std::time::Duration;

use serde_json::json;

use super::{BUSY, TAKEN, change, metric, receiver, start, telling, told};
use crate::support::{TestGateway, messages, until};

/// Waits until so many of this outcome were counted, while the time goes on.
fn counted(gw: &TestGateway, outcome: &str, least: f64) {
    let name = format!("wxgate_webhook_notices_total{{outcome=\"{outcome}\"}}");
    until(&name, || {
        gw.later(Duration::from_secs(1));
        (metric(gw, &name) >= least).then_some(())
    });
}

#[test]
fn whatever_is_neither_a_yes_nor_gone_is_tried_again() {
    let elsewhere = receiver();
    let receiver = receiver();
    let gw = start(&receiver);
    let redirect = format!("Location: http://{}/\r\n", elsewhere.addr());
    for (n, (status, more)) in
        [(301, redirect.as_str()), (308, &redirect), (400, ""), (401, ""), (404, ""), (422, ""), (500, "")]
            .into_iter()
            .enumerate()
    {
        let failed = metric(&gw, "wxgate_webhook_notices_total{outcome=\"failed\"}");
        receiver.answers(format!("HTTP/1.1 {status} No\r\n{more}content-length: 0\r\n\r\n"));
        // The time runs, and sessions out.
        change(&mut gw.login("oAlice"), &json!({ "nickName": n.to_string() }));
        counted(&gw, "failed", failed + 2.0);
        receiver.answers(TAKEN);
        counted(&gw, "delivered", f64::from(u32::try_from(n).unwrap()) + 1.0);
        assert_eq!(told(&receiver).last().unwrap().1, n.to_string(), "{status}");
    }
    assert_eq!(elsewhere.count(), 0, "a redirect is not followed");
}

#[test]
fn what_a_receiver_calls_gone_is_given_up_and_the_next_is_told() {
    let receiver = receiver();
    receiver.answers("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n");
    let gw = start(&receiver);
    change(&mut gw.login("oAlice"), &json!({ "nickName": "1" }));
    counted(&gw, "gone", 1.0);
    receiver.answers(TAKEN);
    change(&mut gw.login("oAlice"), &json!({ "nickName": "2" }));
    counted(&gw, "delivered", 1.0);
    assert_eq!(told(&receiver).last().unwrap().1, "2");
}

#[test]
fn what_is_too_old_is_given_up() {
    let receiver = receiver();
    receiver.answers(BUSY);
    let gw = start(&receiver);
    change(&mut gw.login("oAlice"), &json!({ "nickName": "1" }));
    receiver.wait_for(1);
    gw.later(Duration::from_hours(73));
    counted(&gw, "expired", 1.0);
    until("nothing waiting", || (metric(&gw, "wxgate_webhook_waiting") == 0.0).then_some(()));
}

#[test]
fn a_receiver_that_is_away_for_long_stops_no_change_and_hears_the_newest() {
    let receiver = receiver();
    receiver.answers(BUSY);
    let gw = TestGateway::with(|config| telling(config, &receiver).max_per_user = 3);
    let mut alice = gw.login("oAlice");
    for n in 0..20 {
        change(&mut alice, &json!({ "nickName": n.to_string() }));
    }
    counted(&gw, "crowded", 17.0);
    receiver.answers(TAKEN);
    counted(&gw, "delivered", 3.0);
    assert_eq!(told(&receiver).last().unwrap().1, "19");
}

#[test]
fn an_answer_that_does_not_come_is_not_waited_for() {
    let receiver = receiver();
    receiver.does(|seen, out| if seen.nth == 0 { hang(out) } else { crate::support::upstream::answer(out, TAKEN) });
    let gw = TestGateway::with(|config| telling(config, &receiver).timeout = Duration::from_millis(200));
    change(&mut gw.login("oAlice"), &json!({ "nickName": "1" }));
    counted(&gw, "failed", 1.0);
    receiver.answers(TAKEN);
    counted(&gw, "delivered", 1.0);
}

/// Waits until the other side has given up.
fn hang(out: &mut std::net::TcpStream) -> crate::support::upstream::Then {
    let _ = std::io::Read::read(out, &mut [0; 1]);
    crate::support::upstream::Then::Close
}

#[test]
fn nothing_of_what_is_told_and_not_where_is_logged() {
    let receiver = receiver();
    receiver.answers(BUSY);
    let said = messages();
    let gw = start(&receiver);
    change(&mut gw.login("oWebhooked"), &json!({ "nickName": "told-on-trial" }));
    counted(&gw, "failed", 2.0);
    receiver.answers(TAKEN);
    counted(&gw, "delivered", 1.0);
    let all = said.text() + &gw.log.text();
    assert!(all.contains("the webhook does not take what it is told"), "{all}");
    for secret in ["told-on-trial", "key=hunter2", "/hooks", "MfKQ9r8G", "oWebhooked"] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
}
