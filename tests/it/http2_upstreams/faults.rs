//! Servers of HTTP/2 at their worst: what clients are told, that nobody hears what was for another though they share
//! connections, and that it is over when its cause is.

use std::{
    io, iter,
    sync::{Arc, Mutex},
    thread,
};

use wxgate::{
    config::sections::{ServerAddress, UpstreamServer, UpstreamTls},
    upstream::Standing,
};

use super::{gateway, h2c};
use crate::{
    support::{
        TestGateway,
        cable::Cable,
        client::head,
        endpoint,
        http2::{DATA, END_HEADERS, END_STREAM, Frame, HEADERS},
        http2_backend::{Answer, Backend},
        http2_server::{Http2Server, Talk},
        oracle::hears_its_own,
        tls::Authority,
        until,
    },
    upstreams::checked,
};

const CANCEL: u32 = 8;

/// What a server does about a request: its stream, and its body.
type Does = fn(&mut Talk, u32, &[u8]) -> io::Result<()>;

/// A server behind a cable.
struct Server {
    does: Arc<Mutex<Does>>,
    cable: Cable,
}

impl Server {
    fn start() -> Self {
        let does = Arc::new(Mutex::new(echo as Does));
        let asked = Arc::clone(&does);
        let server = Http2Server::start(&[], move |talk, frame| {
            let does = *asked.lock().unwrap();
            if is_a_request(frame) { does(talk, frame.stream, &frame.payload) } else { Ok(()) }
        });
        Self { does, cable: Cable::to(server.addr()) }
    }

    fn does(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }
}

/// A body, or a head that nothing follows, as that of a check.
fn is_a_request(frame: &Frame) -> bool {
    (frame.kind == DATA && !frame.payload.is_empty()) || (frame.kind == HEADERS && frame.flags & END_STREAM != 0)
}

/// Says what it was told.
fn echo(talk: &mut Talk, stream: u32, body: &[u8]) -> io::Result<()> {
    talk.head(stream, &[], false)?;
    talk.frame(DATA, END_STREAM, stream, body)
}

fn half(talk: &mut Talk, stream: u32, body: &[u8]) -> io::Result<()> {
    talk.head(stream, &[("content-length", "1000")], false)?;
    talk.frame(DATA, 0, stream, body)
}

/// What all servers do at once, and what may be told of it: a code, or nothing but the end of the connection.
type Fault = (&'static str, fn(&Server), &'static [&'static str]);

const FAULTS: [Fault; 10] = [
    ("refuse", |it| it.cable.pull(), &["upstream_unreachable"]),
    ("hang", |it| it.does(|_, _, _| Ok(())), &["upstream_timeout"]),
    (
        "storm",
        |it| {
            it.does(|talk, stream, _| {
                let large = "x".repeat(8 * 1024);
                (0..70).try_for_each(|_| talk.interim(stream, &[("link", &large)]))
            });
        },
        &["upstream_unreachable"],
    ),
    ("reset", |it| it.does(|talk, stream, _| talk.reset(stream, CANCEL)), &["upstream_unreachable"]),
    (
        "reset in the middle",
        |it| {
            it.does(|talk, stream, body| {
                half(talk, stream, body)?;
                talk.reset(stream, CANCEL)
            });
        },
        &["broken off", "upstream_unreachable"],
    ),
    (
        "close in the middle",
        |it| {
            it.does(|talk, stream, body| {
                half(talk, stream, body)?;
                talk.hang_up()
            });
        },
        &["broken off", "upstream_unreachable"],
    ),
    ("close", |it| it.does(|talk, _, _| talk.hang_up()), &["upstream_unreachable"]),
    ("garbage", |it| it.does(|talk, _, _| talk.say(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")), &["upstream_unreachable"]),
    (
        "a head that can't be unpacked",
        |it| it.does(|talk, stream, _| talk.frame(HEADERS, END_HEADERS, stream, &[0xff; 8])),
        &["upstream_unreachable"],
    ),
    (
        "frames of nobody's stream",
        |it| it.does(|talk, stream, body| talk.frame(DATA, END_STREAM, stream + 1000, body)),
        &["upstream_unreachable"],
    ),
];

#[test]
fn whatever_all_servers_do_clients_are_told_and_nobody_hears_what_was_for_another() {
    let servers = [Server::start(), Server::start()];
    let gw = gateway(&servers.each_ref().map(|server| server.cable.addr()), |config| checked(&mut config.upstreams[0]));
    for (name, begins, told) in FAULTS {
        servers.iter().for_each(begins);
        thread::scope(|scope| {
            for client in 0..8 {
                let gw = &gw;
                scope.spawn(move || (0..4).for_each(|n| tells(gw, &format!("{client}-{n}"), name, told)));
            }
        });
        for server in &servers {
            server.does(echo);
            if name == "refuse" {
                server.cable.plug();
            }
        }
        // It is over with its cause, before any check has said so.
        for n in 0..8 {
            tells(&gw, &format!("after-{n}"), name, &[]);
        }
    }
}

/// The answer is one's own, or what may be told.
fn tells(gw: &TestGateway, own: &str, fault: &str, told: &[&str]) {
    let request = head("POST", "/public/", &[], own.len()) + own;
    hears_its_own(gw.client(), &request, own, fault, told);
}

fn stand(gw: &TestGateway, wanted: [Standing; 2]) {
    until(&format!("{wanted:?}"), || {
        let servers = gw.app().upstreams().status().swap_remove(0).servers;
        servers.iter().map(|server| server.standing).eq(wanted).then_some(())
    });
}

/// Checks that find nobody well must not keep anybody from those who are well again, with TLS or without.
#[test]
fn after_all_servers_were_down_the_first_request_finds_the_first_that_is_up() {
    let ca = Authority::new();
    let clear: fn(&Cable) -> UpstreamServer = |cable| h2c(cable.addr());
    let over_tls: fn(&Cable) -> UpstreamServer = |cable| ServerAddress::Http2(endpoint(cable.addr())).into();
    let kinds: [(fn(&Authority) -> Backend, _); 2] = [
        (|_| Backend::start(), clear),
        (|ca| Backend::over(Some(ca.acceptor(&["localhost"], &["h2"], None))), over_tls),
    ];
    for (start, address) in kinds {
        let backends: Vec<Backend> = iter::repeat_with(|| start(&ca)).take(2).collect();
        for backend in &backends {
            backend.answers(Answer::ok("well"));
        }
        let cables = [&backends[0], &backends[1]].map(|backend| Cable::to(backend.addr()));
        let gw = gateway(&[], |config| {
            config.upstreams[0].servers = cables.iter().map(address).collect();
            let server_name = Some("localhost".to_owned());
            config.upstreams[0].tls = UpstreamTls { ca: Some(ca.pem()), server_name, ..UpstreamTls::default() };
            checked(&mut config.upstreams[0]);
        });
        let get = || gw.client().get("/public/");
        assert_eq!(get().text(), "well");
        for (first, second) in [(&cables[0], &cables[1]), (&cables[1], &cables[0])] {
            first.pull();
            second.pull();
            stand(&gw, [Standing::Unhealthy; 2]);
            for _ in 0..10 {
                assert_eq!(get().code(), "upstream_unreachable");
            }
            first.plug();
            assert_eq!(get().text(), "well", "no check has to come first");
            second.plug();
            stand(&gw, [Standing::Up; 2]);
        }
    }
}
