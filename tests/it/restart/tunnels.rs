//! Tunnels that meet a restart: how long they go on, what they are told at the end, and who opens the next one.

use std::{
    fs::{self, File},
    io::Write,
    process::Command,
};

use rustix::{
    fs::{Mode, OFlags, open},
    process::Signal,
};

use super::{FILE, Story, in_redis};
use crate::{
    support::{
        Client,
        binary::{Binary, folder},
        redis_server::RedisServer,
        tls::swap,
        until,
    },
    websocket::{close, echoed, opening, says_hi},
};

/// So long that no story sees the end of it.
const PATIENT: &str = "watch = \"0s\"\ndrain_timeout = \"2h\"\ndrain_idle = \"1h\"";

/// A gateway that opens tunnels to a backend that sends everything back, with these lines more in `[server]`. It has one
/// worker: another could still let somebody in when this one tells its tunnels to go.
fn begin(name: &str, server: &str, sessions: &str) -> Story {
    let route = "[[routes]]\npath = \"/chat\"\nupstream = \"app\"\nwebsocket = true\n";
    let serve = |config: &str| {
        let config = config.replace("workers = 2\n", &format!("workers = 1\n{server}\n"));
        Binary::serve(name, &config, &[])
    };
    let story = Story::served_by(name, "\"127.0.0.1:0\"", &format!("{route}{sessions}"), serve);
    story.upstream.does(echoed);
    story
}

/// Asks for a WebSocket on a connection of its own.
fn ask(story: &Story, bearer: &str) -> Client {
    let mut client = story.client();
    client.send(opening("/chat", bearer.trim_start_matches("Bearer ")));
    client
}

/// A WebSocket through which a frame has gone and come back.
fn opened(mut client: Client) -> Client {
    let reply = client.interim();
    assert_eq!(reply.status, 101, "{reply:?}");
    says_hi(&mut client);
    client
}

/// The new process can't read its configuration before the story writes it to the pipe that is there in its place.
#[test]
fn a_websocket_goes_on_until_another_process_serves_and_the_next_one_is_opened_there() {
    let mut story = begin("restart_tunnel", PATIENT, "");
    let bearer = story.login();
    let mut tunnel = opened(ask(&story, &bearer));
    let (mut long, finish) = story.with_a_long_one();
    let (file, pipe) = (folder("restart_tunnel").join("gateway.toml"), folder("restart_tunnel").join("pipe"));
    let text = fs::read_to_string(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::rename(&pipe, &file).unwrap();
    story.gw.signal(Signal::USR2);
    let flags = OFlags::WRONLY | OFlags::NONBLOCK;
    let mut pipe = until("somebody who reads", || open(&file, flags, Mode::empty()).ok().map(File::from));
    says_hi(&mut tunnel);
    swap(&file, &text);
    pipe.write_all(text.as_bytes()).unwrap();
    drop(pipe);
    assert_eq!(tunnel.rest(), close(1001));
    story.gw.lines.line("\"ended_by\":\"stop\"");
    // The old process is still there, and has something to do.
    assert_eq!(story.get("/orders", &bearer), 401, "the new one knows nobody yet");
    let mut next = opened(ask(&story, &story.login()));
    finish.send(()).unwrap();
    assert_eq!(long.reply().text(), "ok");
    drop(long);
    story.gw.await_successor();
    says_hi(&mut next);
}

#[test]
fn with_sessions_in_redis_the_next_websocket_is_opened_with_the_same_token() {
    let server = RedisServer::start();
    let mut story = begin("restart_tunnel_redis", PATIENT, &in_redis(&server));
    let bearer = story.login();
    let mut tunnel = opened(ask(&story, &bearer));
    story.gw.signal(Signal::USR2);
    assert_eq!(tunnel.rest(), close(1001));
    let mut next = opened(ask(&story, &bearer));
    story.gw.await_successor();
    says_hi(&mut next);
}

#[test]
fn with_a_file_of_sessions_a_websocket_goes_on_for_as_long_as_others_may_still_come() {
    let mut story = begin("restart_tunnel_file", PATIENT, FILE);
    let bearer = story.login();
    let mut tunnel = opened(ask(&story, &bearer));
    story.gw.signal(Signal::USR2);
    story.gw.messages.line("another wxgate waits for the sessions");
    let late = opened(ask(&story, &bearer));
    says_hi(&mut tunnel);
    drop((tunnel, late));
    story.gw.await_successor();
    opened(ask(&story, &bearer));
}

#[test]
fn with_a_file_of_sessions_a_websocket_ends_after_that_time_and_the_next_one_waits_for_the_new_process() {
    let short = PATIENT.replace("1h", "300ms");
    let mut story = begin("restart_tunnel_ends", &short, FILE);
    let bearer = story.login();
    let mut tunnel = opened(ask(&story, &bearer));
    let (mut long, finish) = story.with_a_long_one();
    story.gw.signal(Signal::USR2);
    assert_eq!(tunnel.rest(), close(1001));
    story.gw.lines.line("\"ended_by\":\"stop\"");
    let next = ask(&story, &bearer);
    finish.send(()).unwrap();
    assert_eq!(long.reply().text(), "ok");
    let mut next = opened(next);
    story.gw.await_successor();
    says_hi(&mut next);
}
