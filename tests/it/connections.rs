//! Connections: deadlines, limits, and where one request ends and the next begins.

use std::{
    io::Read,
    net::TcpStream,
    sync::{Mutex, mpsc},
    time::Duration,
};

use wxgate::config::Config;

use crate::support::{
    Client, TestGateway,
    client::{Framing, head},
    until,
    upstream::{Then, answer},
};

const SOON: Duration = Duration::from_millis(200);

fn echo(gw: &TestGateway) {
    gw.upstream.does(|seen, out| {
        let text = format!("{} {}", seen.target, String::from_utf8_lossy(&seen.body));
        answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()))
    });
}

fn texts(client: &mut Client, count: usize) -> Vec<String> {
    (0..count).map(|_| client.reply().text()).collect()
}

#[test]
fn half_a_head_is_answered_and_closed() {
    let gw = TestGateway::with(|config| config.server.header_timeout = SOON);
    for sent in ["G", "GET /orders HTTP/1.1\r\n", "GET /orders HTTP/1.1\r\nHost: a\r\nX: ", "\r\n"] {
        let mut client = gw.client();
        let reply = client.raw(sent);
        assert_eq!((reply.status, reply.code().as_str()), (408, "request_timeout"), "{sent:?}");
        assert_eq!((reply.header("connection"), reply.framing), (Some("close"), Framing::Length));
        let id = reply.json()["requestId"].as_str().unwrap().to_owned();
        assert_eq!(reply.header("x-request-id"), Some(id.as_str()));
        gw.log.line(&id);
        assert!(client.is_closed());
    }
    // The same in the place of a second request.
    let mut client = gw.client();
    assert_eq!(client.get("/public/").status, 200);
    assert_eq!(client.raw("GET /or").code(), "request_timeout");
}

/// The line end lies unread before the end of the connection, which a look at the next byte alone does not see.
#[test]
fn a_line_end_behind_a_body_does_not_hide_that_the_client_has_gone() {
    let gw = TestGateway::start();
    for line_ends in ["\r\n", "\r\n\r\n"] {
        let (gone, heard) = mpsc::channel();
        let gone = Mutex::new(gone);
        gw.upstream.does(move |_, out| {
            let end = out.read(&mut [0; 1]);
            let _ = gone.lock().unwrap().send(matches!(end, Ok(0) | Err(_)));
            Then::Close
        });
        let before = gw.upstream.seen().len();
        let mut client = gw.client();
        client.send(head("POST", "/public/slow", &[], 4)).send("body");
        gw.upstream.wait_for(before + 1);
        client.send(line_ends).finish();
        assert!(heard.recv_timeout(Duration::from_secs(20)).unwrap(), "{line_ends:?}");
    }
    let line = gw.log.line("\"status\":499");
    assert!(line.contains("\"complete\":false"), "{line}");
}

#[test]
fn a_request_sent_behind_another_is_answered_though_its_client_says_no_more() {
    let gw = TestGateway::start();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    gw.upstream.does(move |seen, out| {
        let _ = wait.lock().unwrap().recv();
        answer(out, format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", seen.target.len(), seen.target))
    });
    let mut client = gw.client();
    client.send(head("POST", "/public/1", &[], 4)).send("body");
    gw.upstream.wait_for(1);
    client.send(format!("\r\n{}", head("GET", "/public/2", &[], 0))).finish();
    assert!(client.stays_silent(3 * SOON), "long enough for a look whether it is there");
    drop(go);
    assert_eq!(texts(&mut client, 2), ["/public/1", "/public/2"]);
}

/// Once it made a client that sends a line end behind its body wait for a 408 that it had not asked for.
#[test]
fn a_line_end_behind_a_request_begins_no_other() {
    let gw = TestGateway::with(|config| {
        config.server.header_timeout = SOON;
        config.server.keepalive_timeout = 8 * SOON;
    });
    let mut client = gw.client();
    for _ in 0..2 {
        assert_eq!(client.post("/public/", "body").status, 200);
        client.send("\r\n");
        assert!(client.stays_silent(4 * SOON), "longer than a head may take");
    }
    assert_eq!(client.rest(), b"", "nor does it keep the connection open");
    let mut client = gw.client();
    assert_eq!(client.post("/public/", "body").status, 200);
    assert_eq!(
        client.raw("\r\nGET /or").code(),
        "request_timeout",
        "half a head is one with a blank line before it too"
    );
}

/// Threat 43, for plain TCP.
#[test]
fn a_silent_connection_is_closed_without_a_word() {
    let gw = TestGateway::with(|config| config.server.header_timeout = SOON);
    assert_eq!(gw.client().rest(), b"");
    assert_eq!(gw.log.text(), "");
}

#[test]
fn a_body_that_stops_is_answered_and_closed() {
    let gw = TestGateway::with(|config| config.server.body_timeout = SOON);
    for path in ["/public/", "/v1/verify"] {
        for sent in [
            "Content-Length: 9\r\n\r\nhalf",
            "Transfer-Encoding: chunked\r\n\r\n9\r\nhalf",
            "Content-Length: 9\r\n\r\n",
        ] {
            let mut client = gw.client();
            let reply = client.raw(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{sent}"));
            assert_eq!((reply.status, reply.code().as_str()), (408, "request_timeout"), "{path} {sent:?}");
            assert_eq!(reply.header("connection"), Some("close"));
            assert!(client.is_closed());
        }
    }
    until("the upstream's connections to close", || (gw.upstream.open() == 0).then_some(()));
    assert_eq!(gw.upstream.seen().len(), 0);
}

/// Both deadlines are of the same length by default, and pass at the same moment.
#[test]
fn a_body_that_stops_is_not_the_upstreams_fault() {
    let gw = TestGateway::with(|config| {
        config.server.body_timeout = SOON;
        config.upstreams[0].response_timeout = SOON;
    });
    for _ in 0..20 {
        let reply = gw.raw(head("POST", "/public/", &[], 9));
        assert_eq!((reply.status, reply.code().as_str()), (408, "request_timeout"));
    }
}

/// An answer that came before the body was there does not end the body's deadline.
#[test]
fn a_body_that_stops_behind_its_answer_is_not_waited_for_either() {
    let gw = TestGateway::with(|config| config.server.body_timeout = SOON);
    let (open, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    gw.upstream.early(move |seen, out| {
        answer(out, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
        if seen.target.ends_with("unread") {
            let _ = wait.lock().unwrap().recv();
        }
        None
    });
    for (path, size) in [("/public/read", 20), ("/public/unread", 9_000_000)] {
        let mut client = gw.client();
        assert_eq!(client.raw(head("POST", path, &[], size)).text(), "early");
        // As much as there is room for, and not a byte more.
        client.give_up_sending_after(SOON).send(vec![b'x'; size - 10]);
        assert_eq!(client.rest(), b"", "{path}");
    }
    drop(open);
}

#[test]
fn an_idle_connection_is_closed_after_a_while() {
    let gw = TestGateway::with(|config| config.server.keepalive_timeout = SOON);
    let mut client = gw.client();
    assert_eq!(client.get("/public/").status, 200);
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_connection_is_as_good_as_new_after_a_pause() {
    let gw = TestGateway::start();
    echo(&gw);
    let mut client = gw.client();
    for n in 0..2 {
        assert_eq!(client.post(&format!("/public/{n}"), "body").text(), format!("/public/{n} body"));
        // Longer than the connection keeps its buffers.
        assert!(client.stays_silent(Duration::from_millis(1600)));
        client.send("G");
    }
    assert_eq!(client.raw("ET /public/2 HTTP/1.1\r\nHost: a\r\n\r\n").text(), "/public/2 ");
}

/// An answer that goes on for as long as it is taken.
fn without_end(out: &mut TcpStream, head: &str) -> Then {
    answer(out, head);
    let piece = vec![b'x'; 64 * 1024];
    while matches!(answer(out, &piece), Then::KeepOpen) {}
    Then::Close
}

#[test]
fn a_client_that_takes_nothing_is_cut_off() {
    let gw = TestGateway::with(|config| config.server.write_timeout = SOON);
    gw.upstream.does(|_, out| without_end(out, "HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n"));
    let mut client = gw.client();
    client.send(head("GET", "/public/", &[], 0));
    until("the upstream to be let go", || (gw.upstream.connections() == 1 && gw.upstream.open() == 0).then_some(()));
    assert!(client.rest().len() < 268_435_456);
    assert!(gw.log.line("/public/").contains("\"complete\":false"));
}

/// HTTP/1.0 knows no chunks: where the connection is the end of an answer, one that is cut must not look like it.
#[test]
fn who_is_cut_off_does_not_take_what_came_for_the_whole() {
    let gw = TestGateway::with(|config| config.server.write_timeout = SOON);
    gw.upstream.does(|_, out| without_end(out, "HTTP/1.1 200 OK\r\n\r\n"));
    let mut client = gw.client();
    client.send("GET /public/ HTTP/1.0\r\n\r\n");
    until("the upstream to be let go", || (gw.upstream.connections() == 1 && gw.upstream.open() == 0).then_some(()));
    let end = client.try_rest(&mut Vec::new());
    assert!(end.is_err(), "a clean end behind {end:?} bytes");
}

#[test]
fn the_next_connection_waits_until_there_is_room() {
    for workers in [1, 2] {
        let gw = TestGateway::with(|config| {
            config.server.max_connections = 1;
            config.server.workers = workers;
        });
        let mut first = gw.client();
        assert_eq!(first.get("/public/").status, 200);
        let mut others: Vec<Client> = (0..6).map(|_| gw.client()).collect();
        for client in &mut others {
            client.send(head("GET", "/public/", &[("Connection", "close")], 0));
        }
        assert!(others[0].stays_silent(SOON));
        assert_eq!((first.get("/public/").status, gw.upstream.seen().len()), (200, 2));
        drop(first);
        assert!(others.iter_mut().all(|client| client.reply().status == 200), "{workers} workers");
    }
}

#[test]
fn requests_sent_at_once_are_answered_in_order() {
    let gw = TestGateway::start();
    echo(&gw);
    let mut client = gw.client();
    let requests: String = (0..200).map(|n| head("GET", &format!("/public/{n}"), &[], 0)).collect();
    client.send(requests);
    for n in 0..200 {
        assert_eq!(client.reply().text(), format!("/public/{n} "));
    }
}

#[test]
fn a_request_behind_a_body_is_a_request() {
    let gw = TestGateway::start();
    echo(&gw);
    let bodies = [
        ("Content-Length: 5", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "2;a=b\r\nhe\r\n3\r\nllo\r\n000\r\nX-Sum: 1\r\n\r\n"),
    ];
    let once: String = (0..9)
        .map(|n| {
            let (framing, body) = bodies[n % 3];
            format!("POST /public/{n} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}")
        })
        .collect();
    let all = format!("{once}{}", head("GET", "/public/end", &[], 0));
    let expected: Vec<String> =
        (0..9).map(|n| format!("/public/{n} hello")).chain(["/public/end ".to_owned()]).collect();
    // In one piece, and in pieces of every small size.
    for size in [all.len(), 1, 2, 3, 5, 7, 11, 64, 101] {
        let mut client = gw.client();
        for piece in all.as_bytes().chunks(size) {
            client.send(piece);
        }
        assert_eq!(texts(&mut client, 10), expected, "in pieces of {size}");
    }
}

#[test]
fn a_head_may_come_in_two_pieces() {
    let gw = TestGateway::start();
    echo(&gw);
    let request = "POST /public/x?y HTTP/1.1\r\nHost: a\r\nX-Long: abc\r\nContent-Length: 2\r\n\r\nok";
    let mut client = gw.client();
    for at in 1..request.len() {
        client.send(&request[..at]).send(&request[at..]);
        assert_eq!(client.reply().text(), "/public/x?y ok", "cut at {at}");
    }
}

/// Threat 36, RUSTSEC-2025-0037: the body of a request that was refused unread is never taken for the next request.
#[test]
fn an_unread_body_is_never_read_as_a_request() {
    let gw = TestGateway::with(|config| config.server.max_body = 20);
    let inner = "GET /public/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunks = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    for (request, code) in [
        ("POST /orders HTTP/1.1\r\nHost: a\r\n", "token_missing"),
        ("POST /orders HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer wxg_x\r\n", "token_invalid"),
        ("POST /public/ HTTP/1.1\r\nHost: a\r\n", "body_too_large"),
        ("POST /public/a/../b HTTP/1.1\r\nHost: a\r\n", "bad_request"),
        ("POST /v1/session HTTP/1.1\r\nHost: a\r\n", "method_not_allowed"),
        ("GET /v1/session HTTP/1.1\r\nHost: a\r\n", "token_missing"),
        ("TRACE /public/ HTTP/1.1\r\nHost: a\r\n", "method_not_allowed"),
    ] {
        let length = format!("Content-Length: {}\r\n\r\n", inner.len());
        let chunked = "Transfer-Encoding: chunked\r\n\r\n".to_owned();
        for (framing, first, later) in [
            (&length, "", inner),
            (&length, &inner[..9], &inner[9..]),
            (&length, inner, ""),
            // A chunked body that does not even pretend to be one.
            (&chunked, "", inner),
            (&chunked, inner, ""),
            (&chunked, "", chunks.as_str()),
            (&chunked, chunks.as_str(), ""),
            (&chunked, &chunks[..6], &chunks[6..]),
        ] {
            let mut client = gw.client();
            client.send(format!("{request}{framing}{first}"));
            if code == "body_too_large" {
                client.send(later);
            }
            // A body in bad chunks may be found out before it is found to be too large.
            let reply = client.reply();
            let also = if code == "body_too_large" { "bad_request" } else { code };
            assert!([code, also].contains(&reply.code().as_str()), "{request} {reply:?}");
            client.send(later).send(head("GET", "/v1/session", &[], 0));
            // The next request gets its answer, or the connection has closed; nothing else is answered.
            if let Ok(next) = client.try_reply("GET") {
                assert_eq!(next.code(), "token_missing", "{request}{framing}{first}|{later}");
                assert!(client.stays_silent(Duration::from_millis(20)));
            }
            assert!(gw.upstream.seen().iter().all(|seen| !seen.target.contains("smuggled")), "{request}{framing}");
        }
    }
}

#[test]
fn a_small_body_that_nobody_read_costs_no_connection() {
    let gw = TestGateway::start();
    let mut client = gw.client();
    for _ in 0..3 {
        let reply = client.raw("POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!((reply.status, reply.header("connection")), (401, None));
    }
}

#[test]
fn a_client_is_told_when_its_unread_body_costs_the_connection() {
    let gw = TestGateway::start();
    for (path, status) in [("/orders", 401), ("/v1/session", 405), ("/v1/nothing", 401)] {
        let mut client = gw.client();
        let reply = client.raw(head("POST", path, &[], 5000));
        assert_eq!((reply.status, reply.header("connection")), (status, Some("close")), "{path}");
        assert!(client.is_closed());
    }
}

#[test]
fn an_upload_that_is_too_large_is_answered_in_a_way_that_can_be_read() {
    const SIZE: usize = 24 * 1024 * 1024;
    let gw = TestGateway::start();
    for path in ["/public/", "/orders"] {
        let mut client = gw.client();
        // All of it first, as simple clients do.
        client.send(head("POST", path, &[], SIZE)).send(vec![b'x'; SIZE]);
        let reply = client.reply();
        assert!(matches!(reply.code().as_str(), "body_too_large" | "token_missing"), "{reply:?}");
    }
    let mut client = gw.client();
    client.send("POST /public/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..SIZE / 65_536 {
        client.send("10000\r\n").send(vec![b'x'; 65_536]).send("\r\n");
    }
    assert_eq!(client.send("0\r\n\r\n").reply().code(), "body_too_large");
}

#[test]
fn bad_chunks_are_the_clients_fault() {
    let gw = TestGateway::start();
    for path in ["/public/", "/v1/verify"] {
        for body in [
            "x\r\n",
            "5\r\nhellooo\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "-1\r\n\r\n",
            "fffffffffffffffff\r\n",
            "5;\n\r\n",
        ] {
            let mut client = gw.client();
            let reply =
                client.raw(format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
            assert_eq!((reply.status, reply.code().as_str()), (400, "bad_request"), "{path} {body:?}");
            assert!(client.is_closed());
        }
    }
    assert_eq!(gw.upstream.seen().len(), 0);
}

#[test]
fn a_client_that_says_no_more_still_gets_its_answer() {
    let gw = TestGateway::start();
    echo(&gw);
    let mut client = gw.client();
    client.send(head("POST", "/public/", &[], 4)).send("last").finish();
    assert_eq!(client.reply().text(), "/public/ last");
    assert!(client.is_closed());
}

#[test]
fn a_client_that_says_no_more_in_the_middle_is_let_go() {
    let gw = TestGateway::start();
    for sent in ["GET /public/ HT", "POST /public/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf", ""] {
        let mut client = gw.client();
        client.send(sent).finish();
        client.rest();
    }
    until("the upstream's connections to close", || (gw.upstream.open() == 0).then_some(()));
    assert_eq!(gw.upstream.seen().len(), 0);
}

#[test]
fn a_refusal_comes_behind_the_answers_before_it() {
    let gw = TestGateway::start();
    echo(&gw);
    let mut client = gw.client();
    client.send(format!(
        "{}{}GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        head("GET", "/public/1", &[], 0),
        head("GET", "/public/2", &[], 0)
    ));
    assert_eq!(texts(&mut client, 2), ["/public/1 ", "/public/2 "]);
    assert_eq!(client.reply().code(), "bad_request");
    assert!(client.is_closed());
}

#[test]
fn blank_lines_between_requests_do_no_harm() {
    let gw = TestGateway::start();
    echo(&gw);
    let mut client = gw.client();
    for n in 0..3 {
        assert_eq!(
            client.raw(format!("\r\n{}", head("GET", &format!("/public/{n}"), &[], 0))).text(),
            format!("/public/{n} ")
        );
    }
}

/// What only fails with buffers of certain sizes: bodies around the powers of two, in both framings, on one connection.
#[test]
fn bodies_of_all_sizes_pass() {
    let gw = TestGateway::start();
    echo(&gw);
    let mut client = gw.client();
    for size in [1usize, 2, 1023, 4096, 8190, 8191, 8192, 8193, 16_384, 65_535, 65_536, 65_537, 300_000] {
        let body = "b".repeat(size);
        let expected = format!("/public/ {body}");
        assert!(client.post("/public/", &body).text() == expected, "{size} by length");
        let chunked = format!(
            "POST /public/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{size:X}\r\n{body}\r\n0\r\n\r\n"
        );
        client.send(chunked).send(head("GET", "/public/next", &[], 0));
        assert!(client.reply().text() == expected, "{size} in chunks");
        assert_eq!(client.reply().text(), "/public/next ");
    }
}

#[test]
fn limits_hold_for_every_request_of_a_connection() {
    let narrow = |config: &mut Config| {
        config.server.max_header_bytes = 512;
        config.server.max_uri_bytes = 64;
        config.server.max_headers = 5;
    };
    let gw = TestGateway::with(narrow);
    for (request, status, code) in [
        (head("GET", &format!("/public/{}", "x".repeat(60)), &[], 0), 414, "uri_too_long"),
        (head("GET", "/public/", &[("X", &"x".repeat(500))], 0), 431, "headers_too_large"),
        (head("GET", "/public/", &[("X", "x"); 5], 0), 431, "headers_too_large"),
    ] {
        let mut client = gw.client();
        assert_eq!(client.get("/public/").status, 200);
        let reply = client.raw(request);
        assert_eq!((reply.status, reply.code().as_str()), (status, code));
        assert!(client.is_closed());
    }
}
