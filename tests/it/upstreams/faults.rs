//! Servers at their worst: what clients are told, that nobody hears what was for another, and that it is over when its
//! cause is.

use std::{io::Write, net::TcpStream, thread, time::Duration};

use wxgate::upstream::Standing;

use super::{Backend, checked, gateway, until_they_stand};
use crate::support::{
    Seen, TestGateway,
    client::head,
    oracle::hears_its_own,
    upstream::{Then, answer},
};

const INTERIM: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";

/// Interim answers for as long as somebody takes them. Large ones, so that it is not the reading of them that takes its time.
fn storm(out: &mut TcpStream) -> Then {
    let large = INTERIM.replace("/a", &"/a".repeat(4 * 1024));
    while out.write_all(large.repeat(10).as_bytes()).is_ok() {}
    Then::Close
}

/// Says what it was asked for.
fn echo(seen: &Seen, out: &mut TcpStream) -> Then {
    let target = &seen.target;
    answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len()))
}

/// A connection that is reset has not ended: not even a body that only the connection's end would end.
#[test]
fn an_answer_that_is_reset_is_not_taken_for_a_whole_one() {
    let gw = TestGateway::start();
    for sent in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\n\r\nhalf",
    ] {
        gw.upstream.does(move |_, out| {
            answer(out, sent);
            Then::Reset
        });
        for request in ["GET /public/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET /public/ HTTP/1.0\r\n\r\n"] {
            let mut client = gw.client();
            client.send(request);
            match client.try_reply("GET") {
                // The reset may have come before the first byte was taken.
                Ok(reply) => {
                    assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_unreachable"), "{sent:?}");
                }
                Err(_) => drop(gw.log.line("the upstream's answer broke off")),
            }
        }
    }
}

#[test]
fn a_thousand_interim_answers_leave_nothing_in_front_of_the_answer_or_behind_it() {
    let gw = TestGateway::with(|config| config.server.workers = 1);
    gw.upstream.does(|seen, out| {
        answer(out, INTERIM.repeat(1000));
        echo(seen, out)
    });
    let mut client = gw.client();
    for n in 0..8 {
        let target = format!("/public/{n}");
        let reply = client.send(head("GET", &target, &[], 0)).interim();
        assert_eq!((reply.status, reply.header("link"), reply.text()), (200, None, target));
    }
    assert_eq!(gw.upstream.connections(), 1, "the connection is as good as any");
}

/// All that comes at once is read before anybody else has a turn, so it must not go on for ever.
#[test]
fn interim_answers_without_end_are_no_answer_and_hold_up_nobody() {
    let storm_at = Backend::start();
    storm_at.recorder.does(|_, out| storm(out));
    let gw = gateway(&[&storm_at], |upstream| {
        upstream.health.path = Some("/health".to_owned());
        upstream.health.interval = Duration::from_millis(20);
        // What would be waited for is more than a story has.
        upstream.health.timeout = Duration::from_mins(10);
        upstream.response_timeout = Duration::from_mins(10);
    });
    until_they_stand(&gw, &[Standing::Unhealthy]);
    for _ in 0..3 {
        assert_eq!(gw.client().get("/public/").code(), "upstream_unreachable");
        assert_eq!(gw.client().get("/v1/session").code(), "token_missing");
    }
}

/// Checks that find nobody well must not keep anybody from those who are well again.
#[test]
fn after_all_servers_were_down_the_first_request_finds_the_first_that_is_up() {
    let (one, other) = (Backend::start(), Backend::start());
    let gw = gateway(&[&one, &other], checked);
    for (first, second) in [(&one, &other), (&other, &one)] {
        first.cable.pull();
        second.cable.pull();
        until_they_stand(&gw, &[Standing::Unhealthy; 2]);
        for _ in 0..10 {
            assert_eq!(gw.client().get("/public/").code(), "upstream_unreachable");
        }
        first.cable.plug();
        assert_eq!(gw.client().get("/public/").status, 200, "no check has to come first");
        second.cable.plug();
        until_they_stand(&gw, &[Standing::Up; 2]);
    }
}

/// What all servers do at once, and what may be told of it: a code, or nothing but the end of the connection.
type Fault = (&'static str, fn(&Backend), &'static [&'static str]);

const FAULTS: [Fault; 7] = [
    ("refuse", |it| it.cable.pull(), &["upstream_unreachable"]),
    ("hang", |it| it.recorder.does(|_, _| Then::KeepOpen), &["upstream_timeout"]),
    ("storm", |it| it.recorder.does(|_, out| storm(out)), &["upstream_unreachable"]),
    ("reset", |it| it.recorder.does(|_, _| Then::Reset), &["upstream_unreachable"]),
    (
        "reset in the middle",
        |it| {
            it.recorder.does(|seen, out| {
                answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}", seen.target));
                Then::Reset
            });
        },
        &["broken off", "upstream_unreachable"],
    ),
    ("garbage", |it| it.recorder.does(|_, out| answer(out, "SSH-2.0-OpenSSH_9.2\r\n\r\n")), &["upstream_unreachable"]),
    (
        "close what is kept",
        |it| {
            it.recorder.does(|seen, out| {
                echo(seen, out);
                Then::Close
            });
        },
        &[],
    ),
];

#[test]
fn whatever_all_servers_do_clients_are_told_and_nobody_hears_what_was_for_another() {
    let backends = [Backend::start(), Backend::start()];
    let gw = gateway(&[&backends[0], &backends[1]], checked);
    for (name, begins, told) in FAULTS {
        backends.iter().for_each(begins);
        thread::scope(|scope| {
            for client in 0..8 {
                let gw = &gw;
                scope.spawn(move || (0..6).for_each(|n| ask(gw, &format!("/public/{client}-{n}"), name, told)));
            }
        });
        for backend in &backends {
            backend.recorder.does(echo);
            if name == "refuse" {
                backend.cable.plug();
            }
        }
        // It is over with its cause, before any check has said so.
        for n in 0..8 {
            ask(&gw, &format!("/public/after-{n}"), name, &[]);
        }
    }
}

/// The answer is one's own, or what may be told.
fn ask(gw: &TestGateway, target: &str, fault: &str, told: &[&str]) {
    hears_its_own(gw.client(), &head("GET", target, &[], 0), target, fault, told);
}
