//! Bodies in both directions: held back by whoever is slow, and ended when nobody wants them any more.

use std::{io, time::Duration};

use super::gateway;
use crate::support::{
    http2::{DATA, END_STREAM, Frame, GET, HEADERS, Http2, POST, RESET},
    http2_client::{send_while_taken, talk},
    http2_server::{Http2Server, Talk},
    until,
};

const CANCEL: u32 = 8;
/// The number of the setting for it.
const WINDOW: u16 = 4;

/// What the gateway lets a server send of one answer before its client has taken anything of it.
const STREAM_WINDOW: usize = 128 * 1024;

/// Sends as much as the window of a stream allows, as long as there is a window.
fn flood(talk: &mut Talk, stream: u32, bytes: usize) -> io::Result<()> {
    let piece = vec![b'x'; 16_384];
    (0..bytes / piece.len()).try_for_each(|_| talk.frame(DATA, 0, stream, &piece))
}

#[test]
fn a_client_that_reads_nothing_holds_the_server_back_and_nobody_else() {
    let server = Http2Server::start(&[], |talk, frame| match frame.kind {
        HEADERS if frame.stream == 1 => {
            talk.head(1, &[], false)?;
            flood(talk, 1, STREAM_WINDOW)
        }
        HEADERS => talk.answer(frame.stream, "ok"),
        _ => Ok(()),
    });
    let gw = gateway(&[server.addr()], |config| config.server.write_timeout = Duration::from_hours(1));
    let mut slow = Http2::with_settings(gw.client(), &[(WINDOW, 0)]);
    slow.open(&GET, true);
    server.wait_for(HEADERS, 1);
    for _ in 0..5 {
        assert_eq!(gw.client().get("/public/").text(), "ok");
    }
    let given: usize = server.given(1);
    assert!(given < STREAM_WINDOW, "{given} more bytes were asked for, for a client that takes none");
    assert_eq!(server.places(), [0; 6]);
}

/// Short messages, which nobody reads, are no flood: their server has not chosen that they lie here.
#[test]
fn nor_do_small_pieces_that_clients_leave_lying_end_the_connection_for_others() {
    let server = Http2Server::start(&[], |talk, frame| match frame.kind {
        HEADERS if frame.stream <= 9 => {
            talk.head(frame.stream, &[], false)?;
            (0..STREAM_WINDOW / 20).try_for_each(|_| talk.frame(DATA, 0, frame.stream, &[b'x'; 20]))
        }
        HEADERS => talk.answer(frame.stream, "ok"),
        _ => Ok(()),
    });
    let gw = gateway(&[server.addr()], |config| config.server.write_timeout = Duration::from_hours(1));
    let mut slow = Http2::with_settings(gw.client(), &[(WINDOW, 0)]);
    for _ in 0..5 {
        slow.open(&GET, true);
    }
    server.wait_for(HEADERS, 5);
    assert_eq!(gw.client().get("/public/").text(), "ok");
    assert_eq!(server.places(), [0; 6]);
}

/// What the server had sent before it heard that nobody wants it is no mistake of its own.
#[test]
fn clients_that_leave_large_answers_end_no_connection_for_others() {
    const ROUNDS: u32 = 3;
    let server = Http2Server::start(&[], |talk, frame| match frame.kind {
        HEADERS if frame.stream < 2 * 100 * ROUNDS => talk.head(frame.stream, &[], false),
        HEADERS => talk.answer(frame.stream, "ok"),
        RESET => (0..30).try_for_each(|_| talk.frame(DATA, 0, frame.stream, b"x")),
        _ => Ok(()),
    });
    let gw = gateway(&[server.addr()], |_| {});
    for round in 1..=ROUNDS {
        let mut client = Http2::over(gw.client());
        let streams: Vec<u32> = (0..100).map(|_| client.open(&GET, true)).collect();
        for _ in &streams {
            client.until(HEADERS);
        }
        for stream in streams {
            client.frame(RESET, 0, stream, &CANCEL.to_be_bytes());
        }
        server.wait_for(RESET, 100 * round as usize);
    }
    assert_eq!(gw.client().get("/public/").text(), "ok");
    assert!(server.places().iter().all(|connection| *connection == 0));
}

#[test]
fn a_server_that_takes_nothing_holds_the_client_back() {
    let server = Http2Server::start(&[(WINDOW, 1000)], |_, _| Ok(()));
    let gw = gateway(&[server.addr()], |config| {
        config.upstreams[0].response_timeout = Duration::from_hours(1);
        config.server.max_body = 100_000_000;
    });
    let mut client = gw.client();
    client.give_up_sending_after(Duration::from_millis(300));
    client.send("POST /public/ HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n");
    let taken = client.send_while_taken(90_000_000);
    assert!(taken < 20_000_000, "{taken}, and the kernel has most of it");
    server.wait_for(DATA, 1);
    assert_eq!(server.bytes(), 1000);
}

/// Over HTTP/2 it can be told how much the client may send: what the gateway holds of a body is its window, whatever the client has.
#[test]
fn a_server_that_takes_nothing_leaves_a_client_of_http2_its_window_and_no_more() {
    for window in [70_000, 500_000] {
        let server = Http2Server::start(&[(WINDOW, 1000)], |_, _| Ok(()));
        let gw = gateway(&[server.addr()], |config| {
            config.upstreams[0].response_timeout = Duration::from_hours(1);
            config.server.max_body = 100_000_000;
            config.server.http2.stream_window = window;
        });
        let taken = talk(gw.addr(), None, async |client| {
            let request = http::Request::post("http://api.example.com/public/").body(()).unwrap();
            let (_answer, mut out) = client.ready().await.unwrap().send_request(request, false).unwrap();
            send_while_taken(&mut out, 90_000_000).await
        });
        let window = usize::try_from(window).unwrap();
        assert!((window - 1000..2 * window).contains(&taken), "{taken} of a window of {window}");
        server.wait_for(DATA, 1);
        assert_eq!(server.bytes(), 1000);
    }
}

/// Answered early, such a connection was taken for an idle one after a second, and what had come of the body came back
/// as the next request.
#[test]
fn chunks_that_the_server_has_not_taken_are_never_read_as_a_request() {
    let server = Http2Server::start(&[(WINDOW, 0)], |talk, frame| match frame.kind {
        HEADERS => talk.answer(frame.stream, "enough"),
        _ => Ok(()),
    });
    let gw = gateway(&[server.addr()], |config| config.server.body_timeout = Duration::from_secs(2));
    let smuggled = "1E /public/smuggled HTTP/1.1\r\nHost: api.example.com\r\n\r\nxxxxx".to_owned();
    let lawful = format!("400\r\n{}", "x".repeat(0x400));
    let mut clients = [smuggled, lawful].map(|rest| {
        let mut client = gw.client();
        client.send("POST /public/x HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(format!("1\r\na\r\n1\r\nb\r\n{rest}\r\n0\r\n\r\n"));
        assert_eq!(client.reply().text(), "enough");
        client
    });
    for client in &mut clients {
        assert_eq!(String::from_utf8_lossy(&client.rest()), "", "it ends without another word");
    }
    assert_eq!(server.count(HEADERS), clients.len());
}

/// A server may say in a frame of its own that it has said all; or never, and its client is not to wait for that with its next request.
#[test]
fn an_answer_that_is_whole_ends_when_its_server_says_so_or_after_a_while() {
    let server = Http2Server::start(&[], |talk, frame| match (frame.kind, frame.stream) {
        (HEADERS, stream) => {
            talk.head(stream, &[("content-length", "2")], false)?;
            talk.frame(DATA, 0, stream, b"ok")?;
            if stream == 1 { talk.frame(DATA, END_STREAM, stream, b"") } else { Ok(()) }
        }
        _ => Ok(()),
    });
    let gw = gateway(&[server.addr()], |_| {});
    let mut client = gw.client();
    assert_eq!(client.get("/public/said").text(), "ok");
    assert!(gw.log.line("/public/said").contains("\"complete\":true"));
    assert_eq!(client.get("/public/unsaid").text(), "ok");
    assert_eq!(client.get("/public/unsaid").text(), "ok");
    server.wait_for(RESET, 1);
}

/// An end without another byte of the answer once left its client's connection as one that still has something to send, for ever.
#[test]
fn whoever_has_had_such_an_answer_is_let_go_when_nothing_more_is_asked() {
    let server = Http2Server::start(&[], |talk, frame| match (frame.kind, frame.stream) {
        (HEADERS, 1) => {
            talk.head(1, &[("content-length", "2")], false)?;
            talk.frame(DATA, 0, 1, b"ok")
        }
        (HEADERS, stream) => {
            talk.frame(DATA, END_STREAM, 1, b"")?;
            talk.answer(stream, "ok")
        }
        _ => Ok(()),
    });
    let gw = gateway(&[server.addr()], |config| config.server.keepalive_timeout = Duration::from_millis(300));
    let mut client = gw.client();
    assert_eq!(client.get("/public/").text(), "ok");
    assert_eq!(gw.client().get("/public/").text(), "ok");
    assert_eq!(client.try_rest(&mut Vec::new()).unwrap(), 0);
}

/// Each of these ends with a reset, and the connection goes on.
#[test]
fn what_nobody_waits_for_any_more_is_reset() {
    let server = Http2Server::start(&[], |talk, frame| match (frame.kind, frame.stream) {
        (HEADERS, 3) => talk.head(3, &[], false),
        (HEADERS, 7) => talk.answer(7, "ok"),
        _ => Ok(()),
    });
    let gw = gateway(&[server.addr()], |config| config.upstreams[0].response_timeout = Duration::from_hours(1));
    let mut client = Http2::over(gw.client());
    let before_an_answer = client.open(&GET, true);
    server.wait_for(HEADERS, 1);
    client.frame(RESET, 0, before_an_answer, &CANCEL.to_be_bytes());
    server.wait_for(RESET, 1);
    let in_an_answer = client.open(&GET, true);
    client.until(HEADERS);
    client.frame(RESET, 0, in_an_answer, &CANCEL.to_be_bytes());
    server.wait_for(RESET, 2);
    let in_its_body = client.open(&POST, false);
    client.frame(DATA, 0, in_its_body, b"pa");
    server.wait_for(DATA, 1);
    client.frame(RESET, 0, in_its_body, &CANCEL.to_be_bytes());
    server.wait_for(RESET, 3);
    assert_eq!(server.resets(), [CANCEL; 3]);
    assert_eq!((gw.client().get("/public/").text(), server.places()), ("ok".to_owned(), vec![0; 4]));
}

#[test]
fn no_answer_in_time_is_told_to_both_sides() {
    let server = Http2Server::start(&[], |_, _| Ok(()));
    let gw = gateway(&[server.addr()], |config| config.upstreams[0].response_timeout = Duration::from_millis(100));
    assert_eq!(gw.client().get("/public/").code(), "upstream_timeout");
    server.wait_for(RESET, 1);
    assert_eq!(server.resets(), [CANCEL]);
}

#[test]
fn an_answer_that_is_cut_is_not_taken_for_a_whole_one() {
    for reason in [0, 2, CANCEL] {
        let server = Http2Server::start(&[], move |talk, frame: &Frame| {
            if frame.kind != HEADERS {
                return Ok(());
            }
            talk.head(frame.stream, &[], false)?;
            talk.frame(DATA, 0, frame.stream, b"half")?;
            talk.reset(frame.stream, reason)
        });
        let gw = gateway(&[server.addr()], |_| {});
        let mut client = gw.client();
        client.send("GET /public/ HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.try_reply("GET").is_err(), "{reason}");
        gw.log.line("the upstream's answer broke off");
    }
}

/// The server has its answer and wants no more (RFC 9113, 8.1).
#[test]
fn an_answer_before_the_end_of_the_request_is_an_answer() {
    let server = Http2Server::start(&[(WINDOW, 0)], |talk, frame| {
        if frame.kind == HEADERS {
            talk.answer(frame.stream, "enough")?;
            talk.reset(frame.stream, 0)?;
        }
        Ok(())
    });
    let gw = gateway(&[server.addr()], |_| {});
    let mut client = gw.client();
    client.send("POST /public/ HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbegin");
    assert_eq!(client.reply().text(), "enough");
}

/// It neither takes the rest of the request nor says that it does not want it.
#[test]
fn an_upload_that_outlives_its_answer_and_does_not_go_on_is_ended() {
    let server = Http2Server::start(&[(WINDOW, 0)], |talk, frame| {
        if frame.kind == HEADERS { talk.answer(frame.stream, "enough") } else { Ok(()) }
    });
    let gw = gateway(&[server.addr()], |config| config.upstreams[0].response_timeout = Duration::from_millis(100));
    let mut client = gw.client();
    client.send("POST /public/ HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbegin");
    assert_eq!(client.reply().text(), "enough");
    server.wait_for(RESET, 1);
    assert_eq!(server.resets(), [CANCEL]);
}

/// Both directions at once, each as the other side goes on.
#[test]
fn each_side_hears_the_other_while_it_still_speaks() {
    let server = Http2Server::start(&[], |talk, frame| match frame.kind {
        HEADERS => talk.head(frame.stream, &[], false),
        DATA => talk.frame(DATA, frame.flags & END_STREAM, frame.stream, &frame.payload),
        _ => Ok(()),
    });
    let gw = gateway(&[server.addr()], |_| {});
    let mut client = Http2::over(gw.client());
    let stream = client.open(&POST, false);
    client.until(HEADERS);
    for word in [&b"one"[..], b"two", b"three"] {
        client.frame(DATA, 0, stream, word);
        assert_eq!(client.until(DATA).payload, word);
    }
    client.frame(DATA, END_STREAM, stream, b"");
    until("the end", || (client.until(DATA).flags & END_STREAM != 0).then_some(()));
}
