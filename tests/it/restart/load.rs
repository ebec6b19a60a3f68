//! Requests that meet a restart: those that come, those that are under way, and those of clients who have been idle.

use std::{fs, process::Command};

use rustix::process::Signal;

use super::Story;
use crate::support::{
    binary::{Binary, folder, is_alive},
    client::head,
    http2::Http2,
    tls::{Authority, swap},
    until,
};

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/public/"), (":authority", "api.example.com")];

#[test]
fn under_load_not_one_request_fails_while_the_process_is_replaced() {
    let mut story = Story::begin("restart_memory", "");
    story.replaced_under_load(10, "/public/", "-");
    assert_eq!(story.gw.admin().get("/healthz").status, 200);
}

#[test]
fn under_load_not_one_request_fails_over_tls_either() {
    let (ca, place) = (Authority::new(), folder("restart_tls"));
    let tls = "[server.tls]\ncert = \"chain.pem\"\nkey = \"key.pem\"\n";
    let mut story = Story::served_by("restart_tls", "\"127.0.0.1:0\"", tls, |config| {
        let pair = ca.pair(&["api.example.com"]);
        fs::create_dir_all(&place).unwrap();
        swap(&place.join("chain.pem"), &pair.chain);
        swap(&place.join("key.pem"), &pair.key);
        Binary::serve("restart_tls", config, &[])
    });
    let dialler = ca.dialler();
    story.dial = Box::new(move |addr| dialler.dial(addr, "api.example.com"));
    story.replaced_under_load(3, "/public/", "-");
}

/// Nobody listens on some of the sockets that there were.
#[test]
fn under_load_not_one_request_fails_where_the_new_process_has_fewer_workers() {
    let name = "restart_fewer_workers";
    let mut story = Story::served_by(name, "\"127.0.0.1:0\"", "", |config| {
        Binary::serve(name, &config.replace("workers = 2", "workers = 4"), &[])
    });
    let file = folder(name).join("gateway.toml");
    swap(&file, &fs::read_to_string(&file).unwrap().replace("workers = 4", "workers = 1"));
    story.replaced_under_load(2, "/public/", "-");
}

#[test]
fn who_is_told_twice_in_a_row_makes_way_once() {
    let mut story = Story::begin("restart_twice", "");
    story.gw.signal(Signal::USR2);
    story.gw.signal(Signal::USR2);
    story.gw.await_successor();
    let successors = |story: &Story| story.gw.messages.text().matches("a new process takes over").count();
    assert_eq!((story.get("/public/", "-"), successors(&story)), (200, 1));
    story.gw.replace();
    assert_eq!((story.get("/public/", "-"), successors(&story)), (200, 2));
}

#[test]
fn what_is_under_way_ends_with_the_old_process() {
    let mut story = Story::begin("restart_long", "");
    let (mut long, finish) = story.with_a_long_one();
    story.gw.signal(Signal::USR2);
    story.gw.messages.line("replaced: another wxgate takes new connections");
    assert_eq!(story.get("/public/new", "-"), 200);
    finish.send(()).unwrap();
    assert_eq!(long.reply().text(), "ok");
    story.gw.await_successor();
}

#[test]
fn who_asks_on_an_idle_connection_is_answered_by_the_old_process_and_told_to_go() {
    let mut story = Story::with("restart_idle", "drain_timeout = \"2h\"\ndrain_idle = \"1h\"", "");
    let (mut used, mut fresh) = (story.client(), story.client());
    assert_eq!(used.get("/public/").header("connection"), None);
    story.gw.signal(Signal::USR2);
    story.gw.messages.line("replaced: another wxgate takes new connections");
    for client in [&mut used, &mut fresh] {
        // The workers hear of it a moment after the message.
        until("the old one to tell of it", || {
            let reply = client.post("/public/", "body");
            assert_eq!(reply.status, 200);
            (reply.header("connection") == Some("close")).then_some(())
        });
        assert!(client.is_closed());
    }
    story.gw.await_successor();
    assert_eq!(story.client().get("/public/").header("connection"), None, "the new one tells nobody to go");
}

#[test]
fn an_http2_client_is_told_to_go_as_soon_as_it_has_asked() {
    let http2 = "[server.http2]\nprior_knowledge = true\n";
    let mut story = Story::begin("restart_http2", http2);
    let connect = |story: &Story| Http2::over(story.client());
    let (mut used, mut fresh) = (connect(&story), connect(&story));
    assert_eq!(used.ask(&GET).verdict(), "200");
    story.gw.signal(Signal::USR2);
    assert!(used.last_words().is_some(), "a last stream is named");
    assert_eq!(fresh.ask(&GET).verdict(), "200");
    fresh.last_words();
    story.gw.await_successor();
}

#[test]
fn a_new_process_that_can_not_start_leaves_the_old_one_where_it_is() {
    let mut story = Story::begin("restart_bad", "");
    let file = folder("restart_bad").join("gateway.toml");
    let good = fs::read_to_string(&file).unwrap();
    swap(&file, "[server");
    story.gw.signal(Signal::USR2);
    story.gw.messages.line("the new process has failed; this one goes on");
    assert_eq!(story.get("/public/", "-"), 200);
    swap(&file, &good);
    story.gw.replace();
    assert_eq!(story.get("/public/", "-"), 200);
}

/// The new one can't read its configuration before somebody writes to the pipe that is there in its place.
#[test]
fn a_stop_while_a_new_process_starts_stops_that_one_too() {
    let mut story = Story::with("restart_stop", "watch = \"0s\"\ndrain_idle = \"0s\"", "");
    let place = folder("restart_stop");
    let made = Command::new("mkfifo").arg(place.join("pipe")).status().unwrap();
    assert!(made.success());
    fs::rename(place.join("pipe"), place.join("gateway.toml")).unwrap();
    let (mut long, finish) = story.with_a_long_one();
    story.gw.signal(Signal::USR2);
    let heir = story.gw.heir();
    story.gw.signal(Signal::TERM);
    until("the end of the new one", || (!is_alive(heir)).then_some(()));
    finish.send(()).unwrap();
    assert_eq!(long.reply().text(), "ok", "what is under way may finish");
    story.gw.await_end();
}

#[test]
fn who_waits_for_room_is_not_left_behind_by_the_old_process() {
    let mut story = Story::with("restart_full", "max_connections = 1", "");
    let (mut long, finish) = story.with_a_long_one();
    let mut patient: Vec<_> = (0..8).map(|_| story.client()).collect();
    for client in &mut patient {
        client.send(head("GET", "/public/", &[("Connection", "close")], 0));
    }
    story.gw.signal(Signal::USR2);
    story.gw.messages.line("replaced: another wxgate takes new connections");
    finish.send(()).unwrap();
    assert_eq!(long.reply().text(), "ok");
    drop(long);
    for client in &mut patient {
        assert_eq!(client.reply().status, 200);
    }
    story.gw.await_successor();
}
