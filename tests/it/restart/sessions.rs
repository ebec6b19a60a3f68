//! What becomes of sessions: in Redis both processes have them, in a file one after the other, and never nobody.

use std::{fs, sync::Mutex};

use rusqlite::Connection;
use rustix::process::{Signal, kill_process};

use super::{FILE, Story, in_redis};
use crate::support::{
    Recorder,
    binary::{folder, is_alive},
    client::head,
    redis_server::RedisServer,
    tls::swap,
    until,
    upstream::answer,
};

#[test]
fn with_a_file_of_sessions_nobody_fails_and_nobody_is_logged_out() {
    let mut story = Story::with("restart_file", "drain_idle = \"2s\"", FILE);
    let bearer = story.login();
    story.replaced_under_load(4, "/orders", &bearer);
    let bearer = story.login();
    assert_eq!(story.get("/orders", &bearer), 200);
}

#[test]
fn with_sessions_in_redis_nobody_fails_and_nobody_is_logged_out() {
    let server = RedisServer::start();
    let mut story = Story::begin("restart_redis", &in_redis(&server));
    let bearer = story.login();
    story.replaced_under_load(3, "/orders", &bearer);
    assert_eq!(story.client().request("POST", "/v1/logout", &[("Authorization", &bearer)], "").status, 204);
    assert_eq!(story.get("/orders", &bearer), 401);
}

/// The old process has a request under way for as long as that takes.
#[test]
fn what_is_changed_when_a_new_process_serves_is_told_to_whom_the_new_one_knows() {
    let server = RedisServer::start();
    let [before, after] = [(); 2].map(|()| {
        let receiver = Recorder::start();
        receiver.answers("HTTP/1.1 204 No Content\r\n\r\n");
        receiver
    });
    let webhook = |receiver: &Recorder| {
        format!(
            "[webhook]\nurl = \"http://{}/\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\nfirst_retry = \"10ms\"\n",
            receiver.addr()
        )
    };
    let mut story = Story::with("restart_webhook", "watch = \"0s\"", &(in_redis(&server) + &webhook(&before)));
    let bearer = story.login();
    let (mut long, finish) = story.with_a_long_one();
    let file = folder("restart_webhook").join("gateway.toml");
    swap(&file, &fs::read_to_string(&file).unwrap().replace(&webhook(&before), &webhook(&after)));
    story.gw.signal(Signal::USR2);
    story.gw.messages.line("replaced: another wxgate takes new connections");
    // What is to be tried again is whoever's comes first.
    let tries = Mutex::new(0);
    after.does(move |_, out| {
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        let busy = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
        answer(out, if *tries % 3 == 0 { "HTTP/1.1 204 No Content\r\n\r\n" } else { busy })
    });
    for n in 1..=5 {
        let name = format!(r#"{{"nickName":"{n}"}}"#);
        let reply = story.client().request("PUT", "/v1/profile", &[("Authorization", &bearer)], &name);
        assert_eq!(reply.status, 200, "{reply:?}");
        after.wait_for(3 * n);
    }
    assert_eq!(before.count(), 0);
    finish.send(()).unwrap();
    assert_eq!(long.reply().text(), "ok");
    story.gw.await_successor();
}

#[test]
fn while_a_new_process_waits_for_the_sessions_the_old_one_serves_and_tells_everybody_to_go() {
    let server = "drain_timeout = \"2h\"\ndrain_idle = \"1h\"";
    let mut story = Story::with("restart_file_idle", server, FILE);
    let bearer = story.login();
    let mut idle = story.client();
    assert_eq!(idle.get("/public/").status, 200);
    story.gw.signal(Signal::USR2);
    story.gw.messages.line("another wxgate waits for the sessions");
    let headers = [("Authorization", bearer.as_str())];
    for client in [&mut story.client(), &mut idle] {
        let reply = client.request("GET", "/orders", &headers, "");
        assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    }
    story.gw.await_successor();
    assert_eq!(story.get("/orders", &bearer), 200);
}

#[test]
fn what_changes_while_a_new_process_waits_is_in_use_when_it_serves() {
    let mut story = Story::with("restart_file_changes", "drain_idle = \"0s\"\nwatch = \"0s\"", FILE);
    let (mut long, finish) = story.with_a_long_one();
    story.gw.signal(Signal::USR2);
    story.gw.messages.line("another wxgate waits for the sessions");
    let file = folder("restart_file_changes").join("gateway.toml");
    let route = "[[routes]]\npath = \"/new/\"\nupstream = \"app\"\nauth = \"none\"\n";
    swap(&file, &(fs::read_to_string(&file).unwrap() + route));
    finish.send(()).unwrap();
    assert_eq!(long.reply().text(), "ok");
    story.gw.await_successor();
    until("the route", || (story.get("/new/", "-") == 200).then_some(()));
}

#[test]
fn a_new_process_that_dies_while_it_waits_for_the_sessions_leaves_them_to_the_old_one() {
    let mut story = Story::with("restart_file_dies", "drain_idle = \"0s\"", FILE);
    let bearer = story.login();
    let (mut long, finish) = story.with_a_long_one();
    story.gw.signal(Signal::USR2);
    story.gw.messages.line("another wxgate waits for the sessions");
    kill_process(story.gw.heir(), Signal::KILL).unwrap();
    let mut patient = story.client();
    patient.send(head("GET", "/orders", &[("Authorization", &bearer)], 0));
    finish.send(()).unwrap();
    assert_eq!(long.reply().text(), "ok");
    story.gw.messages.line("this one takes sessions and sockets back");
    assert_eq!(patient.reply().status, 200, "it has waited at the socket");
    story.gw.replace();
    assert_eq!(story.get("/orders", &bearer), 200, "and the next one gets them");
}

/// The new one could have the sessions, but not do anything with them.
#[test]
fn a_new_process_that_does_not_know_the_file_leaves_the_old_one_alone() {
    let mut story = Story::begin("restart_file_newer", FILE);
    let bearer = story.login();
    let file = Connection::open(folder("restart_file_newer").join("data/wxgate.db")).unwrap();
    let version: i64 = file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    file.pragma_update(None, "user_version", version + 1).unwrap();
    story.gw.signal(Signal::USR2);
    story.gw.messages.line("the new process has failed; this one goes on");
    assert!(story.gw.messages.text().contains("was written by a newer wxgate"), "{}", story.gw.messages.text());
    assert_eq!(story.get("/orders", &bearer), 200);
    file.pragma_update(None, "user_version", version).unwrap();
    drop(file);
    story.gw.replace();
    assert_eq!(story.get("/orders", &bearer), 200);
}

/// Under its second name the file can't be opened any more, since something has come in the way of its log.
#[test]
fn a_new_process_that_can_not_open_the_sessions_gives_them_back() {
    let mut story = Story::with("restart_file_cant", "drain_idle = \"0s\"", FILE);
    let bearer = story.login();
    let (place, data) = (folder("restart_file_cant"), folder("restart_file_cant").join("data"));
    fs::hard_link(data.join("wxgate.db"), data.join("second.db")).unwrap();
    let (file, in_the_way) = (place.join("gateway.toml"), data.join("second.db-wal"));
    let good = fs::read_to_string(&file).unwrap();
    swap(&file, &good.replace("data/wxgate.db", "data/second.db"));
    let (mut long, finish) = story.with_a_long_one();
    story.gw.signal(Signal::USR2);
    story.gw.messages.line("another wxgate waits for the sessions");
    let _ = fs::remove_file(&in_the_way);
    fs::create_dir(&in_the_way).unwrap();
    finish.send(()).unwrap();
    assert_eq!(long.reply().text(), "ok");
    story.gw.messages.line("this one takes sessions and sockets back");
    assert_eq!(story.get("/orders", &bearer), 200);
    swap(&file, &good);
    story.gw.replace();
    assert_eq!(story.get("/orders", &bearer), 200);
}

#[test]
fn a_stop_while_a_new_process_waits_for_the_sessions_stops_that_one_too() {
    let mut story = Story::with("restart_file_stop", "drain_idle = \"0s\"", FILE);
    let (mut long, finish) = story.with_a_long_one();
    story.gw.signal(Signal::USR2);
    story.gw.messages.line("another wxgate waits for the sessions");
    let heir = story.gw.heir();
    story.gw.signal(Signal::TERM);
    story.gw.messages.line("stopping");
    finish.send(()).unwrap();
    assert_eq!(long.reply().text(), "ok", "what is under way may finish");
    story.gw.await_end();
    assert!(!is_alive(heir));
    assert!(!story.gw.messages.text().contains("takes over"));
}
