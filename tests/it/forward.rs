//! Forwarding: bytes both ways as they come, each answer to its own request, and whose fault it is when one fails.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Mutex, mpsc},
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use wxgate::config::{
    Config,
    sections::{AuthRule, Balance, Route, UnderscoreHeaders},
};

use crate::support::{
    Client, Recorder, Reply, TestGateway,
    client::{Framing, head},
    endpoint, until,
    upstream::{Then, answer},
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn quick(config: &mut Config) {
    config.upstreams[0].response_timeout = Duration::from_millis(300);
}

/// Bytes that no shift or repetition leaves as they are.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from((n * 31 + n / 251) % 251).unwrap()).collect()
}

fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// Answers from a thread of the upstream's wait here until the test lets them go on.
fn gate() -> (mpsc::Sender<()>, impl Fn() + Send + Sync) {
    let (open, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    (open, move || {
        let _ = wait.lock().unwrap().recv();
    })
}

/// All requests of a worker are read into the same memory, one after the other.
#[test]
fn nothing_of_a_request_is_in_the_next_one_whatever_became_of_it_and_whoever_asks() {
    let gw = TestGateway::with(|config| config.server.workers = 1);
    gw.upstream.answers(OK);
    let plain = "GET /public/plain HTTP/1.1\r\nHost: plain\r\n\r\n";
    let secret = "X-Secret: 1\r\nCookie: secret\r\nTE: trailers\r\nAccept: secret";
    for (first, status) in [
        (format!("PUT /public/?secret HTTP/1.1\r\nHost: secret\r\n{secret}\r\nContent-Length: 6\r\n\r\nsecret"), 200),
        (format!("POST /api/secret HTTP/1.1\r\nHost: secret\r\n{secret}\r\nContent-Length: 6\r\n\r\nsecret"), 401),
        (format!("POST /v1/verify HTTP/1.1\r\nHost: secret\r\n{secret}\r\nContent-Length: 6\r\n\r\nsecret"), 400),
        (format!("SECRET /public/ HTTP/1.0\r\nConnection: keep-alive\r\n{secret}\r\n\r\n"), 200),
        (format!("GET /public/%zz HTTP/1.1\r\nHost: secret\r\n{secret}\r\n\r\n"), 400),
    ] {
        let (mut client, mut another) = (gw.client(), gw.client());
        assert_eq!(client.raw(&first).status, status, "{first}");
        let mut next = vec![another.raw(plain)];
        if status != 400 {
            next.push(client.raw(plain));
        }
        for reply in next {
            assert_eq!(reply.status, 200, "{first}");
            let seen = gw.upstream.last();
            assert_eq!((seen.method.as_str(), seen.target.as_str(), seen.body.len()), ("GET", "/public/plain", 0));
            assert_eq!(seen.header("host"), Some("plain"));
            assert!(!seen.head.to_ascii_lowercase().contains("secret"), "{}", seen.head);
        }
    }
}

#[test]
fn an_answer_reaches_the_client_while_the_upstream_still_makes_the_rest() {
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let gw = TestGateway::start();
        let (open, wait) = gate();
        gw.upstream.does(move |_, out| {
            let chunked = framing.ends_with("chunked");
            let part = |data: &str| if chunked { chunk(data.as_bytes()) } else { data.as_bytes().to_vec() };
            answer(out, format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n"));
            answer(out, part("first"));
            wait();
            answer(out, part("later"));
            answer(out, if chunked { "0\r\n\r\n" } else { "" })
        });
        let mut client = gw.client();
        client.send(head("GET", "/public/", &[], 0));
        let mut seen = String::new();
        while !seen.contains("first") {
            seen.push(char::from(client.some(1)[0]));
        }
        open.send(()).unwrap();
        while !seen.contains("later") {
            seen.push(char::from(client.some(1)[0]));
        }
    }
}

#[test]
fn a_request_body_reaches_the_upstream_while_the_client_still_makes_the_rest() {
    let gw = TestGateway::start();
    for (framing, first, rest) in [
        ("Content-Length: 20000", pattern(10_000), pattern(10_000)),
        (
            "Transfer-Encoding: chunked",
            chunk(&pattern(10_000)),
            [chunk(&pattern(10_000)), b"0\r\n\r\n".to_vec()].concat(),
        ),
    ] {
        let mut client = gw.client();
        let before = gw.upstream.bytes();
        client.send(format!("POST /public/ HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")).send(first);
        until("the first half", || (gw.upstream.bytes() - before >= 10_000).then_some(()));
        assert_eq!(client.raw(rest).status, 200);
        assert_eq!(gw.upstream.last().body, [pattern(10_000), pattern(10_000)].concat());
    }
}

#[test]
fn twenty_megabytes_pass_each_way() {
    const SIZE: usize = 20 * 1024 * 1024;
    let gw = TestGateway::with(|config| config.server.max_body = 32 * 1024 * 1024);
    let big = pattern(SIZE);
    let (length, chunked) = (format!("Content-Length: {SIZE}"), "Transfer-Encoding: chunked".to_owned());
    let whole: Vec<u8> = big.chunks(70_000).flat_map(chunk).chain(*b"0\r\n\r\n").collect();
    for (framing, body, as_told) in [(&length, &big, Framing::Length), (&chunked, &whole, Framing::Chunked)] {
        gw.upstream.answers([format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").as_bytes(), body].concat());
        let mut client = gw.client();
        client.send(format!("POST /public/ HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")).send(body);
        let reply = client.reply();
        assert!(gw.upstream.last().body == big, "the upstream got something else");
        assert!(reply.body == big, "the client got something else");
        assert_eq!(reply.framing, as_told);
    }
}

#[test]
fn a_request_keeps_its_framing() {
    let gw = TestGateway::start();
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for (line, body, length, encoding) in [
            ("Content-Length: 5", "hello", Some("5"), None),
            ("Content-Length: 5\r\nConnection: content-length", "hello", Some("5"), None),
            ("Transfer-Encoding: chunked", "2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", None, Some("chunked")),
            ("TRANSFER-ENCODING: Chunked", "5\r\nhello\r\n0\r\n\r\n", None, Some("chunked")),
        ] {
            let reply = gw.raw(format!("{method} /public/ HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n{body}"));
            assert_eq!(reply.status, 200, "{method} {line}");
            let seen = gw.upstream.last();
            assert_eq!((seen.header("content-length"), seen.header("transfer-encoding")), (length, encoding), "{line}");
            assert_eq!(seen.body, b"hello", "{method} {line}");
        }
    }
    assert_eq!(gw.client().get("/public/").status, 200);
    let seen = gw.upstream.last();
    assert_eq!((seen.header("content-length"), seen.header("transfer-encoding")), (None, None));
}

#[test]
fn an_answer_keeps_its_framing() {
    let gw = TestGateway::start();
    for (sent, then, framing) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Then::KeepOpen, Framing::Length),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Then::KeepOpen, Framing::Length),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            Then::KeepOpen,
            Framing::Chunked,
        ),
        // Both: the chunks count, and the length is a lie.
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            Then::KeepOpen,
            Framing::Chunked,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            Then::KeepOpen,
            Framing::Chunked,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nhello", Then::Close, Framing::Chunked),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", Then::Close, Framing::Length),
        ("HTTP/1.0 200 OK\r\n\r\nhello", Then::Close, Framing::Chunked),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", Then::Close, Framing::Length),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
            Then::KeepOpen,
            Framing::Length,
        ),
    ] {
        let keep = matches!(then, Then::KeepOpen);
        gw.upstream.does(move |_, out| {
            answer(out, sent);
            if keep { Then::KeepOpen } else { Then::Close }
        });
        let mut client = gw.client();
        // Twice: the client's connection lives on, whatever becomes of the upstream's.
        for _ in 0..2 {
            let reply = client.get("/public/");
            assert_eq!((reply.status, reply.text().as_str(), reply.framing), (200, "hello", framing), "{sent:?}");
            assert_eq!((reply.version.as_str(), reply.header("connection")), ("HTTP/1.1", None), "{sent:?}");
        }
    }
}

#[test]
fn answers_without_a_body_have_none() {
    let gw = TestGateway::with(|config| config.server.workers = 1);
    for (method, status, told, heard) in [
        ("HEAD", 200, Some("5"), Some("5")),
        ("HEAD", 200, None, None),
        ("HEAD", 404, Some("0"), Some("0")),
        ("GET", 204, Some("5"), None),
        ("GET", 204, None, None),
        ("GET", 304, Some("5"), None),
        ("GET", 304, None, None),
        ("HEAD", 204, None, None),
        ("HEAD", 304, Some("5"), Some("5")),
    ] {
        let length = told.map_or(String::new(), |n| format!("Content-Length: {n}\r\n"));
        gw.upstream.answers(format!("HTTP/1.1 {status} X\r\nETag: \"a\"\r\n{length}\r\n"));
        let mut client = gw.client();
        for _ in 0..2 {
            let reply = client.request(method, "/public/", &[], "");
            assert_eq!((reply.status, reply.header("content-length")), (status, heard), "{method} {status} {told:?}");
            assert_eq!((reply.header("etag"), reply.header("transfer-encoding")), (Some("\"a\""), None));
        }
    }
    // A 204 that says it has a body may yet send it, so nobody comes behind that on its connection.
    assert_eq!(gw.upstream.connections(), 1 + 2);
}

#[test]
fn our_own_answers_to_head_have_no_body_either() {
    let gw = TestGateway::start();
    let mut client = gw.client();
    for _ in 0..2 {
        let reply = client.request("HEAD", "/orders", &[], "");
        assert_eq!((reply.status, reply.body.len()), (401, 0));
    }
    assert_eq!(client.get("/public/").status, 200);
}

#[test]
fn interim_answers_of_the_upstream_stay_behind() {
    let gw = TestGateway::start();
    gw.upstream.answers(format!(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n{OK}"
    ));
    let mut client = gw.client();
    for _ in 0..2 {
        client.send(head("GET", "/public/", &[], 0));
        let reply = client.interim();
        assert_eq!((reply.status, reply.header("link"), reply.text().as_str()), (200, None, "ok"));
    }
}

#[test]
fn a_body_is_asked_for_when_the_upstream_takes_it() {
    let gw = TestGateway::start();
    for (framing, body) in [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")] {
        let mut client = gw.client();
        client.send(format!("POST /public/ HTTP/1.1\r\nHost: a\r\n{framing}\r\nExpect: 100-Continue\r\n\r\n"));
        assert_eq!(client.interim().status, 100);
        assert_eq!(client.raw(body).status, 200);
        let seen = gw.upstream.last();
        assert_eq!((seen.header("expect"), seen.body.as_slice()), (None, b"hello".as_slice()));
        assert_eq!(client.get("/public/").status, 200);
    }
}

#[test]
fn a_body_that_nobody_wants_is_not_asked_for() {
    let gw = TestGateway::with(|config| config.upstreams.push(dead_upstream("dead")));
    let gw_dead = TestGateway::with(|config| config.upstreams[0].servers = dead_upstream("app").servers);
    for (gw, path, length, status) in
        [(&gw, "/orders", 5, 401), (&gw, "/public/", 11_000_000, 413), (&gw_dead, "/public/", 5, 502)]
    {
        let mut client = gw.client();
        client.send(head("POST", path, &[("Expect", "100-continue")], length));
        let reply = client.interim();
        assert_eq!((reply.status, reply.header("connection")), (status, Some("close")), "{path}");
        assert!(client.is_closed());
        assert_eq!(gw.upstream.connections(), 0);
    }
}

/// Threat 10: trailers go no further than here, in either direction.
#[test]
fn trailers_are_dropped() {
    let gw = TestGateway::start();
    gw.upstream.answers(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    let mut client = gw.client();
    for _ in 0..2 {
        let request = "POST /public/ HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-WX-OPENID, X-A\r\n\
                       Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-WX-OPENID: evil\r\nX-A: b\r\n\r\n";
        client.send(request);
        let mut raw = String::new();
        while !raw.ends_with("0\r\n\r\n") {
            raw.push(char::from(client.some(1)[0]));
        }
        assert!(!raw.to_ascii_lowercase().contains("x-sum"), "{raw}");
        let seen = gw.upstream.last();
        assert_eq!((seen.body.as_slice(), seen.trailers.len()), (b"hello".as_slice(), 0));
        assert_eq!((seen.header("trailer"), seen.header("te"), seen.header("x-wx-openid")), (None, None, None));
    }
}

#[test]
fn an_absolute_target_becomes_a_path() {
    let gw = TestGateway::start();
    for (target, line, host) in [
        ("http://api.example.com/public/a?b=c", "Host: api.example.com\r\n", "api.example.com"),
        ("http://api.example.com:81/public/a?b=c", "Host: api.example.com:81\r\n", "api.example.com:81"),
    ] {
        assert_eq!(gw.raw(format!("GET {target} HTTP/1.1\r\n{line}\r\n")).status, 200, "{target}");
        let seen = gw.upstream.last();
        assert_eq!((seen.target.as_str(), seen.header("host")), ("/public/a?b=c", Some(host)));
        assert!(seen.head.starts_with("GET /public/a?b=c HTTP/1.1\r\n"), "{}", seen.head);
    }
    let reply = gw.raw("GET http://api.example.com/public/a HTTP/1.0\r\n\r\n");
    assert_eq!((reply.status, gw.upstream.last().header("host")), (200, Some("api.example.com")));
}

#[test]
fn an_old_client_gets_what_it_understands() {
    let gw = TestGateway::start();
    for (answer, framing, keeps) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Framing::Length, true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Framing::Close, false),
    ] {
        gw.upstream.answers(answer);
        for (line, asked) in [("", false), ("Connection: keep-alive\r\n", true), ("Connection: Keep-Alive\r\n", true)] {
            let mut client = gw.client();
            let request = format!("GET /public/ HTTP/1.0\r\nHost: a\r\n{line}\r\n");
            let reply = client.raw(&request);
            assert_eq!((reply.version.as_str(), reply.text().as_str(), reply.framing), ("HTTP/1.0", "hello", framing));
            assert_eq!(reply.header("transfer-encoding"), None);
            if asked && keeps {
                assert_eq!(reply.header("connection"), Some("keep-alive"));
                assert_eq!(client.raw(&request).text(), "hello");
            } else {
                assert!(client.is_closed(), "{line:?}");
            }
            assert!(gw.upstream.last().head.contains(" HTTP/1.1\r\n"));
        }
    }
}

#[test]
fn an_old_client_can_send_a_body() {
    let gw = TestGateway::start();
    let reply = gw.raw("POST /public/ HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello");
    assert_eq!((reply.status, gw.upstream.last().body.as_slice()), (200, b"hello".as_slice()));
    let own = gw.upstream.addr().to_string();
    assert_eq!(gw.upstream.last().header("host"), Some(own.as_str()));
}

/// Threat 35, CVE-2026-71324: an upstream that answers before the body is there gets the rest of that body, and nobody
/// else's request behind half of it.
#[test]
fn an_early_answer_does_not_put_the_next_user_in_its_place() {
    let gw = TestGateway::start();
    echo_targets(&gw.upstream);
    gw.upstream.early(|seen, out| {
        if seen.target.ends_with("early") {
            answer(out, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
        }
        None
    });
    let mut uploader = gw.client();
    uploader.send(head("POST", "/public/early", &[], 50_000)).send(pattern(20_000));
    assert_eq!(uploader.reply().text(), "early");
    for n in 0..8 {
        assert_eq!(gw.client().get(&format!("/public/{n}")).text(), format!("/public/{n}"));
    }
    uploader.send(&pattern(50_000)[20_000..]);
    assert_eq!(uploader.get("/public/after").text(), "/public/after");
    // Its thread may have been slower than that of the request behind it.
    let early = || gw.upstream.seen().into_iter().find(|seen| seen.target.ends_with("early"));
    assert!(until("the whole body", early).body == pattern(50_000));
}

/// The same with an upstream that does not read the body. All of it has left the client, but the end of it sits in the gateway, or
/// before it: whoever took the connection then would wait for ever.
///
/// How much the kernel takes is not fixed. Where it took the whole body, the gateway can't know that nobody reads it, and
/// the next request waits in vain behind it, which is told as such; then the scene is played again.
///
/// Nor is the connection closed for the sake of the next request: the upstream may come to read the body after all.
#[test]
fn a_connection_with_an_unread_body_in_it_is_not_used_again() {
    for _ in 0..8 {
        let (next, missing) = after_an_unread_body();
        if next.text() == "ok" {
            return assert_eq!(missing, 0, "the rest of the body went on");
        }
        assert_eq!((next.status, next.code().as_str()), (504, "upstream_timeout"));
    }
    panic!("the next request was sent behind the unread body each time");
}

/// The answer to the request that comes behind one whose body the upstream did not read, and how much of that body is
/// missing when the upstream reads it at last.
fn after_an_unread_body() -> (Reply, usize) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(16).unwrap();
    let listener = TcpListener::from(socket);
    let addr = listener.local_addr().unwrap();
    let gw = TestGateway::with(|config| {
        config.server.workers = 1;
        config.upstreams[0].servers = vec![endpoint(addr).into()];
        config.upstreams[0].response_timeout = Duration::from_secs(4);
    });
    let size = room(addr) + 200_000;
    let (open, wait) = mpsc::channel::<()>();
    let upstream = std::thread::spawn(move || {
        drop(listener.accept());
        let mut first = listener.accept().unwrap().0;
        read_head(&mut first);
        let _ = wait.recv();
        answer(&mut first, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
        let mut second = listener.accept().unwrap().0;
        if second.peek(&mut [0]).is_ok_and(|n| n > 0) {
            read_head(&mut second);
            answer(&mut second, OK);
        }
        let _ = wait.recv();
        let mut body = Vec::new();
        // A connection that is cut gives an error, and too little.
        let _ = first.take(size as u64).read_to_end(&mut body);
        size - body.len()
    });
    let mut uploader = gw.client();
    uploader.send(head("POST", "/public/early", &[], size)).send(pattern(size));
    assert!(uploader.stays_silent(Duration::from_millis(300)), "the gateway takes what it can");
    open.send(()).unwrap();
    assert_eq!(uploader.reply().text(), "early");
    let next = gw.client().get("/public/");
    drop(open);
    // Lets the upstream go on where nobody came.
    drop(TcpStream::connect(addr));
    (next, upstream.join().unwrap())
}

/// How much the kernel takes for a peer that reads nothing.
fn room(addr: SocketAddr) -> usize {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut taken = 0;
    while let Ok(n) = stream.write(&[0; 16 * 1024]) {
        taken += n;
    }
    taken
}

/// Reads a head and not a byte more.
fn read_head(stream: &mut TcpStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
}

fn echo_targets(upstream: &Recorder) {
    upstream.does(|seen, out| {
        if seen.target.ends_with("early") {
            return Then::KeepOpen;
        }
        answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", seen.target.len(), seen.target))
    });
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    let gw = TestGateway::start();
    for sent in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhal\r\n",
    ] {
        let (gone, heard) = mpsc::channel();
        let gone = Mutex::new(gone);
        gw.upstream.does(move |_, out| {
            answer(out, sent);
            let end = out.read(&mut [0; 1]);
            let _ = gone.lock().unwrap().send(matches!(end, Ok(0) | Err(_)));
            Then::Close
        });
        let mut client = gw.client();
        client.send(head("GET", "/public/slow", &[], 0));
        if sent.is_empty() {
            gw.upstream.wait_for(gw.upstream.seen().len().max(1));
        } else {
            client.some(sent.len().min(20));
        }
        drop(client);
        assert!(heard.recv_timeout(Duration::from_secs(20)).unwrap(), "{sent:?}");
    }
    let line = gw.log.line("\"status\":499");
    assert!(line.contains("\"complete\":false"), "{line}");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_takes_its_request_along() {
    let gw = TestGateway::start();
    let mut client = gw.client();
    client.send(head("POST", "/public/", &[], 5000)).send(pattern(2000));
    until("the first part", || (gw.upstream.bytes() > 2000).then_some(()));
    drop(client);
    until("the end of the upstream's connection", || (gw.upstream.open() == 0).then_some(()));
    assert_eq!(gw.upstream.seen().len(), 0);
}

#[test]
fn an_answer_that_breaks_off_can_not_pass_for_a_whole_one() {
    let gw = TestGateway::start();
    for sent in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\n",
    ] {
        gw.upstream.does(move |_, out| {
            answer(out, sent);
            Then::Close
        });
        let mut client = gw.client();
        client.send(head("GET", "/public/", &[], 0));
        assert!(client.try_reply("GET").is_err(), "{sent:?}");
        // HTTP/1.0 knows no chunks: the body's end is the connection's end, so this one has to be a rude one.
        let mut old = gw.client();
        old.send("GET /public/ HTTP/1.0\r\n\r\n");
        assert!(old.try_reply("GET").is_err(), "{sent:?} to HTTP/1.0");
    }
    gw.log.line("the upstream's answer broke off");
}

#[test]
fn an_upstream_that_never_answers_is_not_waited_for() {
    let gw = TestGateway::with(quick);
    gw.upstream.does(|_, out| {
        let _ = out.read(&mut [0; 1]);
        Then::Close
    });
    let mut client = gw.client();
    for (method, body) in [("GET", ""), ("POST", "hello")] {
        let reply = client.request(method, "/public/", &[], body);
        assert_eq!((reply.status, reply.code().as_str(), reply.header("connection")), (504, "upstream_timeout", None));
    }
    until("the upstream's connections to close", || (gw.upstream.open() == 0).then_some(()));
}

#[test]
fn an_upstream_that_takes_no_body_is_not_waited_for() {
    let gw = TestGateway::with(quick);
    let (_open, wait) = gate();
    gw.upstream.early(move |_, _| {
        wait();
        Some(Then::Close)
    });
    let size = 9 * 1024 * 1024;
    let mut client = gw.client();
    let mut sender = client.again();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            sender.send(head("POST", "/public/", &[], size)).send(vec![b'x'; size]);
        });
        let reply = client.reply();
        assert_eq!((reply.code().as_str(), reply.header("connection")), ("upstream_timeout", Some("close")));
    });
}

#[test]
fn a_slow_upload_is_not_the_upstreams_fault() {
    let gw = TestGateway::with(quick);
    let mut client = gw.client();
    client.send(head("POST", "/public/", &[], 6));
    for part in ["s", "l", "o", "w", "l"] {
        client.send(part);
        assert!(client.stays_silent(Duration::from_millis(200)));
    }
    // Longer than the upstream would have, at a stretch.
    assert!(client.stays_silent(Duration::from_millis(900)));
    assert_eq!(client.raw("y").status, 200);
    assert_eq!(gw.upstream.last().body, b"slowly");
}

#[test]
fn what_is_no_answer_is_a_bad_gateway() {
    let gw = TestGateway::start();
    for sent in [
        "",
        "no HTTP at all\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        "\x16\x03\x01\x02\x00",
    ] {
        gw.upstream.does(move |_, out| {
            answer(out, sent);
            Then::Close
        });
        let mut client = gw.client();
        for (method, body) in [("GET", ""), ("POST", "hello")] {
            let reply = client.request(method, "/public/", &[], body);
            assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_unreachable"), "{method} {sent:?}");
        }
    }
}

/// RFC 9110, 7.6.3: the version of what came, in either direction.
#[test]
fn via_says_which_version_a_message_came_in() {
    let gw = TestGateway::start();
    for version in ["1.0", "1.1"] {
        gw.upstream.answers(format!("HTTP/{version} 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        let reply = gw.raw(format!("GET /public/ HTTP/{version}\r\nHost: a\r\n\r\n"));
        let expected = format!("{version} wxgate");
        assert_eq!((reply.header("via"), gw.upstream.last().header("via")), (Some(&*expected), Some(&*expected)));
    }
}

/// RFC 9112, 6.3. Some clients take some of these from an upstream, and would pass them on.
#[test]
fn a_length_that_is_said_twice_is_said_once_and_one_that_is_none_is_a_bad_gateway() {
    let gw = TestGateway::start();
    for (method, said, expected) in [
        ("HEAD", "200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", Some("5")),
        ("HEAD", "200 OK\r\nContent-Length: 5, 5\r\n\r\n", Some("5")),
        ("GET", "200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", Some("5")),
        ("GET", "200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Some("5")),
        ("GET", "304 Not Modified\r\nContent-Length: a\r\n\r\n", None),
        ("HEAD", "200 OK\r\nContent-Length: 5, 6\r\n\r\n", None),
        ("HEAD", "200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", None),
        ("HEAD", "200 OK\r\nContent-Length: +5\r\n\r\n", None),
        ("HEAD", "200 OK\r\nContent-Length: \r\n\r\n", None),
    ] {
        let answered = format!("HTTP/1.1 {said}");
        gw.upstream.does(move |_, out| answer(out, &answered));
        let reply = gw.client().request(method, "/public/", &[], "");
        let status = if said.starts_with("304") {
            304
        } else if expected.is_some() {
            200
        } else {
            502
        };
        assert_eq!(reply.status, status, "{method} {said:?}");
        if reply.status < 500 {
            assert_eq!(reply.header("content-length"), expected, "{method} {said:?}");
        }
    }
}

#[test]
fn an_upstream_that_is_not_there_is_a_bad_gateway() {
    let gw = TestGateway::with(|config| config.upstreams[0].servers = dead_upstream("app").servers);
    let mut client = gw.client();
    for _ in 0..2 {
        let reply = client.get("/public/");
        assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_unreachable"));
    }
}

/// An address where nobody listens.
fn dead_upstream(name: &str) -> wxgate::config::sections::Upstream {
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    wxgate::config::sections::Upstream::new(name, vec![endpoint(addr)])
}

/// An upstream that closes its connections, once used, with certain requests on them unanswered.
fn closing_on_reuse(upstream: &Recorder) {
    upstream.does(|seen, out| {
        let closes = seen.nth > 0 && seen.target != "/public/";
        if closes { Then::Close } else { answer(out, OK) }
    });
}

#[test]
fn a_request_that_meets_a_closing_connection_is_sent_again_where_that_is_safe() {
    let gw = TestGateway::with(|config| config.server.workers = 1);
    closing_on_reuse(&gw.upstream);
    let mut client = gw.client();
    for (n, method) in ["GET", "HEAD", "OPTIONS"].into_iter().enumerate() {
        assert_eq!(client.get("/public/").status, 200);
        let reply = client.request(method, "/public/again", &[("X-Kept", "yes")], "");
        assert_eq!(reply.status, 200, "{method}");
        assert_eq!(gw.retries(), n as u64 + 1);
        let seen = gw.upstream.seen();
        let [.., first, second] = seen.as_slice() else { panic!("{seen:?}") };
        assert_eq!((first.nth > 0, second.nth, first.head == second.head), (true, 0, true), "{method}");
    }
}

#[test]
fn a_request_that_does_something_is_not_done_twice() {
    let gw = TestGateway::with(|config| config.server.workers = 1);
    closing_on_reuse(&gw.upstream);
    for (method, body) in [("POST", "pay"), ("POST", ""), ("PUT", "pay"), ("DELETE", ""), ("PATCH", "x"), ("GET", "x")]
    {
        assert_eq!(gw.client().get("/public/").status, 200);
        let before = gw.upstream.seen().len();
        let reply = gw.client().request(method, "/public/pay", &[], body);
        assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_unreachable"), "{method}");
        assert_eq!(gw.upstream.seen().len(), before + 1, "{method}");
    }
    assert_eq!(gw.retries(), 0);
}

#[test]
fn connections_to_the_upstream_are_used_again() {
    let gw = TestGateway::with(|config| config.server.workers = 1);
    for n in 0..10 {
        let reply = if n % 2 == 0 { gw.client().get("/public/") } else { gw.client().post("/public/", "hello") };
        assert_eq!(reply.status, 200);
    }
    assert_eq!((gw.upstream.connections(), gw.upstream.last().nth), (1, 9));
}

#[test]
fn idle_connections_to_the_upstream_are_let_go() {
    let gw = TestGateway::with(|config| config.upstreams[0].idle_timeout = Duration::from_millis(50));
    assert_eq!(gw.client().get("/public/").status, 200);
    until("the connection to close", || (gw.upstream.open() == 0).then_some(()));
}

#[test]
fn no_more_idle_connections_are_kept_than_asked_for() {
    let gw = TestGateway::with(|config| {
        config.server.workers = 1;
        config.upstreams[0].max_idle = 2;
        config.upstreams[0].idle_timeout = Duration::from_hours(1);
    });
    let (open, wait) = gate();
    gw.upstream.does(move |_, out| {
        wait();
        answer(out, OK)
    });
    let mut clients: Vec<Client> = (0..6).map(|_| gw.client()).collect();
    for client in &mut clients {
        client.send(head("GET", "/public/", &[], 0));
    }
    gw.upstream.wait_for(6);
    for _ in &clients {
        open.send(()).unwrap();
    }
    assert!(clients.iter_mut().all(|client| client.reply().status == 200));
    until("four connections to close", || (gw.upstream.open() == 2).then_some(()));
}

#[test]
fn servers_take_turns_and_a_dead_one_is_passed_over() {
    let (second, third) = (Recorder::start(), Recorder::start());
    let gw = TestGateway::with(|config| {
        config.server.workers = 1;
        let servers = &mut config.upstreams[0].servers;
        servers.extend([
            endpoint(second.addr()).into(),
            dead_upstream("").servers.remove(0),
            endpoint(third.addr()).into(),
        ]);
        config.upstreams[0].balance = Balance::RoundRobin;
    });
    for n in 0..40 {
        assert_eq!(gw.client().get(&format!("/public/{n}")).status, 200);
    }
    let counts = [&gw.upstream, &second, &third].map(|server| server.seen().len());
    assert_eq!((counts.iter().sum::<usize>(), counts.iter().min(), counts.iter().max()), (40, Some(&13), Some(&14)));
}

#[test]
fn what_concerns_one_hop_goes_no_further() {
    let gw = TestGateway::start();
    gw.upstream.answers(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Gone, x-also , keep-alive\r\nX-Gone: 1\r\nX-Also: 1\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\nProxy-Authenticate: Basic\r\n\
         Trailer: X-Sum\r\nX-Stays: 1\r\nVia: 1.0 inner\r\n\r\nok",
    );
    let reply = gw.client().request("GET", "/public/", &[("Via", "1.1 outer")], "");
    assert_eq!((reply.status, reply.header("x-stays")), (200, Some("1")));
    for name in
        ["connection", "x-gone", "x-also", "keep-alive", "proxy-connection", "upgrade", "proxy-authenticate", "trailer"]
    {
        assert_eq!(reply.header(name), None, "{name}");
    }
    let via: Vec<_> = reply.headers.iter().filter(|(name, _)| name == "via").map(|(_, value)| value.as_str()).collect();
    assert_eq!(via, ["1.0 inner", "1.1 wxgate"]);
    assert_eq!(gw.upstream.last().all("via"), ["1.1 outer", "1.1 wxgate"]);
}

/// What `Connection` lists is the client's line of that name, not ours.
#[test]
fn who_lists_in_connection_what_we_tell_takes_none_of_it_away() {
    let gw = TestGateway::start();
    gw.upstream.answers(OK);
    let me = gw.login("oMe");
    let told =
        "Host, Via, X-Request-Id, X-Forwarded-For, X-Forwarded-Host, Forwarded, X-WX-OPENID, Content-Length, X-Own";
    let (token, body) = (&me.token, "hello");
    let reply = gw.raw(format!(
        "POST /me/ HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {token}\r\nConnection: {told}\r\nX-Own: 1\r\n\
         X-Request-Id: mine\r\nContent-Length: 5\r\n\r\n{body}"
    ));
    assert_eq!(reply.status, 200);
    let seen = gw.upstream.last();
    assert_eq!((seen.body.as_slice(), seen.header("x-own")), (body.as_bytes(), None));
    for (name, value) in [
        ("host", "api.example.com"),
        ("via", "1.1 wxgate"),
        ("x-request-id", reply.header("x-request-id").unwrap()),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "api.example.com"),
        ("forwarded", "for=127.0.0.1;host=\"api.example.com\";proto=http"),
        ("x-wx-openid", "oMe"),
        ("content-length", "5"),
    ] {
        assert_eq!(seen.all(name), [value], "{name}");
    }
}

/// Threats 33 and 34, RUSTSEC-2026-0033: nothing is upgraded, and what follows such a request is a request like any other.
#[test]
fn an_upgrade_is_not_passed_on() {
    let gw = TestGateway::start();
    for lines in [
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: upgrade\r\nUpgrade: TLS/1.0\r\n",
    ] {
        let mut client = gw.client();
        client.send(format!("GET /public/ HTTP/1.1\r\nHost: a\r\n{lines}\r\n{}", head("GET", "/admin", &[], 0)));
        assert_eq!(client.reply().status, 200, "{lines}");
        let seen = gw.upstream.last();
        for name in ["connection", "upgrade", "http2-settings"] {
            assert_eq!(seen.header(name), None, "{lines}");
        }
        assert_eq!(client.reply().code(), "token_missing");
    }
}

/// Threat 35, its first half.
#[test]
fn trace_and_connect_never_get_through() {
    let gw = TestGateway::start();
    for request in [
        "TRACE /public/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhello",
        "CONNECT /public/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut client = gw.client();
        let reply = client.raw(request);
        assert!(matches!(reply.status, 400 | 405), "{request:?} {reply:?}");
        client.send(head("GET", "/public/", &[], 0));
        assert_eq!(client.rest(), b"", "{request:?}");
    }
    assert_eq!((gw.upstream.connections(), gw.upstream.bytes()), (0, 0));
}

/// Threat 16: the token is for us.
#[test]
fn the_token_stays_here_unless_the_route_says_otherwise() {
    let gw = TestGateway::with(|config| {
        config.routes.push(Route { forward_token: true, ..Route::new("/trusted/", "app") });
        config.routes.push(Route {
            forward_token: true,
            auth: AuthRule::Optional,
            ..Route::new("/maybe-trusted/", "app")
        });
    });
    let mut alice = gw.login("oAlice");
    let bearer = format!("Bearer {}", alice.token);
    for (path, seen) in [
        ("/orders", None),
        ("/maybe/", None),
        ("/public/", None),
        ("/trusted/", Some(bearer.as_str())),
        ("/maybe-trusted/", Some(bearer.as_str())),
    ] {
        assert_eq!(alice.get(path).status, 200, "{path}");
        assert_eq!(gw.upstream.last().header("authorization"), seen, "{path}");
        let all = gw.upstream.last().head;
        assert_eq!(all.contains(&alice.token), seen.is_some(), "{all}");
    }
}

#[test]
fn credentials_of_another_kind_are_the_backends() {
    let gw = TestGateway::start();
    for value in ["Basic YTpi", "Digest a=\"b\"", "Bearer eyJhbGciOi.J9.x"] {
        for path in ["/public/", "/maybe/"] {
            let reply = gw.client().request("GET", path, &[("Authorization", value)], "");
            assert_eq!(reply.status, 200, "{path} {value}");
            assert_eq!(gw.upstream.last().header("authorization"), Some(value), "{path}");
        }
    }
}

#[test]
fn header_names_with_an_underscore_go_as_configured() {
    let line = [("X_Custom", "1"), ("X_WX_OPENID", "evil"), ("X-Fine", "2")];
    for (setting, status, custom) in [
        (UnderscoreHeaders::Drop, 200, None),
        (UnderscoreHeaders::Reject, 400, None),
        (UnderscoreHeaders::Keep, 200, Some("1")),
    ] {
        let gw = TestGateway::with(|config| config.server.underscore_headers = setting);
        let reply = gw.client().request("GET", "/public/", &line, "");
        assert_eq!(reply.status, status, "{setting:?}");
        if let Some(seen) = gw.upstream.seen().last() {
            assert_eq!((seen.header("x_custom"), seen.header("x-fine")), (custom, Some("2")), "{setting:?}");
            assert_eq!((seen.header("x_wx_openid"), seen.header("x-wx-openid")), (None, None), "{setting:?}");
        }
    }
}

#[test]
fn a_client_that_reads_slowly_holds_the_upstream_back() {
    const SIZE: usize = 256 * 1024 * 1024;
    let gw = TestGateway::start();
    let (told, heard) = mpsc::channel();
    let told = Mutex::new(told);
    gw.upstream.does(move |_, out| {
        out.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
        let (piece, mut sent) = (vec![b'x'; 64 * 1024], 0);
        while sent < SIZE && out.write_all(&piece).is_ok() {
            sent += piece.len();
        }
        let _ = told.lock().unwrap().send(sent);
        Then::Close
    });
    let mut client = gw.client();
    client.send(head("GET", "/public/", &[], 0));
    client.some(16);
    let sent = heard.recv_timeout(Duration::from_mins(1)).unwrap();
    // What the kernel's buffers on the way hold, and little more.
    assert!(sent < 64 * 1024 * 1024, "{sent} bytes were taken off the upstream's hands");
}

/// What it says unasked answers nobody.
#[test]
fn an_upstream_that_speaks_unasked_loses_its_connection() {
    let gw = TestGateway::with(|config| config.server.workers = 1);
    gw.upstream.answers(format!("{OK}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"));
    let texts: Vec<String> = (0..4).map(|_| gw.client().get("/public/").text()).collect();
    assert_eq!((texts, gw.upstream.connections()), (vec!["ok".to_owned(); 4], 4));
}

/// An upstream may stop reading in the middle of a body, without a word, before its answer or after.
#[test]
fn an_upstream_that_stopped_reading_costs_no_socket_in_the_end() {
    let gw = TestGateway::with(|config| {
        quick(config);
        config.server.body_timeout = Duration::from_millis(300);
    });
    let (_open, wait) = gate();
    gw.upstream.early(move |seen, out| {
        if seen.target.ends_with("early") {
            answer(out, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
        }
        wait();
        Some(Then::Close)
    });
    for path in ["/public/", "/public/early"] {
        let mut client = gw.client();
        client.give_up_sending_after(Duration::from_millis(300));
        client.send(head("POST", path, &[], 9_000_000)).send(vec![b'x'; 9_000_000]);
        let code = if path == "/public/" { 504 } else { 200 };
        assert_eq!(client.reply().status, code);
        until("our side of the connection to close", || (established_to(gw.upstream.addr()) == 0).then_some(()));
    }
}

/// Sockets of this machine that are connected to this address, for all their owner knows.
fn established_to(addr: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let peer = format!("0100007F:{:04X} 01", addr.port());
    table.lines().filter(|line| line.split_once(": ").is_some_and(|(_, rest)| rest[14..].starts_with(&peer))).count()
}
