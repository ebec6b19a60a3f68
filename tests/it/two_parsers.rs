//! Bytes that two HTTP parsers could read differently. Some the parser refuses by itself, and the others it would repair or pass on;
//! both are held here, so that neither an upgrade nor a tidy-up can let one through.

use crate::support::{Seen, TestGateway};

fn get(lines: &str) -> Vec<u8> {
    format!("GET /public/x HTTP/1.1\r\nHost: api.example.com\r\n{lines}\r\n").into_bytes()
}

fn post(lines: &str, body: &str) -> Vec<u8> {
    format!("POST /public/x HTTP/1.1\r\nHost: api.example.com\r\n{lines}\r\n\r\n{body}").into_bytes()
}

fn line(line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: api.example.com\r\n\r\n").into_bytes()
}

/// What the parser refuses before there is a request.
fn refused_by_the_parser() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("an opaque target", line("GET http:http://internal/public/x HTTP/1.1")),
        ("a raw byte beyond UTF-8", b"GET /public/\xff HTTP/1.1\r\nHost: api.example.com\r\n\r\n".to_vec()),
        ("angle brackets in the path", line("GET /public/<x> HTTP/1.1")),
        ("a quote in the query", line("GET /public/x?\" HTTP/1.1")),
        ("two spaces before the target", line("GET  /public/x HTTP/1.1")),
        ("two spaces after the target", line("GET /public/x  HTTP/1.1")),
        ("a space in the path", line("GET /public/x y HTTP/1.1")),
        ("a tab for a space", line("GET\t/public/x\tHTTP/1.1")),
        ("no target", line("GET HTTP/1.1")),
        ("no version", line("GET /public/x")),
        ("HTTP/1.2", line("GET /public/x HTTP/1.2")),
        ("HTTP/2.0", line("GET /public/x HTTP/2.0")),
        ("a version in lower case", line("GET /public/x http/1.1")),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("no method", line(" /public/x HTTP/1.1")),
        ("a method with a colon", line("GE:T /public/x HTTP/1.1")),
        ("a list of lengths", post("Content-Length: 2, 2", "ab")),
        ("a length with a sign", post("Content-Length: +2", "ab")),
        ("a negative length", post("Content-Length: -2", "ab")),
        ("a length in hex", post("Content-Length: 0x2", "ab")),
        ("an empty length", post("Content-Length:", "ab")),
        ("a blank length", post("Content-Length: \t", "ab")),
        ("a length beyond all", post("Content-Length: 18446744073709551618", "ab")),
        ("a space before the colon of the encoding", post("Transfer-Encoding : chunked", "0\r\n\r\n")),
        ("a space before the colon of the length", post("Content-Length : 2", "ab")),
        ("a form feed behind chunked", post("Transfer-Encoding: chunked\u{c}", "0\r\n\r\n")),
        ("HTTP/1.0 with chunks", b"POST /public/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec()),
        ("an empty name", get(": evil\r\n")),
        ("a line without a colon", get("X-WX-OPENID evil\r\n")),
        ("a space before a colon", get("X-WX-OPENID : evil\r\n")),
        ("a space in a name", get("X-A X-WX-OPENID: evil\r\n")),
        ("a NUL in a name", get("X-A\0: b\r\n")),
        ("a NUL in a value", get("X-A: b\0c\r\n")),
        ("a carriage return in a value", get("X-A: b\rX-WX-OPENID: evil\r\n")),
        ("a delete in a value", get("X-A: b\u{7f}\r\n")),
    ]
}

/// What the parser would let through, repair or hide, and what it would refuse but we get to first: the answer is ours.
fn refused_by_us() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("two lengths", post("Content-Length: 2\r\nContent-Length: 3", "abc")),
        ("xchunked", post("Transfer-Encoding: xchunked", "0\r\n\r\n")),
        ("chunked, identity", post("Transfer-Encoding: chunked, identity", "0\r\n\r\n")),
        ("a vertical tab before chunked", post("Transfer-Encoding: \u{b}chunked", "0\r\n\r\n")),
        ("a folded line", get("X-A: b\r\n c: d\r\n")),
        ("a folded line by tab", get("X-A: b\r\n\tX-WX-OPENID: evil\r\n")),
        ("a folded first line", b"GET /public/x HTTP/1.1\r\n X: y\r\nHost: api.example.com\r\n\r\n".to_vec()),
        ("101 headers", get(&"A: b\r\n".repeat(100))),
        ("a 500 KB header", get(&format!("A: {}\r\n", "b".repeat(500_000)))),
        ("a 70 KB target", line(&format!("GET /public/{} HTTP/1.1", "a".repeat(70_000)))),
        ("a climb", line("GET /public/../admin HTTP/1.1")),
        ("an encoded climb", line("GET /public/%2e%2e/admin HTTP/1.1")),
        ("an encoded slash", line("GET /public/a%2fb HTTP/1.1")),
        ("a backslash", line("GET /public/a\\b HTTP/1.1")),
        ("a semicolon", line("GET /public/a;b HTTP/1.1")),
        ("an encoded NUL", line("GET /public/%00 HTTP/1.1")),
        ("raw UTF-8 in the path", line("GET /public/é HTTP/1.1")),
        ("a length and chunks", post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
        ("chunks and a length", post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n")),
        ("one length twice", post("Content-Length: 2\r\ncontent-length: 2", "ab")),
        ("gzip, chunked", post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n")),
        ("gzip", post("Transfer-Encoding: gzip", "")),
        ("identity", post("Transfer-Encoding: identity", "")),
        ("chunked, chunked", post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n")),
        ("two lines of chunked", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
        ("chunked and identity lines", post("Transfer-Encoding: chunked\r\ntransfer-encoding: identity", "0\r\n\r\n")),
        ("chunked in quotes", post("Transfer-Encoding: \"chunked\"", "0\r\n\r\n")),
        ("an empty encoding", post("Transfer-Encoding:", "")),
        ("line feeds alone", b"GET /public/x HTTP/1.1\nHost: api.example.com\n\n".to_vec()),
        ("one line feed alone", b"GET /public/x HTTP/1.1\r\nHost: api.example.com\nX-WX-OPENID: evil\r\n\r\n".to_vec()),
        ("a line feed alone at the end", b"GET /public/x HTTP/1.1\r\nHost: api.example.com\r\n\n".to_vec()),
        ("no Host", b"GET /public/x HTTP/1.1\r\n\r\n".to_vec()),
        ("an empty Host", b"GET /public/x HTTP/1.1\r\nHost:\r\n\r\n".to_vec()),
        ("two Hosts", get("Host: api.example.com\r\n")),
        ("two different Hosts", get("host: evil\r\n")),
        ("a list of Hosts", b"GET /public/x HTTP/1.1\r\nHost: api.example.com, evil\r\n\r\n".to_vec()),
        ("two Hosts in HTTP/1.0", b"GET /public/x HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n".to_vec()),
        ("a Host unlike the target's", line("GET http://evil/public/x HTTP/1.1")),
        ("a port unlike the target's", line("GET http://api.example.com:81/public/x HTTP/1.1")),
        ("a user in the target", line("GET http://me@api.example.com/public/x HTTP/1.1")),
        ("an absolute target alone", b"GET http://api.example.com/public/x HTTP/1.1\r\n\r\n".to_vec()),
        ("a fragment", line("GET /public/x#y HTTP/1.1")),
        ("a word for a target", line("GET admin HTTP/1.1")),
        ("an authority for a target", line("GET host:80 HTTP/1.1")),
        ("a star for a target", line("OPTIONS * HTTP/1.1")),
        ("CONNECT", line("CONNECT internal:443 HTTP/1.1")),
        ("CONNECT with a path", line("CONNECT /public/x HTTP/1.1")),
        ("TRACE", line("TRACE /public/x HTTP/1.1")),
        (
            "HTTP/1.0 with two encodings",
            b"POST /public/x HTTP/1.0\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_vec(),
        ),
        (
            "HTTP/1.0 with a length and chunks",
            b"POST /public/x HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
        ),
        ("three blank lines first", b"\r\n\r\n\r\nGET /public/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n".to_vec()),
    ]
}

/// Where our answer is another than `400 bad_request`.
fn verdict(case: &str) -> &'static str {
    match case {
        "101 headers" | "a 500 KB header" => "431 headers_too_large",
        "a 70 KB target" => "414 uri_too_long",
        "CONNECT" | "CONNECT with a path" | "TRACE" => "405 method_not_allowed",
        _ => "400 bad_request",
    }
}

/// Threats 24, 30, 31, 32, 37, 38, 39: RUSTSEC-2021-0020, -0078, -0079, RUSTSEC-2026-0034, CVE-2023-25725,
/// CVE-2023-40225, CVE-2023-27491, and what else parsers do and do not refuse.
#[test]
fn what_two_parsers_could_read_differently_reaches_nobody() {
    let gw = TestGateway::start();
    for (case, bytes) in refused_by_the_parser().into_iter().chain(refused_by_us()) {
        let attack = gw.attack(&bytes);
        assert_eq!(attack.answer, verdict(case), "{case}");
        assert_eq!((attack.seen.len(), attack.bytes), (0, 0), "{case}: {:?}", attack.seen);
        let reply = attack.reply.unwrap();
        assert_eq!(reply.header("connection"), Some("close"), "{case}: where the next request begins is in doubt");
    }
}

#[test]
fn a_refusal_tells_its_code_its_id_and_that_nobody_may_keep_it() {
    let gw = TestGateway::start();
    let mut told = Vec::new();
    for (case, bytes) in refused_by_us() {
        let reply = gw.raw(&bytes);
        let body = reply.json();
        let names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["code", "error", "requestId"], "{case}");
        assert_eq!(body["requestId"].as_str(), reply.header("x-request-id"), "{case}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{case}");
        assert_eq!(reply.header("content-type"), Some("application/json; charset=utf-8"), "{case}");
        told.push((case, body["requestId"].clone(), body["code"].clone()));
    }
    for (case, id, code) in told {
        let line = gw.log.line(id.as_str().unwrap());
        assert!(line.contains(&format!("\"code\":{code}")), "{case}: {line}");
    }
}

/// What came through, as it came through.
fn forwarded(gw: &TestGateway, head: &str) -> Seen {
    let attack = gw.attack(head);
    assert_eq!((attack.answer.as_str(), attack.seen.len()), ("200", 1), "{head:?}");
    attack.seen.into_iter().next().unwrap()
}

#[test]
fn what_is_only_unusual_is_forwarded_in_the_usual_form() {
    let gw = TestGateway::start();
    for head in [
        "GET /public/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        "\r\nGET /public/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        "GET //public/./x HTTP/1.1\r\nhOsT:api.example.com\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost:\t api.example.com \t\r\n\r\n",
        "GET http://api.example.com/public/x HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        "GET /public/x HTTP/1.0\r\nHost: api.example.com\r\n\r\n",
        "GET http://api.example.com/public/x HTTP/1.0\r\n\r\n",
    ] {
        let seen = forwarded(&gw, head);
        assert!(seen.head.starts_with("GET /public/x HTTP/1.1\r\n"), "{head:?}: {}", seen.head);
        assert_eq!(seen.header("host"), Some("api.example.com"), "{head:?}");
        assert_eq!(seen.header("x-forwarded-host"), Some("api.example.com"), "{head:?}");
    }
    let own = format!("127.0.0.1:{}", gw.upstream.addr().port());
    assert_eq!(forwarded(&gw, "GET /public/x HTTP/1.0\r\n\r\n").header("host"), Some(own.as_str()));
}

#[test]
fn what_concerns_one_connection_stays_on_it() {
    let gw = TestGateway::start();
    for lines in [
        "Connection: close",
        "Connection: keep-alive\r\nKeep-Alive: timeout=5",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        "connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
        "Connection: x-mine, X-Mine-Too\r\nX-Mine: 1\r\nX-MINE-TOO: 1",
        "TE: trailers, deflate\r\nTrailer: X-A\r\nProxy-Connection: keep-alive",
        "Proxy-Authorization: Basic ZXZpbA==\r\nProxy-Authenticate: Basic",
        "Expect: 100-continue",
        "Connection: content-type, cookie\r\nContent-Type: text/plain\r\nCookie: a=b",
    ] {
        let seen = forwarded(&gw, &format!("GET /public/x HTTP/1.1\r\nHost: api.example.com\r\n{lines}\r\n\r\n"));
        for (name, _) in &seen.headers {
            assert!(
                ["host", "sec-websocket-version", "via", "forwarded", "x-request-id"].contains(&name.as_str())
                    || name.starts_with("x-forwarded-"),
                "{lines:?}: {name}"
            );
        }
    }
}
