//! Where a request ends: whoever hopes that two servers see two borders finds that we see one, or refuse.

use std::{num::NonZeroU32, time::Duration};

use wxgate::config::sections::{AuthRule, Rate, Route};

use crate::support::{
    OTHER_APP, Seen, TestGateway,
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
            let request = format!("{line} HTTP/1.1\r\nHost: api.example.com\r\n{body}");
            let (seen, _) = gw.reached(|| {
                let mut client = gw.client();
                let reply = client.send(&request).send(NEXT).finish().try_reply("POST");
                assert_eq!(reply.unwrap().verdict(), verdict, "{line} with {kind}");
                client.rest();
            });
            let seen = targets(&seen);
            assert!(seen.is_empty() || seen == ["/public/next"], "{line} with {kind}: {seen:?}");
        }
    }
}

/// Threat 36 again, for refusals that need a configuration of their own.
#[test]
fn nor_is_the_body_of_a_request_that_no_rule_lets_pass() {
    let gw = TestGateway::with(|config| {
        let app = config.apps[0].app_id.clone();
        config.routes[0].path = "/orders".to_owned();
        config.routes.push(Route { apps: Some(vec![app]), ..Route::new("/shop/", "app") });
        let once = Rate { count: NonZeroU32::MIN, per: Duration::from_hours(1) };
        config.routes.push(Route { auth: AuthRule::None, limit_per_ip: Some(once), ..Route::new("/once/", "app") });
    });
    let bob = format!("Authorization: Bearer {}\r\n", gw.login_to(OTHER_APP, "oBob").token);
    assert_eq!(gw.client().get("/once/").status, 200);
    for (path, lines, verdict) in [
        ("/nowhere", "", "404 no_route"),
        ("/shop/1", bob.as_str(), "403 app_not_allowed"),
        ("/once/", "", "429 rate_limited"),
    ] {
        for (kind, body) in bodies() {
            let request = format!("POST {path} HTTP/1.1\r\nHost: api.example.com\r\n{lines}{body}");
            let (seen, _) = gw.reached(|| {
                let mut client = gw.client();
                let reply = client.send(&request).send(NEXT).finish().try_reply("POST");
                assert_eq!(reply.unwrap().verdict(), verdict, "{path} with {kind}");
                client.rest();
            });
            let seen = targets(&seen);
            assert!(seen.is_empty() || seen == ["/public/next"], "{path} with {kind}: {seen:?}");
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

/// RUSTSEC-2021-0020 and its kin: a body that ends nowhere certain is the client's fault, and nobody else pays for it.
#[test]
fn chunks_that_are_none_are_refused_and_the_upstream_gets_no_whole_request() {
    let gw = TestGateway::start();
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(40_000));
    let many_trailers = format!("0\r\n{}\r\n", "A: b\r\n".repeat(5000));
    for body in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5;a=b\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "5, 5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX\0: y\r\n\r\n",
        "5\r\nhello\r\n0\r\n\rGET",
        &long_extension,
        &many_trailers,
    ] {
        let head = "POST /public/x HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n";
        let attack = gw.attack(format!("{head}{body}"));
        let start = &body[..body.len().min(40)];
        assert_eq!((attack.answer.as_str(), targets(&attack.seen)), ("400 bad_request", vec![]), "{start:?}");
        assert_eq!(attack.reply.unwrap().header("connection"), Some("close"), "{start:?}");
    }
}

#[test]
fn chunks_in_every_lawful_form_arrive_as_one_body() {
    let gw = TestGateway::start();
    for body in [
        "5\r\nhello\r\n0\r\n\r\n",
        "05\r\nhello\r\n000\r\n\r\n",
        "5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n",
        "1\r\nh\r\n4\r\nello\r\n0\r\nX-A: b\r\n\r\n",
    ] {
        let head = "POST /public/x HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: CHUNKED\r\n\r\n";
        let (seen, _) = gw.reached(|| {
            let mut client = gw.client();
            assert_eq!(client.send(head).raw(body).status, 200, "{body:?}");
            assert_eq!(client.raw(NEXT).status, 200, "{body:?}: the connection goes on");
        });
        assert_eq!(targets(&seen), ["/public/x", "/public/next"], "{body:?}");
        let seen = &seen[0];
        assert_eq!(
            (seen.body.as_slice(), seen.trailers.len(), seen.header("content-length")),
            (&b"hello"[..], 0, None)
        );
        assert_eq!(seen.header("transfer-encoding"), Some("chunked"));
    }
}

/// Every one of several requests sent at once has a decision of its own.
#[test]
fn requests_in_one_piece_are_judged_one_by_one() {
    let gw = TestGateway::start();
    let token = gw.login("oAlice").token;
    let get = |path: &str, lines: &str| format!("GET {path} HTTP/1.1\r\nHost: api.example.com\r\n{lines}\r\n");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let post = |path: &str, lines: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: api.example.com\r\n{lines}Content-Length: 3\r\n\r\nabc")
    };
    let all = [
        (get("/public/1", ""), "200"),
        (get("/orders/2", &bearer), "200"),
        (get("/orders/3", ""), "401 token_missing"),
        (post("/orders/4", &bearer), "200"),
        (get("/orders/5", ""), "401 token_missing"),
        (post("/maybe/6", ""), "200"),
        (get("/maybe/7", ""), "200"),
        (get("/v1/session", &bearer), "200"),
        (get("/orders/8", &bearer), "200"),
        (get("/orders/../9", &bearer), "400 bad_request"),
    ];
    let (seen, _) = gw.reached(|| {
        let mut client = gw.client();
        client.send(all.iter().map(|(bytes, _)| bytes.as_str()).collect::<String>()).send(NEXT);
        for (request, verdict) in &all {
            assert_eq!(client.reply().verdict(), *verdict, "{request}");
        }
        assert_eq!(client.rest(), b"", "after a 400 nothing is read");
    });
    let told: Vec<_> = seen.iter().map(|seen| (seen.target.as_str(), seen.header("x-wx-openid"))).collect();
    let alice = Some("oAlice");
    assert_eq!(
        told,
        [
            ("/public/1", None),
            ("/orders/2", alice),
            ("/orders/4", alice),
            ("/maybe/6", None),
            ("/maybe/7", None),
            ("/orders/8", alice),
        ]
    );
}

/// Threat 34, h2c smuggling, and 33, RUSTSEC-2026-0033: nobody is handed a raw connection to the upstream.
#[test]
fn an_upgrade_opens_no_tunnel() {
    let gw = TestGateway::start();
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
    for (answers, verdict) in
        [("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n", "426"), (switch, "502 upstream_unreachable")]
    {
        for lines in [
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
            "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n",
            "Upgrade: h2c\r\n",
        ] {
            gw.upstream.answers(answers);
            let before = gw.upstream.seen().len();
            let mut client = gw.client();
            let request = format!("GET /public/x HTTP/1.1\r\nHost: api.example.com\r\n{lines}\r\n");
            let admin = "GET /admin HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
            client.send(format!("{request}{admin}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
            let answers: Vec<_> = (0..3).map(|_| client.reply().verdict()).collect();
            assert_eq!(answers, [verdict, "401 token_missing", "400 bad_request"], "{lines}");
            let seen = gw.upstream.seen().split_off(before);
            assert_eq!(targets(&seen), ["/public/x"], "{lines}");
            for name in ["connection", "upgrade", "http2-settings"] {
                assert_eq!(seen[0].header(name), None, "{lines}");
            }
        }
    }
}

/// Threat 33 again: an upgrade whose body is not there yet when it is answered.
#[test]
fn an_upgrade_that_is_answered_before_its_body_opens_no_tunnel_either() {
    let gw = TestGateway::start();
    gw.upstream.early(|seen, out| {
        (seen.target == "/public/x").then(|| {
            answer(out, "HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n");
            Then::Close
        })
    });
    for (path, status) in [("/orders", 401), ("/public/x", 426)] {
        let (seen, _) = gw.reached(|| {
            let mut client = gw.client();
            let reply = client.raw(format!(
                "POST {path} HTTP/1.1\r\nHost: api.example.com\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                 Content-Length: 5000\r\n\r\nhalf"
            ));
            assert_eq!(reply.status, status);
            client.send(SMUGGLED).send(NEXT).finish();
            assert_eq!(String::from_utf8_lossy(&client.rest()), "", "{path}: what follows is the body, or nothing");
        });
        assert!(targets(&seen).iter().all(|target| *target == path), "{path}: {:?}", targets(&seen));
    }
}

/// Threat 32, RUSTSEC-2026-0034: a body that ends with the connection is none.
#[test]
fn an_http_1_0_request_has_no_body_without_a_length() {
    let gw = TestGateway::start();
    for lines in ["", "Connection: close\r\n", "Connection: keep-alive\r\nContent-Length: 0\r\n"] {
        let head = format!("POST /public/x HTTP/1.0\r\nHost: api.example.com\r\n{lines}\r\n");
        let attack = gw.attack(format!("{head}{}", SMUGGLED.replace("/public/smuggled", "/orders")));
        assert_eq!((attack.answer.as_str(), targets(&attack.seen)), ("200", vec!["/public/x"]), "{lines}");
        assert!(
            attack.seen[0].head.starts_with("POST /public/x HTTP/1.1\r\n") && attack.seen[0].body.is_empty(),
            "{lines}"
        );
    }
}

#[test]
fn a_body_that_looks_like_a_request_is_a_body() {
    let gw = TestGateway::start();
    let length = SMUGGLED.len();
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"] {
        let head = format!("{method} /public/x HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: {length}\r\n\r\n");
        let attack = gw.attack(format!("{head}{SMUGGLED}"));
        assert_eq!((attack.answer.as_str(), targets(&attack.seen)), ("200", vec!["/public/x"]), "{method}");
        assert_eq!(attack.seen[0].body, SMUGGLED.as_bytes(), "{method}");
        let nominated = head.replace("\r\n\r\n", "\r\nConnection: content-length, transfer-encoding\r\n\r\n");
        let attack = gw.attack(format!("{nominated}{SMUGGLED}"));
        assert_eq!((attack.answer.as_str(), targets(&attack.seen)), ("200", vec!["/public/x"]), "{method}, nominated");
        assert_eq!(attack.seen[0].body, SMUGGLED.as_bytes(), "{method}, nominated");
    }
}

fn targets(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.target.as_str()).collect()
}

/// A server that holds an upgrade ready once one was asked for may end such a connection without another try to write what the socket has
/// not taken yet, as hyper's did.
#[test]
fn who_once_asked_for_an_upgrade_is_told_what_is_wrong_with_a_later_request() {
    let gw = TestGateway::start();
    let upgrade = "Connection: Upgrade\r\nUpgrade: h2c\r\n";
    let post = "POST /public/x HTTP/1.1\r\nHost: api.example.com\r\n";
    let (broken, short) = ("Transfer-Encoding: chunked\r\n\r\nzz\r\n", "Content-Length: 10\r\n\r\nabc");
    for (first, then) in [
        ("", format!("{post}{upgrade}{broken}")),
        ("", format!("{post}{upgrade}{short}")),
        (upgrade, format!("{post}{broken}")),
        (upgrade, format!("{post}{short}")),
    ] {
        let mut client = gw.client();
        let before = client.raw(format!("GET /public/x HTTP/1.1\r\nHost: api.example.com\r\n{first}\r\n"));
        assert_eq!(before.verdict(), "200", "{first}");
        assert_eq!(client.send(&then).finish().reply().verdict(), "400 bad_request", "{then}");
    }
}
