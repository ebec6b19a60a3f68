//! What operators see of it all.

use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use serde_json::{Value, json};
use wxgate::{config::sections::Upstream, model::Secret, upstream::Standing};

use super::{Backend, OK, gateway, servers, standings};
use crate::support::{TestGateway, client::head, until, upstream::answer};

fn shown(gw: &TestGateway) -> Value {
    let reply = gw.admin().request("GET", "/v1/upstreams", &[("Authorization", "Bearer operators-token!")], "");
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["upstreams"].clone()
}

/// One worker and these servers, which operators may look at.
fn open_to_operators(backends: &[&Backend], change: impl FnOnce(&mut Upstream)) -> TestGateway {
    TestGateway::with(|config| {
        config.admin.token = Some(Secret::new("operators-token!"));
        config.server.workers = 1;
        config.upstreams[0].servers = backends.iter().map(|backend| backend.server()).collect();
        change(&mut config.upstreams[0]);
    })
}

/// The value of a metric of a server, or of the upstream where none is named.
fn metric(gw: &TestGateway, name: &str, server: Option<&Backend>) -> String {
    let server = server.map(|server| format!(",server=\"http://{}\"", server.cable.addr())).unwrap_or_default();
    let begin = format!("wxgate_{name}{{upstream=\"app\"{server}}} ");
    let page = gw.admin().get("/metrics").text();
    page.lines().find_map(|line| line.strip_prefix(&begin)).expect("the metric").to_owned()
}

#[test]
fn a_server_that_is_left_alone_is_shown_and_counted() {
    let (bad, good) = (Backend::start(), Backend::start());
    let gw = open_to_operators(&[&bad, &good], |_| {});
    bad.cable.pull();
    until("the ejection", || {
        assert_eq!(gw.client().get("/public/").status, 200);
        (standings(&gw)[0] == Standing::Ejected).then_some(())
    });
    gw.later(Duration::from_millis(2500));
    let server = |backend: &Backend, state: &str, ejections: u64| {
        json!({
            "url": format!("http://{}", backend.cable.addr()), "weight": 1, "state": state, "ejections": ejections,
            "addresses": ["127.0.0.1"], "connections": ejections.abs_diff(1),
        })
    };
    let mut ejected = server(&bad, "ejected", 1);
    ejected["ejectedFor"] = json!(8);
    let expected = json!([{
        "name": "app", "balance": "least_outstanding", "waiting": 0, "servers": [ejected, server(&good, "up", 0)],
    }]);
    assert_eq!(shown(&gw), expected);

    let of = |name: &str, server: Option<&Backend>| metric(&gw, name, server);
    let up = [&bad, &good].map(|server| of("upstream_server_up", Some(server)));
    assert_eq!(up, ["0", "1"]);
    assert_eq!([of("upstream_ejections_total", Some(&bad)), of("upstream_retries_total", None)], ["1", "0"]);
    assert_eq!(of("upstream_connections_open", Some(&good)), "1");
}

#[test]
fn a_server_that_is_not_well_and_one_that_comes_back_are_shown_as_such() {
    let only = Backend::start();
    let gw = open_to_operators(&[&only], |upstream| {
        upstream.health.path = Some("/health".to_owned());
        upstream.health.interval = Duration::from_millis(20);
    });
    let until_it_is = |word: &str| until(word, || (shown(&gw)[0]["servers"][0]["state"] == word).then_some(()));
    until_it_is("up");
    only.recorder.answers("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    until_it_is("unhealthy");
    only.recorder.answers(OK);
    until_it_is("slow_start");
    gw.later(Duration::from_secs(10));
    until_it_is("up");
}

#[test]
fn requests_that_wait_for_a_connection_are_counted() {
    let only = Backend::start();
    let (open, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    only.recorder.does(move |_, out| {
        let _ = wait.lock().unwrap().recv();
        answer(out, OK)
    });
    let gw = open_to_operators(&[&only], |upstream| {
        upstream.max_connections = 1;
        upstream.connect_timeout = Duration::from_secs(20);
    });
    let mut clients = [0; 3].map(|_| gw.client());
    for client in &mut clients {
        client.send(head("GET", "/public/", &[], 0));
    }
    until("two of them to wait", || (shown(&gw)[0]["waiting"] == 2).then_some(()));
    drop(open);
    assert!(clients.iter_mut().all(|client| client.reply().status == 200));
    assert_eq!(shown(&gw)[0]["waiting"], 0);
}

/// Every connection that is opened is counted off when it closes, whatever ends it.
#[test]
fn connections_are_counted_on_and_off() {
    let (one, other) = (Backend::start(), Backend::start());
    let gw = gateway(&[&one, &other], |_| {});
    for _ in 0..20 {
        gw.client().get("/public/");
    }
    let open = |gw: &TestGateway| servers(gw).iter().map(|server| server.connections).sum::<usize>();
    assert!(open(&gw) > 0);
    one.cable.cut();
    other.cable.cut();
    until("all to be counted off", || (open(&gw) == 0).then_some(()));
}
