//! Where a request ends: whoever hopes that two servers see two borders finds that we see one, or refuse.

use crate::support::{
    Seen, TestGateway,
    upstream::{Then, answer},
};

/// A request that must never be one, inside of a body.
const SMUGGLED: &str = "GET /public/smuggled HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
const NEXT: &str = "GET /public/next HTTP/1.1\r\nHost: api.example.com\r\n\r\n";

/// Every way to put a request into a body that nobody reads.
fn bodies() -> Vec<(&'static str, String)> {
    let filler = "a".repeat(5000);
    let len = SMUGGLED.len();
    let chunk = |data: &str| format!("{:x}\r\n{data}\r\n", data.len());
    vec![
        ("a body of known length", format!("Content-Length: {len}\r\n\r\n{SMUGGLED}")),
        ("a long one", format!("Content-Length: {}\r\n\r\n{filler}{SMUGGLED}", len + 5000)),
        ("one chunk", format!("Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk(SMUGGLED))),
        (
            "the second chunk",
            format!("Transfer-Encoding: chunked\r\n\r\n{}{}0\r\n\r\n", chunk(&filler), chunk(SMUGGLED)),
        ),
        (
            "the middle of a chunk",
            format!("Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk(&format!("{filler}{SMUGGLED}"))),
        ),
        (
            "many chunks",
            format!("Transfer-Encoding: chunked\r\n\r\n{}{}0\r\n\r\n", chunk("a").repeat(500), chunk(SMUGGLED)),
        ),
    ]
}

/// Threat 36, RUSTSEC-2025-0037: what is left of a body that we did not read is no request.
#[test]
fn the_body_of_a_refused_request_is_never_taken_for_the_next_request() {
    let gw = TestGateway::with(|config| config.server.max_body = 4000);
    let requests = [
        ("POST /orders", "401 token_missing"),
        ("POST /v1/session", "405 method_not_allowed"),
        ("POST /public/%2e%2e/x", "400 bad_request"),
        ("TRACE /public/x", "405 method_not_allowed"),
        ("POST /v1/logout", "401 token_missing"),
    ];
    for (line, verdict) in requests {
        for (kind, body) in bodies() {
            let attack = gw.attack(format!("{line} HTTP/1.1\r\nHost: api.example.com\r\n{body}{NEXT}"));
            assert_eq!(attack.answer, verdict, "{line} with {kind}");
            let seen = targets(&attack.seen);
            assert!(seen.is_empty() || seen == ["/public/next"], "{line} with {kind}: {seen:?}");
        }
    }
}

/// A chunk whose second half is a request, and what follows it: the border between the halves is where we stop reading.
fn chunk_in_two() -> (String, String) {
    let filler = "a".repeat(5000);
    (format!("{:x}\r\n{filler}", 5000 + SMUGGLED.len()), format!("{SMUGGLED}\r\n0\r\n\r\n{NEXT}"))
}

#[test]
fn the_rest_of_a_body_that_is_too_large_is_never_taken_for_a_request() {
    let gw = TestGateway::with(|config| config.server.max_body = 4096);
    let (first, second) = chunk_in_two();
    for path in ["/v1/verify", "/public/x"] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n");
        let (seen, _) = gw.reached(|| {
            let mut client = gw.client();
            let reply = client.send(&head).raw(&first);
            assert_eq!((reply.verdict().as_str(), reply.header("connection")), ("413 body_too_large", Some("close")));
            client.send(&second);
            assert_eq!(String::from_utf8_lossy(&client.rest()), "", "{path}: the connection ends with the 413");
        });
        assert_eq!(targets(&seen), [""; 0], "{path}");
    }
}

/// An upstream that answers before it has read the body stops reading. What is left is no request either.
#[test]
fn the_rest_of_a_body_that_an_upstream_did_not_want_is_never_taken_for_a_request() {
    let gw = TestGateway::start();
    gw.upstream.early(|seen, out| {
        let early = seen.target == "/public/early";
        early
            .then(|| answer(out, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"))
            .map(|_| Then::Close)
    });
    let (first, second) = chunk_in_two();
    let length = 5000 + SMUGGLED.len();
    let chunked = ("Transfer-Encoding: chunked".to_owned(), first, second);
    let counted = (format!("Content-Length: {length}"), "a".repeat(5000), format!("{SMUGGLED}{NEXT}"));
    for (framing, first, second) in [chunked, counted] {
        let head = format!("POST /public/early HTTP/1.1\r\nHost: api.example.com\r\n{framing}\r\n\r\n");
        let (seen, _) = gw.reached(|| {
            let mut client = gw.client();
            let reply = client.send(&head).raw(&first);
            assert_eq!((reply.status, reply.text().as_str()), (200, "ok"), "{framing}");
            client.send(&second).finish();
            client.rest();
        });
        assert!(!targets(&seen).contains(&"/public/smuggled"), "{framing}: {seen:?}");
    }
}

fn targets(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.target.as_str()).collect()
}
