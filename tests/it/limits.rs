//! How many logins one address may try, and how many may wait for WeChat at once.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use wxgate::{
    config::{Config, sections::Rate},
    simulator::{Fault, Order},
};

use crate::support::{APP, Client, Reply, TestGateway, client, until};

const LIMITED: &str = "Too many logins. Try again a little later.";

/// Three logins per minute and address, from proxies on this machine.
fn three_per_minute(config: &mut Config) {
    config.limits.verify_per_ip = Rate { count: 3.try_into().unwrap(), per: Duration::from_mins(1) };
    config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
}

/// A login of a user of its own, as of this address behind the proxy.
fn login_from(gw: &TestGateway, ip: &str) -> Reply {
    let body = json!({ "jsCode": gw.code("oAlice"), "appId": APP }).to_string();
    gw.client().request("POST", "/v1/verify", &[("X-Forwarded-For", ip)], &body)
}

/// Who logs in that often gets the limit at the last of so many.
fn exhaust(gw: &TestGateway, ips: &[&str]) {
    for ip in ips.iter().cycle().take(3) {
        assert_eq!(login_from(gw, ip).status, 200, "{ip}");
    }
}

#[test]
fn an_address_that_logs_in_too_often_waits_until_its_budget_has_grown_again() {
    let gw = TestGateway::with(three_per_minute);
    exhaust(&gw, &["192.0.2.1"]);
    let reply = login_from(&gw, "192.0.2.1");
    let line = gw.says_no(&reply, 429, "rate_limited", LIMITED, &[("retry-after", "20")]);
    assert_eq!((&line["client"], &line["cause"]), (&json!("192.0.2.1"), &json!("a login limit of ours was reached")));
    let calls = gw.wechat.total_calls();

    gw.later(Duration::from_millis(19_500));
    gw.says_no(&login_from(&gw, "192.0.2.1"), 429, "rate_limited", LIMITED, &[("retry-after", "1")]);
    assert_eq!(gw.wechat.total_calls(), calls, "WeChat was not asked");
    gw.later(Duration::from_millis(500));
    assert_eq!(login_from(&gw, "192.0.2.1").status, 200);
    assert_eq!(login_from(&gw, "192.0.2.1").status, 429);
    gw.later(Duration::from_mins(1));
    exhaust(&gw, &["192.0.2.1"]);
}

#[test]
fn one_address_does_not_use_up_what_another_has() {
    let gw = TestGateway::with(three_per_minute);
    exhaust(&gw, &["192.0.2.1"]);
    assert_eq!(login_from(&gw, "192.0.2.1").status, 429);
    exhaust(&gw, &["192.0.2.2"]);
}

#[test]
fn a_whole_64_of_ipv6_is_one_address_and_ipv4_is_one_in_either_notation() {
    let gw = TestGateway::with(three_per_minute);
    exhaust(&gw, &["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"]);
    assert_eq!(login_from(&gw, "2001:db8::4").status, 429);
    exhaust(&gw, &["2001:db8:0:1::1"]);
    exhaust(&gw, &["192.0.2.1", "::ffff:192.0.2.1"]);
    assert_eq!(login_from(&gw, "::ffff:192.0.2.1").status, 429);
}

/// Threats 13 (CVE-2024-45806) and 2.5 (CVE-2024-21494): who is not trusted can't choose the address that counts.
#[test]
fn without_a_trusted_proxy_the_peers_own_address_counts() {
    let gw = TestGateway::with(|config| {
        three_per_minute(config);
        config.server.trusted_proxies.clear();
    });
    exhaust(&gw, &["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    let line = gw.says_no(&login_from(&gw, "192.0.2.4"), 429, "rate_limited", LIMITED, &[("retry-after", "20")]);
    assert_eq!(line["client"], "127.0.0.1");
}

#[test]
fn what_a_client_writes_in_front_of_the_proxys_word_does_not_count() {
    let gw = TestGateway::with(three_per_minute);
    exhaust(&gw, &["198.51.100.1, 192.0.2.1", "198.51.100.2, 192.0.2.1", "192.0.2.1"]);
    assert_eq!(login_from(&gw, "198.51.100.3, 192.0.2.1").status, 429);
}

#[test]
fn a_peer_on_ipv6_is_limited_too() {
    let gw = TestGateway::with(|config| {
        three_per_minute(config);
        config.server.listen = vec![SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0)).into()];
        config.server.trusted_proxies.clear();
    });
    exhaust(&gw, &["192.0.2.1"]);
    let line = gw.says_no(&login_from(&gw, "192.0.2.2"), 429, "rate_limited", LIMITED, &[("retry-after", "20")]);
    assert_eq!(line["client"], "::1");
}

#[test]
fn what_never_was_a_login_costs_nothing() {
    let gw = TestGateway::with(three_per_minute);
    for body in ["x", r#"{"jsCode":""}"#, r#"{"jsCode":"c","appId":"wx0"}"#] {
        for _ in 0..4 {
            assert_eq!(gw.client().post("/v1/verify", body).status, 400);
        }
    }
    assert_eq!(gw.client().get("/v1/verify").status, 405);
    exhaust(&gw, &["127.0.0.1"]);
}

// --- at once

fn send(gw: &TestGateway, openid: &str) -> Client {
    let body = json!({ "jsCode": gw.code(openid), "appId": APP }).to_string();
    let mut client = gw.client();
    client.send(client::head("POST", "/v1/verify", &[], body.len())).send(body);
    client
}

#[test]
fn only_so_many_logins_wait_for_wechat_at_once() {
    let gw = TestGateway::with(|config| config.limits.verify_in_flight = 2);
    gw.wechat.next_fault(Order::from(Fault::Hang).times(2));
    let mut waiting = [send(&gw, "oAlice"), send(&gw, "oBob")];
    gw.until_hanging(2);
    let reply = gw.verify_code(&gw.code("oCarol"));
    gw.says_no(&reply, 429, "rate_limited", LIMITED, &[("retry-after", "1")]);
    assert_eq!(gw.client().get("/public/").status, 200, "others are served meanwhile");

    gw.wechat.release();
    for client in &mut waiting {
        assert_eq!(client.reply().status, 200);
    }
    assert_eq!(gw.login("oCarol").get("/orders").status, 200);
    let metrics = gw.admin().get("/metrics").text();
    assert!(metrics.contains("wxgate_logins_limited_total 1\n"), "{metrics}");
}

/// Its exchange with WeChat goes on. If its place were free, clients that hang up could have any number under way.
#[test]
fn a_login_whose_client_is_gone_has_its_place_until_wechat_answers() {
    let gw = TestGateway::with(|config| config.limits.verify_in_flight = 1);
    gw.wechat.next_fault(Fault::Hang);
    drop(send(&gw, "oAlice"));
    gw.until_hanging(1);
    let line: Value = serde_json::from_str(&gw.log.line(r#""status":499"#)).unwrap();
    assert_eq!(line["endpoint"], "verify");
    let code = gw.code("oBob");
    assert_eq!(gw.verify_code(&code).verdict(), "429 rate_limited");
    gw.wechat.release();
    until("the place to be free", || (gw.verify_code(&code).status == 200).then_some(()));
}
