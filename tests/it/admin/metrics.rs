//! The metrics move by what happened, say so in a form that others read, and are all written down.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use wxgate::{simulator::Fault, store::Store};

use crate::support::{
    Client, TestGateway, refusing,
    scripted::{Point, Scripted},
    tls::{Authority, speak_tls},
    until,
    upstream::{Then, answer},
};

use crate::internal::gate::over_tls;

use super::{BEARER, open_metrics::Page, operator, sessions_of, with_token};

/// So long the number of sessions counts.
const FRESH: Duration = Duration::from_secs(10);

const DOCUMENT: &str = include_str!("../../../docs/METRICS.md");

fn page(gw: &TestGateway) -> Page {
    let reply = gw.admin().get("/metrics");
    assert_eq!(reply.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    Page::read(&reply.text())
}

/// Waits until a metric has this value: a request is counted when its answer has gone out, which is after it came in.
fn until_is(gw: &TestGateway, name: &str, labels: &[(&str, &str)], value: f64) {
    let mut last = 0.0;
    let what = format!("{name} {labels:?} to be {value}");
    until(&what, || {
        last = page(gw).value(name, labels);
        (last == value).then_some(())
    });
}

/// A day on which everything happens that is counted.
fn busy() -> TestGateway {
    let gw = with_token();
    let mut alice = gw.login("oAliceInTheMetrics");
    alice.get("/orders");
    gw.wechat.next_fault(Fault::Errcode { errcode: 40163, errmsg: None });
    gw.verify_code(&gw.code("oAliceInTheMetrics"));
    alice.get("/v1/session");
    operator(&gw, "DELETE", &sessions_of("oAliceInTheMetrics"));
    alice.get("/orders");
    gw.raw("GET / HTTP/1.1\nHost: a\n\n");
    gw
}

/// A gateway that speaks TLS, of which there are metrics too.
fn with_certificate() -> TestGateway {
    let ca = Authority::new();
    TestGateway::with(|config| _ = speak_tls(config, vec![ca.files("api", &["api.example.com"])]))
}

/// A gateway with backends, who come over TLS.
fn with_backends() -> TestGateway {
    over_tls(&Authority::new(), None, Some("the-backends-token"))
}

#[test]
fn the_page_is_strict_open_metrics() {
    page(&busy());
    page(&TestGateway::start());
    page(&with_certificate());
    page(&with_backends());
}

#[test]
fn every_metric_is_documented_with_its_labels_and_no_other() {
    let mut shown = BTreeMap::<String, BTreeSet<String>>::new();
    let families = [page(&busy()), page(&with_certificate()), page(&with_backends())].map(|page| page.families);
    for family in families.into_iter().flat_map(BTreeMap::into_values) {
        for (name, labels, _) in family.samples {
            let name = if family.kind == "histogram" { name.rsplit_once('_').unwrap().0.to_owned() } else { name };
            let entry = shown.entry(name).or_default();
            entry.extend(labels.into_keys().filter(|label| label != "le"));
        }
    }
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `wxgate_"));
    let words = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let documented: BTreeMap<String, BTreeSet<String>> = rows
        .map(|row| row.split('|').collect::<Vec<_>>())
        .map(|cells| (words(cells[1]).remove(0), words(cells[3]).into_iter().collect()))
        .collect();
    assert_eq!(documented, shown);
}

#[test]
fn every_value_of_a_label_of_outcomes_is_documented() {
    for (_, family) in page(&with_certificate()).families {
        for (name, labels, _) in &family.samples {
            for (label, value) in
                labels.iter().filter(|(label, _)| ["outcome", "operation", "status"].contains(&label.as_str()))
            {
                assert!(DOCUMENT.contains(&format!("`{value}`")), "{name}: {label} = {value}");
            }
        }
    }
}

#[test]
fn a_day_begins_with_zeros() {
    let gw = TestGateway::start();
    let page = page(&gw);
    for (name, family) in &page.families {
        for (sample, labels, value) in &family.samples {
            let moves_by_itself = ["wxgate_build", "wxgate_start_time_seconds", "wxgate_upstream_server_up"]
                .contains(&name.as_str())
                || name.starts_with("wxgate_config_last_reload")
                || name.starts_with("wxgate_store_operation");
            assert!(moves_by_itself || *value == 0.0, "{sample} {labels:?} {value}");
        }
    }
    assert_eq!(page.value("wxgate_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    for name in ["wxgate_start_time_seconds", "wxgate_config_last_reload_success_timestamp_seconds"] {
        assert_eq!(page.value(name, &[]), 1_790_000_000.0);
    }
    assert_eq!(page.value("wxgate_config_last_reload_successful", &[]), 1.0);
}

#[test]
fn logins_are_counted_by_what_came_of_them() {
    let gw = TestGateway::with(|config| config.limits.verify_in_flight = 1);
    let outcome = |name: &'static str| [("outcome", name)];
    let login_call = |name: &'static str| [("call", "login"), ("outcome", name)];
    gw.login("oAlice");
    for (errcode, word) in
        [(40163, "code_used"), (40029, "code_invalid"), (40226, "user_blocked"), (45011, "rate_limited")]
    {
        gw.wechat.next_fault(Fault::Errcode { errcode, errmsg: None });
        gw.verify_code(&gw.code("oBob"));
        until_is(&gw, "wxgate_logins_total", &outcome(word), 1.0);
        until_is(&gw, "wxgate_wechat_calls_total", &login_call(word), 1.0);
    }
    gw.client().post("/v1/verify", "[]");
    gw.client().get("/v1/verify");
    let code = gw.code("oCarol");
    assert_eq!([gw.verify_code(&code).status, gw.verify_code(&code).status], [200, 200]);
    until_is(&gw, "wxgate_logins_total", &outcome("success"), 3.0);
    until_is(&gw, "wxgate_logins_total", &outcome("bad_request"), 1.0);
    let page = page(&gw);
    assert_eq!(page.value("wxgate_logins_replayed_total", &[]), 1.0);
    assert_eq!(page.value("wxgate_wechat_calls_total", &login_call("ok")), 2.0);
    assert_eq!(page.value("wxgate_wechat_call_duration_seconds_count", &[("call", "login")]), 6.0);
    let sum: f64 = page.families["wxgate_logins"].samples.iter().map(|(.., value)| value).sum();
    assert_eq!(sum, 8.0, "a GET is no login");
}

#[test]
fn a_call_that_runs_out_of_time_is_counted_as_that() {
    let gw = TestGateway::with(|config| config.wechat.timeout = Duration::from_millis(200));
    gw.wechat.next_fault(Fault::Hang);
    assert_eq!(gw.verify_code(&gw.code("oAlice")).code(), "wechat_timeout");
    until_is(&gw, "wxgate_wechat_calls_total", &[("call", "login"), ("outcome", "timeout")], 1.0);
    until_is(&gw, "wxgate_logins_total", &[("outcome", "wechat_timeout")], 1.0);
}

#[test]
fn sessions_and_look_ups_are_counted() {
    let gw = with_token();
    let mut alice = gw.login("oAlice");
    gw.login("oBob");
    let lookups = |outcome: &'static str| page(&gw).value("wxgate_session_lookups_total", &[("outcome", outcome)]);
    assert_eq!(alice.get("/orders").status, 200);
    assert_eq!((lookups("hit"), lookups("miss"), lookups("denied")), (1.0, 0.0, 0.0));
    assert_eq!(page(&gw).value("wxgate_sessions_live", &[]), 2.0);
    operator(&gw, "DELETE", &sessions_of("oAlice"));
    assert_eq!(alice.get("/orders").status, 401);
    assert_eq!((lookups("hit"), lookups("denied")), (1.0, 1.0));
    gw.later(FRESH);
    let page = page(&gw);
    let value = |name: &str| page.value(name, &[]);
    let counted = ["issued_total", "revoked_total", "evicted_total", "live"]
        .map(|name| value(&format!("wxgate_sessions_{name}")));
    assert_eq!(counted, [2.0, 1.0, 0.0, 1.0]);
}

#[test]
fn requests_are_counted_by_route_or_endpoint_and_class_of_status() {
    let (_socket, nobody) = refusing();
    let gw = TestGateway::with(|config| {
        config.upstreams.push(wxgate::config::sections::Upstream::new("nobody", vec![nobody]));
        config.routes.push(wxgate::config::sections::Route::new("/a\"b\\c/", "nobody"));
    });
    let mut alice = gw.login("oAlice");
    assert_eq!(alice.get("/orders").status, 200);
    assert_eq!(gw.client().get("/a%2e%2e%2fc/").status, 400);
    assert_eq!(gw.client().get("/orders").status, 401);
    gw.upstream.does(|_, out| answer(out, "HTTP/1.1 304 Not Modified\r\n\r\n"));
    assert_eq!(gw.client().get("/public/").status, 304);
    assert_eq!(alice.get("/v1/session").status, 200);
    assert_eq!(gw.client().get("/v1/logout").status, 405);
    gw.raw("GET / HTTP/1.1\nHost: a\n\n");
    let total = "wxgate_requests_total";
    until_is(&gw, total, &[("route", "/"), ("status", "2xx")], 1.0);
    until_is(&gw, total, &[("route", "/"), ("status", "4xx")], 1.0);
    until_is(&gw, total, &[("route", "/public/"), ("status", "3xx")], 1.0);
    until_is(&gw, total, &[("endpoint", "verify"), ("status", "2xx")], 1.0);
    until_is(&gw, total, &[("endpoint", "session"), ("status", "2xx")], 1.0);
    until_is(&gw, total, &[("endpoint", "logout"), ("status", "4xx")], 1.0);
    until_is(&gw, total, &[("status", "4xx")], 2.0);
    assert_eq!(page(&gw).value(total, &[("route", "/a\"b\\c/"), ("status", "5xx")]), 0.0, "a label is escaped");
}

#[test]
fn a_client_that_goes_away_before_the_answer_is_counted_as_gone() {
    let gw = TestGateway::start();
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let finished = std::sync::Mutex::new(finished);
    gw.upstream.does(move |_, _| {
        // An error is the end of the story.
        let _: Result<(), _> = finished.lock().unwrap().recv();
        Then::Close
    });
    let mut client = gw.client();
    client.send("GET /public/ HTTP/1.1\r\nHost: a\r\n\r\n");
    gw.upstream.wait_for(1);
    drop(client);
    until_is(&gw, "wxgate_requests_total", &[("route", "/public/"), ("status", "gone")], 1.0);
    drop(finish);
}

#[test]
fn time_with_us_is_told_apart_from_time_with_an_upstream() {
    let gw = TestGateway::start();
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let finished = std::sync::Mutex::new(finished);
    gw.upstream.does(move |_, out| {
        finished.lock().unwrap().recv().unwrap();
        answer(out, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    });
    let mut client = gw.client();
    client.send("GET /public/ HTTP/1.1\r\nHost: a\r\n\r\n");
    gw.upstream.wait_for(1);
    let count = |name: &str| page(&gw).value(&format!("wxgate_{name}_duration_seconds_count"), &[]);
    assert_eq!((count("own"), count("upstream")), (0.0, 0.0));
    finish.send(()).unwrap();
    assert_eq!(client.reply().status, 200);
    assert_eq!((count("own"), count("upstream")), (1.0, 1.0));
    assert_eq!(client.get("/orders").status, 401);
    assert_eq!((count("own"), count("upstream")), (2.0, 1.0), "who is refused cost an upstream nothing");
}

#[test]
fn connections_are_counted_while_they_are_open_and_after() {
    let gw = TestGateway::start();
    let connected = |gw: &TestGateway| {
        let mut client = gw.client();
        assert_eq!(client.get("/public/").status, 200);
        client
    };
    let clients: [Client; 2] = [connected(&gw), connected(&gw)];
    until_is(&gw, "wxgate_connections_open", &[], 2.0);
    drop(clients);
    until_is(&gw, "wxgate_connections_open", &[], 0.0);
    assert_eq!(page(&gw).value("wxgate_connections_accepted_total", &[]), 2.0);
}

#[test]
fn what_the_store_is_asked_is_timed_and_what_it_fails_is_counted() {
    let store = Scripted::own();
    let gw = TestGateway::on(Some(Arc::clone(&store) as Arc<dyn Store>), |_| {});
    gw.login("oAlice");
    let done = |operation: &'static str| {
        let count = page(&gw).value("wxgate_store_operation_duration_seconds_count", &[("operation", operation)]);
        (count, page(&gw).value("wxgate_store_errors_total", &[("operation", operation)]))
    };
    assert_eq!(done("begin"), (1.0, 0.0));
    store.go_away();
    assert_eq!(gw.verify_code(&gw.code("oBob")).code(), "store_unavailable");
    assert_eq!(done("begin"), (2.0, 1.0));
    until_is(&gw, "wxgate_logins_total", &[("outcome", "store_unavailable")], 1.0);
}

#[test]
fn while_the_store_is_away_the_number_of_sessions_is_not_told_and_all_else_is() {
    let store = Scripted::own();
    let gw = TestGateway::on(Some(Arc::clone(&store) as Arc<dyn Store>), |_| {});
    gw.login("oAlice");
    assert_eq!(page(&gw).value("wxgate_sessions_live", &[]), 1.0);
    store.go_away();
    gw.later(FRESH);
    let page_then = page(&gw);
    assert!(!page_then.families.contains_key("wxgate_sessions_live"));
    assert_eq!(page_then.value("wxgate_sessions_issued_total", &[]), 1.0);
    store.come_back();
    gw.later(FRESH);
    assert_eq!(page(&gw).value("wxgate_sessions_live", &[]), 1.0);
}

#[test]
fn however_many_scrape_the_store_is_asked_for_the_number_of_sessions_once_in_ten_seconds() {
    let store = Scripted::own();
    let gw = TestGateway::on(Some(Arc::clone(&store) as Arc<dyn Store>), |_| {});
    gw.login("oAlice");
    let scraped = || (page(&gw).value("wxgate_sessions_live", &[]), store.asked("count"));
    assert_eq!([scraped(), scraped()], [(1.0, 1); 2]);
    gw.login("oBob");
    gw.later(FRESH / 2);
    assert_eq!(scraped(), (1.0, 1), "what was told before still counts");
    gw.later(FRESH / 2);
    assert_eq!([scraped(), scraped()], [(2.0, 2); 2]);
    store.go_away();
    gw.later(FRESH);
    for _ in 0..3 {
        assert!(!page(&gw).families.contains_key("wxgate_sessions_live"));
    }
    assert_eq!(store.asked("count"), 3, "a store in trouble is not asked more often");
}

#[test]
fn a_store_that_hangs_does_not_keep_the_metrics() {
    let store = Scripted::own();
    let gw = TestGateway::on(Some(Arc::clone(&store) as Arc<dyn Store>), |_| {});
    gw.login("oAlice");
    let gate = store.stop_at(Point::CountAsked);
    let page_then = page(&gw);
    assert!(!page_then.families.contains_key("wxgate_sessions_live"));
    assert_eq!(page_then.value("wxgate_sessions_issued_total", &[]), 1.0);
    gate.open();
    gw.later(FRESH);
    assert_eq!(page(&gw).value("wxgate_sessions_live", &[]), 1.0);
}

#[test]
fn the_metrics_name_nobody_and_hold_no_secret() {
    let gw = busy();
    let text = gw.admin().get("/metrics").text();
    for secret in ["oAliceInTheMetrics", "wxg_", BEARER.1, crate::support::SECRET, crate::support::APP] {
        assert!(!text.contains(secret), "{secret}");
    }
}
