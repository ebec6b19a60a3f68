//! How many connections there may be, and how many requests may wait for one.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{Backend, OK, gateway, servers};
use crate::support::{
    Client, TestGateway,
    client::head,
    until,
    upstream::{Then, answer},
};

/// A server that answers when it is told to.
#[derive(Clone, Default)]
struct Patience(Arc<(Mutex<bool>, Condvar)>, Arc<Held>);

/// Requests that a server has and has not answered, and the most that it ever had.
#[derive(Default)]
struct Held {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Patience {
    fn of(backend: &Backend) -> Self {
        let this = Self::default();
        let waits = this.clone();
        backend.recorder.does(move |_, out| {
            let now = waits.1.now.fetch_add(1, Ordering::SeqCst) + 1;
            waits.1.most.fetch_max(now, Ordering::SeqCst);
            waits.wait();
            waits.1.now.fetch_sub(1, Ordering::SeqCst);
            answer(out, OK)
        });
        this
    }

    fn most(&self) -> usize {
        self.1.most.load(Ordering::SeqCst)
    }

    fn wait(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |ended| !*ended).unwrap());
    }

    fn end(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

/// So many clients, each with a request under way.
fn asking(gw: &TestGateway, count: usize) -> Vec<Client> {
    let ask = |_| {
        let mut client = gw.client();
        client.send(head("GET", "/public/", &[], 0));
        client
    };
    (0..count).map(ask).collect()
}

fn overloads(gw: &TestGateway) -> u64 {
    gw.app().upstreams().status()[0].overloads
}

#[test]
fn requests_wait_for_a_connection_where_there_may_be_no_more() {
    let only = Backend::start();
    let patience = Patience::of(&only);
    let gw = gateway(&[&only], |upstream| upstream.max_connections = 2);
    let mut clients = asking(&gw, 6);
    only.recorder.wait_for(2);
    patience.end();
    assert!(clients.iter_mut().all(|client| client.reply().status == 200));
    // Never more at once. A connection that comes free while nobody waits for it any more may be closed, so how many there were in all
    // is not told by that.
    assert!(patience.most() <= 2 && overloads(&gw) == 0, "{}", patience.most());
}

/// The connections that the others keep are given back for those who wait, whichever worker has them.
#[test]
fn a_connection_that_another_worker_keeps_comes_free() {
    let only = Backend::start();
    let gw = TestGateway::with(|config| {
        config.server.workers = 4;
        config.upstreams[0].servers = vec![only.server()];
        config.upstreams[0].max_connections = 1;
        config.upstreams[0].idle_timeout = Duration::from_hours(1);
        config.upstreams[0].connect_timeout = Duration::from_secs(20);
    });
    for _ in 0..30 {
        assert_eq!(gw.client().get("/public/").status, 200);
        assert!(servers(&gw)[0].connections <= 1);
    }
}

#[test]
fn whoever_waits_in_vain_is_told_when_to_come_back() {
    let only = Backend::start();
    let patience = Patience::of(&only);
    let gw = gateway(&[&only], |upstream| {
        upstream.max_connections = 1;
        upstream.connect_timeout = Duration::from_millis(50);
    });
    let mut first = asking(&gw, 1);
    only.recorder.wait_for(1);
    let reply = gw.client().get("/public/");
    let error = "The service behind this gateway has too much to do.";
    let line = gw.says_no(&reply, 503, "upstream_overloaded", error, &[("retry-after", "1")]);
    assert!(line["cause"].as_str().unwrap().contains("is free"), "{line}");
    assert_eq!(overloads(&gw), 1);
    patience.end();
    assert_eq!((first[0].reply().status, gw.client().get("/public/").status), (200, 200));
}

#[test]
fn no_more_wait_than_may() {
    let only = Backend::start();
    let patience = Patience::of(&only);
    let gw = gateway(&[&only], |upstream| {
        upstream.max_connections = 1;
        upstream.max_pending = 1;
        upstream.connect_timeout = Duration::from_secs(20);
    });
    let mut first = asking(&gw, 1);
    only.recorder.wait_for(1);
    let mut others = asking(&gw, 3);
    until("two to be turned away", || (overloads(&gw) == 2).then_some(()));
    patience.end();
    assert_eq!(first[0].reply().status, 200);
    let statuses: Vec<u16> = others.iter_mut().map(|client| client.reply().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 2, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
}

#[test]
fn a_full_server_is_passed_over() {
    let (full, roomy) = (Backend::start(), Backend::start());
    let patience = Patience::of(&full);
    let gw = gateway(&[&full, &roomy], |upstream| {
        upstream.max_connections = 1;
        upstream.balance = wxgate::config::sections::Balance::RoundRobin;
    });
    let mut first = asking(&gw, 1);
    full.recorder.wait_for(1);
    for _ in 0..10 {
        assert_eq!(gw.client().get("/public/").status, 200);
    }
    assert_eq!(roomy.recorder.count(), 10);
    patience.end();
    assert_eq!(first[0].reply().status, 200);
}

/// The server closes the connection at the very moment when it is handed to a request that has waited for it. Nothing has been done with that,
/// and the server is no longer full: it was answered 502 all the same.
#[test]
fn who_has_waited_for_a_full_server_is_sent_again_like_anybody_else() {
    let only = Backend::start();
    let patience = Patience::default();
    let waits = patience.clone();
    only.recorder.does(move |seen, out| {
        if seen.nth > 0 {
            return Then::Close;
        }
        waits.wait();
        answer(out, OK)
    });
    let gw = gateway(&[&only], |upstream| upstream.max_connections = 1);
    let mut clients = asking(&gw, 4);
    only.recorder.wait_for(1);
    patience.end();
    let answers: Vec<_> = clients.iter_mut().map(|client| client.reply().verdict()).collect();
    assert_eq!(answers, ["200"; 4]);
}

/// A client that leaves gives up its place.
#[test]
fn a_client_that_leaves_waits_no_more() {
    let only = Backend::start();
    let patience = Patience::of(&only);
    let gw = gateway(&[&only], |upstream| {
        upstream.max_connections = 1;
        upstream.connect_timeout = Duration::from_secs(20);
    });
    let mut first = asking(&gw, 1);
    only.recorder.wait_for(1);
    drop(asking(&gw, 3));
    patience.end();
    assert_eq!((first[0].reply().status, gw.client().get("/public/").status), (200, 200));
    until("its place to come free", || (servers(&gw)[0].connections == 1).then_some(()));
}
