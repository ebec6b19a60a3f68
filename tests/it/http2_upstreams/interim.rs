//! Interim answers: those that come before an answer are nobody's business here, and without end they are none.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use wxgate::upstream::Standing;

use super::gateway;
use crate::support::{
    http2::{HEADERS, RESET},
    http2_server::{Http2Server, Talk},
    until,
};

const CANCEL: u32 = 8;

/// Interim answers for as long as nothing is said to the server.
fn storm(talk: &mut Talk, stream: u32) -> io::Result<()> {
    while !talk.is_spoken_to()? {
        (0..100).try_for_each(|_| talk.interim(stream, &[("link", "</a>; rel=preload")]))?;
    }
    Ok(())
}

#[test]
fn a_hundred_interim_answers_leave_nothing_in_front_of_the_answer() {
    let server = Http2Server::start(&[], |talk, frame| {
        if frame.kind != HEADERS {
            return Ok(());
        }
        (0..100).try_for_each(|_| talk.interim(frame.stream, &[("link", "</a>; rel=preload")]))?;
        talk.answer(frame.stream, "ok")
    });
    let gw = gateway(&[server.addr()], |_| {});
    let mut client = gw.client();
    for _ in 0..8 {
        let reply = client.get("/public/");
        assert_eq!((reply.status, reply.header("link"), reply.text()), (200, None, "ok".to_owned()));
    }
    assert_eq!((server.places(), server.resets()), (vec![0; 8], vec![]));
}

/// The whole head counts, and not how little of it the compression has left.
#[test]
fn interim_answers_without_end_cost_only_the_stream() {
    let is_raging = AtomicBool::new(false);
    let server = Http2Server::start(&[], move |talk, frame| {
        match (frame.kind, frame.stream) {
            (HEADERS, 1) => is_raging.store(true, Ordering::SeqCst),
            (HEADERS, stream) => return talk.answer(stream, "ok"),
            (RESET, _) => is_raging.store(false, Ordering::SeqCst),
            _ => {}
        }
        if is_raging.load(Ordering::SeqCst) { storm(talk, 1) } else { Ok(()) }
    });
    // What would be waited for is more than a story has.
    let gw = gateway(&[server.addr()], |config| config.upstreams[0].response_timeout = Duration::from_hours(1));
    let reply = gw.client().post("/public/", "");
    let error = "The service behind this gateway can't be reached.";
    let line = gw.says_no(&reply, 502, "upstream_unreachable", error, &[]);
    assert!(line["cause"].as_str().unwrap().contains("no end of what comes before its answer"), "{line}");
    for _ in 0..3 {
        assert_eq!(gw.client().get("/public/").text(), "ok");
    }
    assert_eq!((server.resets(), server.places()), (vec![CANCEL], vec![0; 4]), "one connection for all of them");
}

#[test]
fn nor_are_they_an_answer_to_a_check() {
    let server = Http2Server::start(&[], |talk, frame| match frame.kind {
        HEADERS => loop {
            talk.interim(frame.stream, &[("link", "</a>; rel=preload")])?;
        },
        _ => Ok(()),
    });
    let gw = gateway(&[server.addr()], |config| {
        config.upstreams[0].health.path = Some("/health".to_owned());
        config.upstreams[0].health.interval = Duration::from_millis(20);
        config.upstreams[0].health.timeout = Duration::from_hours(1);
    });
    until("the checks to say so", || {
        (gw.app().upstreams().status()[0].servers[0].standing == Standing::Unhealthy).then_some(())
    });
}
