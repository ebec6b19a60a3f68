//! Servers that leave, refuse or break, and what of it is sent again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{gateway, open};
use crate::support::{
    TestGateway,
    http2::{DATA, END_STREAM, Frame, HEADERS},
    http2_server::{Http2Server, Talk},
    until,
};

const NO_ERROR: u32 = 0;
const REFUSED: u32 = 7;
const CANCEL: u32 = 8;

fn is_whole(frame: &Frame) -> bool {
    matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0
}

/// Answers whole requests; the first so many are met otherwise, as soon as their head is there.
fn meeting(
    first: usize,
    otherwise: impl Fn(&mut Talk, u32) -> std::io::Result<()> + Send + Sync + 'static,
) -> Http2Server {
    let met = Arc::new(AtomicUsize::new(0));
    Http2Server::start(&[], move |talk, frame| {
        if frame.kind == HEADERS && met.fetch_add(1, Ordering::SeqCst) < first {
            return otherwise(talk, frame.stream);
        }
        if is_whole(frame) && met.load(Ordering::SeqCst) > first { talk.answer(frame.stream, "ok") } else { Ok(()) }
    })
}

fn before(server: &Http2Server) -> TestGateway {
    gateway(&[server.addr()], |_| {})
}

/// A request whose body has not begun when the server has had its head.
fn slow_post(gw: &TestGateway) -> u16 {
    let mut client = gw.client();
    client.send("POST /public/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    client.send("pay");
    client.reply().status
}

#[test]
fn a_request_that_a_leaving_server_has_not_come_to_is_sent_again_whatever_it_does() {
    for (method, reason) in [("GET", NO_ERROR), ("POST", NO_ERROR), ("DELETE", 2)] {
        let server = meeting(1, move |talk, _| talk.leave(0, reason));
        let gw = before(&server);
        assert_eq!(gw.client().request(method, "/public/", &[], "").status, 200, "{method}");
        assert_eq!((server.places(), gw.retries()), (vec![0, 1], 1), "{method}");
    }
}

#[test]
fn a_request_that_was_refused_is_sent_again_on_another_connection() {
    let server = meeting(1, |talk, stream| talk.reset(stream, REFUSED));
    let gw = before(&server);
    assert_eq!(gw.client().request("DELETE", "/public/", &[], "").status, 200);
    assert_eq!((server.places(), gw.retries()), (vec![0, 1], 1));
}

#[test]
fn one_that_is_refused_twice_is_not_sent_a_third_time() {
    let server = meeting(100, |talk, stream| talk.reset(stream, REFUSED));
    let gw = before(&server);
    assert_eq!(gw.client().get("/public/").code(), "upstream_unreachable");
    assert_eq!((server.count(HEADERS), gw.retries()), (2, 1));
}

#[test]
fn without_a_budget_what_was_refused_stays_refused() {
    let server = meeting(100, |talk, stream| talk.reset(stream, REFUSED));
    let gw = gateway(&[server.addr()], |config| {
        config.upstreams[0].retry.percent = 0;
        config.upstreams[0].retry.min_per_second = 0;
    });
    for n in 1..=10 {
        assert_eq!(gw.client().post("/public/", "").code(), "upstream_unreachable");
        assert_eq!(server.count(HEADERS), n);
    }
}

/// It may have been done, for all that one can know.
#[test]
fn what_was_not_refused_is_not_sent_again() {
    for reason in [CANCEL, 2, 11] {
        let server = meeting(1, move |talk, stream| talk.reset(stream, reason));
        let gw = before(&server);
        assert_eq!(gw.client().post("/public/", "").code(), "upstream_unreachable", "{reason}");
        assert_eq!((server.count(HEADERS), gw.retries()), (1, 0), "{reason}");
    }
}

/// The body is gone: what was sent of it is not kept.
#[test]
fn a_request_whose_body_was_sent_is_not_sent_again() {
    let server = Http2Server::start(&[], |talk, frame| match frame.kind {
        DATA => talk.reset(frame.stream, REFUSED),
        _ => Ok(()),
    });
    let gw = before(&server);
    assert_eq!(gw.client().post("/public/", "pay").code(), "upstream_unreachable");
    assert_eq!((server.count(HEADERS), gw.retries()), (1, 0));
}

#[test]
fn a_body_that_had_not_begun_goes_with_the_second_try() {
    let server = meeting(1, |talk, stream| talk.reset(stream, REFUSED));
    let gw = before(&server);
    let mut client = gw.client();
    client.send("POST /public/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    server.wait_for(HEADERS, 2);
    client.send("pay");
    assert_eq!(client.reply().status, 200);
    assert_eq!((server.bytes(), gw.retries()), (3, 1));
}

#[test]
fn what_is_under_way_on_a_connection_that_is_left_ends_there() {
    let server = Http2Server::start(&[], |talk, frame| {
        if !is_whole(frame) {
            return Ok(());
        }
        if talk.nth == 0 && frame.stream == 1 {
            talk.head(1, &[], false)?;
            return talk.leave(1, NO_ERROR);
        }
        // The goodbye may still be on its way.
        talk.answer(frame.stream, if talk.nth == 0 { "old" } else { "new" })
    });
    let gw = before(&server);
    let mut first = gw.client();
    first.send("GET /public/ HTTP/1.1\r\nHost: a\r\n\r\n").head_only();
    until("the next one goes elsewhere", || (gw.client().get("/public/").text() == "new").then_some(()));
    assert_eq!(gw.client().get("/public/").text(), "new");
    assert_eq!(open(&gw), 2, "and the old one is still there");
}

#[test]
fn a_get_that_a_broken_connection_took_along_goes_to_another_server() {
    let (dying, well) = (meeting(100, |talk, _| talk.hang_up()), meeting(0, |_, _| Ok(())));
    let gw = gateway(&[dying.addr(), well.addr()], |config| {
        config.upstreams[0].balance = wxgate::config::sections::Balance::RoundRobin;
        config.upstreams[0].eject.failures = 0;
    });
    for _ in 0..4 {
        assert_eq!(gw.client().get("/public/").status, 200);
    }
    assert_eq!((gw.retries(), well.count(HEADERS)), (dying.count(HEADERS) as u64, 4));
    assert_eq!(
        (0..4).map(|_| gw.client().post("/public/", "").status).filter(|status| *status == 502).count(),
        2,
        "a POST may have been done"
    );
}

#[test]
fn a_server_that_breaks_again_and_again_is_left_alone() {
    let (dying, well) = (meeting(1000, |talk, _| talk.hang_up()), meeting(0, |_, _| Ok(())));
    let gw = gateway(&[dying.addr(), well.addr()], |config| {
        config.upstreams[0].balance = wxgate::config::sections::Balance::RoundRobin;
    });
    for _ in 0..20 {
        assert_eq!(gw.client().get("/public/").status, 200);
    }
    assert_eq!(dying.count(HEADERS), 5);
}

/// Whoever asks for a page that breaks the server's handler must not take the server away from others.
#[test]
fn a_server_that_breaks_off_single_answers_is_there_all_the_same() {
    let server = meeting(8, |talk, stream| talk.reset(stream, 2));
    let gw = before(&server);
    for _ in 0..8 {
        assert_eq!(gw.client().post("/public/", "").status, 502);
    }
    assert_eq!(gw.client().post("/public/", "").status, 200);
    assert_eq!(gw.app().upstreams().status()[0].servers[0].ejections, 0);
}

#[test]
fn a_kept_connection_that_closes_as_it_is_used_costs_nobody_anything() {
    let server = Http2Server::start(&[], |talk, frame| match (is_whole(frame), frame.stream) {
        (true, 1) => talk.answer(1, "ok"),
        (true, _) => talk.hang_up(),
        (false, _) => Ok(()),
    });
    let gw = gateway(&[server.addr()], |config| {
        config.upstreams[0].idle_timeout = std::time::Duration::from_hours(1);
        config.upstreams[0].eject.failures = 1;
    });
    for n in 0..20 {
        assert_eq!(gw.client().get("/public/").status, 200, "{n}");
    }
    assert!(gw.retries() >= 9, "{}", gw.retries());
}

/// A gateway that waited for the body before it sent the head would never hear of the refusal.
#[test]
fn a_slow_body_is_asked_for_once_its_head_was_taken() {
    let server = meeting(0, |_, _| Ok(()));
    let gw = before(&server);
    assert_eq!(slow_post(&gw), 200);
}

/// Ten requests are lost with one connection, and five failures are enough to be left alone.
#[test]
fn a_connection_that_breaks_is_one_failure_whatever_it_takes_along() {
    let dying = Http2Server::start(&[], |talk, frame| if frame.stream == 19 { talk.hang_up() } else { Ok(()) });
    let gw = gateway(&[dying.addr(), dying.addr()], |config| {
        // The same server under another name, so that there is one beside it.
        config.upstreams[0].servers[1].address =
            wxgate::config::sections::ServerAddress::ClearHttp2(wxgate::config::sections::Endpoint {
                host: "localhost".to_owned(),
                port: dying.addr().port(),
            });
        config.upstreams[0].balance = wxgate::config::sections::Balance::RoundRobin;
        config.upstreams[0].retry.percent = 0;
        config.upstreams[0].retry.min_per_second = 0;
    });
    let mut clients: Vec<_> = (0..20).map(|_| gw.client()).collect();
    for client in &mut clients {
        client.send("GET /public/ HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.reply().code(), "upstream_unreachable");
    }
    let standing = |at: usize| gw.app().upstreams().status()[0].servers[at].standing;
    assert_eq!([standing(0), standing(1)], [wxgate::upstream::Standing::Up; 2]);
}
