//! What is counted and written of tunnels, while they are open and when they have ended.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use super::{HI, line, open, says_hi, start, start_with};
use crate::{admin::open_metrics::Page, support::TestGateway, support::until};

/// What the page says of tunnels: how many are open, bytes from and to clients, and ends that there were.
fn counted(gw: &TestGateway) -> (f64, f64, f64, BTreeMap<String, f64>) {
    let page = Page::read(&gw.admin().get("/metrics").text());
    let bytes = |direction| page.value("wxgate_websocket_traffic_bytes_total", &[("direction", direction)]);
    let ended = page.families["wxgate_websockets_ended"].samples.iter().filter(|(.., n)| *n > 0.0);
    let ended = ended.map(|(_, labels, n)| (labels["outcome"].clone(), *n)).collect();
    (page.value("wxgate_websockets_open", &[]), bytes("received"), bytes("sent"), ended)
}

fn ends(ends: &[(&str, f64)]) -> BTreeMap<String, f64> {
    ends.iter().map(|(by, n)| ((*by).to_owned(), *n)).collect()
}

#[test]
fn websockets_are_counted_while_they_are_open_and_by_what_ended_them() {
    let gw = start();
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    open(&mut alice);
    open(&mut bob);
    until("both to be open", || (counted(&gw).0 == 2.0).then_some(()));
    assert_eq!(counted(&gw).3, ends(&[]));
    alice.client.finish().rest();
    until("the end of one", || (counted(&gw).3 == ends(&[("client", 1.0)])).then_some(()));
    let bearer = format!("Bearer {}", bob.token);
    gw.client().request("POST", "/v1/logout", &[("Authorization", &bearer)], "");
    bob.client.rest();
    let all = (0.0, 16.0, 16.0, ends(&[("client", 1.0), ("session", 1.0)]));
    until("the end of both", || (counted(&gw) == all).then_some(()));
}

#[test]
fn bytes_are_counted_before_the_end() {
    let gw = start_with(|config| config.routes[0].websocket_idle = Duration::from_secs(2));
    let mut alice = gw.login("oAlice");
    open(&mut alice);
    until("bytes to be counted", || {
        says_hi(&mut alice.client);
        let (open, received, sent, _) = counted(&gw);
        (open == 1.0 && received >= 8.0 && sent >= 8.0).then_some(())
    });
}

#[test]
fn a_websocket_that_is_cut_with_the_process_leaves_a_whole_line() {
    let gw = start_with(|config| config.server.drain_timeout = Duration::from_hours(1));
    let mut alice = gw.login("oAlice");
    open(&mut alice);
    // Half a frame, so that nothing can be said to either side.
    alice.client.send(&HI[..7]);
    assert_eq!(alice.client.some(7), HI[..7]);
    let log = gw.log.clone();
    drop(gw);
    let line: serde_json::Value = serde_json::from_str(&log.line("\"ended_by\"")).unwrap();
    let told = json!([line["status"], line["received"], line["bytes"], line["ended_by"]]);
    assert_eq!(told, json!([101, 15, 15, "stop"]), "{line}");
}

#[test]
fn the_line_of_one_that_its_client_left_has_what_passed() {
    let gw = start();
    let mut alice = gw.login("oAlice");
    open(&mut alice);
    drop(alice);
    let line = line(&gw, "\"ended_by\"");
    assert_eq!(json!([line["received"], line["bytes"], line["ended_by"]]), json!([8, 8, "client"]), "{line}");
}
