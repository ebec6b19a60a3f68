//! Time and ends: of a request, of a connection, and of the process.

use std::{
    sync::{Mutex, mpsc},
    thread::spawn,
    time::Duration,
};

use wxgate::server::Broken;

use super::{dial, start};
use crate::support::{
    TestGateway,
    http2::{DATA, END_STREAM, GET, GOAWAY, Http2, Outcome, POST, RESET, WINDOW_UPDATE, again, block, remember},
    until,
    upstream::{Then, answer},
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SOON: Duration = Duration::from_millis(300);

/// The numbers of the settings for them.
const MAX_STREAMS: u16 = 3;
const WINDOW: u16 = 4;
const MAX_HEAD: u16 = 6;

#[test]
fn what_a_client_takes_back_is_taken_back_from_the_upstream() {
    let gw = start(|_| {});
    let (hold, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    gw.upstream.does(move |_, out| {
        let _ = wait.lock().unwrap().recv();
        answer(out, OK)
    });
    let mut client = dial(&gw);
    let stream = client.open(&GET, true);
    gw.upstream.wait_for(1);
    client.frame(RESET, 0, stream, &8_u32.to_be_bytes());
    gw.log.line("\"path\":\"/public/\"");
    drop(hold);
    until("the upstream to be let go", || (gw.upstream.open() == 0).then_some(()));
    assert_eq!(client.ask(&[&GET[..3], &[(":path", "/nowhere-without-a-token")]].concat()).verdict(), "token_missing");
}

#[test]
fn a_connection_without_requests_is_told_to_go() {
    let gw = start(|config| config.server.keepalive_timeout = SOON);
    let mut client = dial(&gw);
    assert_eq!(client.ask(&GET).verdict(), "200");
    assert_eq!(client.last_words(), Some(0));
}

#[test]
fn who_never_asks_for_anything_goes_too() {
    let gw = start(|config| config.server.header_timeout = SOON);
    assert_eq!(dial(&gw).last_words(), Some(0));
}

#[test]
fn a_body_that_does_not_come_holds_up_nobody_else() {
    let gw = start(|config| config.server.body_timeout = SOON);
    let mut client = dial(&gw);
    let slow = client.open(&POST, false);
    client.frame(DATA, 0, slow, b"hel");
    assert_eq!(client.ask(&GET).verdict(), "200");
    assert_eq!(client.outcome(slow).verdict(), "request_timeout");
    assert_eq!(client.ask(&GET).verdict(), "200");
}

/// The upstream says `early` before it reads the body.
fn answers_early(gw: &TestGateway) {
    gw.upstream.early(|_, out| {
        answer(out, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
        None
    });
    gw.upstream.does(|_, _| Then::Close);
}

#[test]
fn a_body_that_stops_behind_its_answer_is_not_waited_for_either() {
    let gw = start(|config| config.server.body_timeout = SOON);
    answers_early(&gw);
    let mut client = dial(&gw);
    let stream = client.open(&POST, false);
    client.frame(DATA, 0, stream, b"hel");
    assert_eq!(client.outcome(stream), Outcome::Answer(true, "early".to_owned()));
    assert_eq!((gw.upstream.connections(), gw.upstream.count()), (1, 0), "it waits for the rest");
    until("the upstream to be let go", || (gw.upstream.open() == 0).then_some(()));
}

#[test]
fn a_body_that_goes_on_behind_its_answer_keeps_the_connection() {
    let gw = start(|config| config.server.keepalive_timeout = SOON);
    answers_early(&gw);
    let mut client = dial(&gw);
    let stream = client.open(&POST, false);
    client.frame(DATA, 0, stream, b"hel");
    assert_eq!(client.outcome(stream), Outcome::Answer(true, "early".to_owned()));
    assert!(client.client.stays_silent(3 * SOON), "it is not told to go");
    client.frame(DATA, END_STREAM, stream, b"lo");
    assert_eq!(&gw.upstream.wait_for(1)[0].body[..], b"hello");
    assert_eq!(client.last_words(), Some(0));
}

#[test]
fn an_upstream_that_takes_too_long_is_told_of() {
    let gw = start(|config| config.upstreams[0].response_timeout = SOON);
    let (_hold, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    gw.upstream.does(move |_, out| {
        let _ = wait.lock().unwrap().recv();
        answer(out, OK)
    });
    assert_eq!(dial(&gw).ask(&GET).verdict(), "upstream_timeout");
}

#[test]
fn a_client_that_opens_no_window_is_not_waited_for() {
    let gw = start(|config| config.server.write_timeout = SOON);
    let mut client = Http2::with_settings(gw.client(), &[(WINDOW, 0)]);
    let stream = client.open(&GET, true);
    assert!(matches!(client.outcome(stream), Outcome::Reset(_)));
    gw.log.line("\"path\":\"/public/\"");
}

#[test]
fn what_is_under_way_when_the_process_stops_is_finished() {
    let gw = start(|_| {});
    let (open, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    gw.upstream.does(move |_, out| {
        let _ = wait.lock().unwrap().recv();
        answer(out, OK)
    });
    let (mut client, mut idle) = (dial(&gw), dial(&gw));
    idle.until(4);
    let stream = client.open(&GET, true);
    gw.upstream.wait_for(1);
    let stopping = spawn(move || gw.stop());
    client.until(GOAWAY);
    assert_eq!(idle.last_words(), Some(0), "nothing is under way there");
    open.send(()).unwrap();
    assert_eq!(client.outcome(stream), Outcome::Answer(true, "ok".to_owned()));
    client.last_words();
    stopping.join().unwrap();
}

#[test]
fn a_client_is_told_at_the_beginning_how_much_it_may_ask_for_and_send() {
    let gw = start(|config| {
        let http2 = &mut config.server.http2;
        (http2.max_streams, http2.stream_window, http2.connection_window) = (7, 100_000, 300_000);
        config.server.max_header_bytes = 5000;
    });
    let mut client = dial(&gw);
    let settings = client.settings();
    for told in [(MAX_STREAMS, 7), (WINDOW, 100_000), (MAX_HEAD, 10_000)] {
        assert!(settings.contains(&told), "{told:?} in {settings:?}");
    }
    // A connection begins with room for 65,535 bytes of all bodies, and no setting changes that.
    let more = client.until(WINDOW_UPDATE);
    assert_eq!((more.stream, more.reason(0)), (0, 300_000 - 65_535));
}

#[test]
fn no_more_streams_are_opened_than_agreed() {
    let gw = start(|config| config.server.http2.max_streams = 2);
    let mut client = dial(&gw);
    let streams: Vec<u32> = (0..3).map(|_| client.open(&POST, false)).collect();
    assert_eq!(client.outcome(streams[2]), Outcome::Reset(7), "refused");
    assert_eq!(client.ask(&GET), Outcome::Reset(7), "and as long as they are under way");
}

#[test]
fn no_more_requests_are_under_way_than_agreed_whatever_connections_they_come_on() {
    let gw = start(|config| {
        config.server.workers = 1;
        config.server.max_connections = 2;
        config.server.http2.max_streams = 2;
    });
    let (open, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    gw.upstream.does(move |_, out| {
        let _ = wait.lock().unwrap().recv();
        answer(out, OK)
    });
    let (mut client, mut other) = (dial(&gw), dial(&gw));
    let streams = [client.open(&GET, true), client.open(&GET, true)];
    gw.upstream.wait_for(2);
    assert_eq!(other.ask(&GET).verdict(), "overloaded");
    gw.log.line("\"status\":503,\"code\":\"overloaded\"");
    drop(open);
    assert_eq!(client.outcome(streams[0]).verdict(), "200");
    assert_eq!(other.ask(&GET).verdict(), "200");
}

#[test]
fn what_was_wrong_with_a_connection_is_counted() {
    let gw = start(|_| {});
    let ends: [(u32, &dyn Fn(&mut Http2)); 4] = [
        (1, &|client| client.frame(DATA, 0, 0, b"of no stream")),
        (3, &|client| client.frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes())),
        (11, &|client| client.head(1, &[block(&GET), remember("x", &"y".repeat(2000)), again(1000)].concat(), true)),
        (11, &|client| {
            for _ in 0..1000 {
                let stream = client.open(&GET, true);
                client.frame(RESET, 0, stream, &8_u32.to_be_bytes());
            }
        }),
    ];
    for (reason, wrong) in ends {
        let mut client = dial(&gw);
        wrong(&mut client);
        assert_eq!(client.last_words().unwrap_or(reason), reason);
    }
    let counted = [("protocol", 1), ("flow_control", 1), ("flood", 2), ("stalled", 0)];
    assert_eq!(Broken::ALL.map(Broken::word), counted.map(|(word, _)| word));
    until("all of them", || (gw.app().counters().http2_broken.each() == counted).then_some(()));
}
