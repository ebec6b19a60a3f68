//! How many connections there are to a server, and which of them has a request.

use std::{
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use super::{before, gateway, h2c, open};
use crate::support::{
    Recorder, TestGateway,
    http2::{END_STREAM, HEADERS},
    http2_backend::{Answer, Backend},
    http2_server::Http2Server,
    refusing, until,
};

/// The number of the setting for it.
const MAX_STREAMS: u16 = 3;

/// Sends so many requests at once, and gives their statuses.
fn at_once(gw: &TestGateway, requests: usize) -> Vec<u16> {
    let addr = gw.addr();
    let asking =
        (0..requests).map(|_| thread::spawn(move || crate::support::Client::connect(addr).get("/public/").status));
    asking.collect::<Vec<_>>().into_iter().map(|asking| asking.join().unwrap()).collect()
}

#[test]
fn requests_that_come_at_once_share_one_connection() {
    let backend = Backend::start();
    let gw = before(&backend);
    let all_there = Arc::new(Barrier::new(1));
    backend.does(move |_| {
        all_there.wait();
        Answer::ok("ok")
    });
    assert_eq!(at_once(&gw, 20), [200; 20]);
    assert_eq!((backend.connections(), gw.retries()), (1, 0));
}

#[test]
fn where_a_connection_takes_no_more_the_next_one_is_opened() {
    let server = Http2Server::start(&[(MAX_STREAMS, 2)], |_, _| Ok(()));
    let gw = gateway(&[server.addr()], |config| config.upstreams[0].response_timeout = Duration::from_hours(1));
    let mut clients: Vec<_> = (0..5).map(|_| gw.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send("GET /public/ HTTP/1.1\r\nHost: a\r\n\r\n");
        server.wait_for(HEADERS, n + 1);
    }
    assert_eq!(server.places(), [0, 0, 1, 1, 2]);
    assert_eq!(open(&gw), 3);
}

#[test]
fn one_that_lies_unused_is_closed() {
    let backend = Backend::start();
    let gw = gateway(&[backend.addr()], |config| config.upstreams[0].idle_timeout = Duration::from_millis(100));
    assert_eq!(gw.client().get("/public/").status, 200);
    until("nothing is open", || (open(&gw) == 0).then_some(()));
    assert_eq!((gw.client().get("/public/").status, backend.connections(), gw.retries()), (200, 2, 0));
}

#[test]
fn there_are_no_more_connections_than_there_may_be_and_who_waits_gets_room() {
    let server = Http2Server::start(&[(MAX_STREAMS, 1)], |talk, frame| {
        if frame.kind == HEADERS && frame.flags & END_STREAM != 0 { talk.answer(frame.stream, "ok") } else { Ok(()) }
    });
    let gw = gateway(&[server.addr()], |config| {
        config.upstreams[0].max_connections = 1;
        config.upstreams[0].connect_timeout = Duration::from_secs(20);
    });
    assert_eq!(at_once(&gw, 20), [200; 20]);
    assert_eq!(server.places(), [0; 20]);
}

#[test]
fn who_finds_no_room_in_time_is_told_so() {
    let server = Http2Server::start(&[(MAX_STREAMS, 1)], |_, _| Ok(()));
    let gw = gateway(&[server.addr()], |config| {
        config.upstreams[0].max_connections = 1;
        config.upstreams[0].connect_timeout = Duration::from_millis(200);
        config.upstreams[0].response_timeout = Duration::from_hours(1);
    });
    let mut first = gw.client();
    first.send("GET /public/ HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for(HEADERS, 1);
    assert_eq!(gw.client().get("/public/").code(), "upstream_overloaded");
}

/// Nothing has been sent, so another server can be asked whatever the request does.
#[test]
fn a_server_that_speaks_something_else_is_passed_over() {
    let (plain, backend) = (Recorder::start(), Backend::start());
    let gw = gateway(&[plain.addr(), backend.addr()], |_| {});
    for _ in 0..4 {
        assert_eq!(gw.client().post("/public/", "pay").status, 200);
    }
    assert_eq!(backend.count(), 4);
    let gw = gateway(&[plain.addr()], |config| config.upstreams[0].connect_timeout = Duration::from_secs(20));
    assert_eq!(gw.client().get("/public/").code(), "upstream_unreachable");
    assert!(gw.log.line("it does not speak HTTP/2").contains("no HTTP connection to h2c://127.0.0.1"));
}

#[test]
fn all_who_wait_for_a_connection_hear_that_there_is_none() {
    let (_socket, nobody) = refusing();
    let gw = gateway(&[], |config| {
        config.upstreams[0].servers = vec![wxgate::config::sections::ServerAddress::ClearHttp2(nobody).into()];
    });
    assert_eq!(at_once(&gw, 10), [502; 10]);
}

#[test]
fn servers_that_speak_either_version_stand_beside_each_other() {
    let (old, new) = (Recorder::start(), Backend::start());
    let gw = TestGateway::with(|config| {
        config.server.workers = 1;
        config.upstreams[0].balance = wxgate::config::sections::Balance::RoundRobin;
        config.upstreams[0].servers = vec![crate::support::endpoint(old.addr()).into(), h2c(new.addr())];
    });
    for _ in 0..4 {
        assert_eq!(gw.client().post("/public/", "{}").status, 200);
    }
    assert_eq!((old.count(), new.count()), (2, 2));
}
