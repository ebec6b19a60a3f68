//! What becomes of an exchange, whatever the server says and however it comes.

use std::{future::poll_fn, sync::Arc, time::Duration};

use http::{Request, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::yield_now,
};

use super::{
    super::{Reuse, group::Group, lease::Lease, pool::Pool},
    *,
};
use crate::{
    config::sections::{self, Endpoint},
    model::{ManualClock, Timestamp},
    upstream::{AnswerBody, NoAnswer},
    web::later,
};

mod left;
mod uploads;

/// For a connection; nothing here waits for one.
const PATIENCE: Duration = Duration::from_secs(20);

/// Does it on one thread, as a worker would.
fn on_a_worker<T>(story: impl Future<Output = T>) -> T {
    left::alone(async {
        spawn_local(later::carry());
        yield_now().await;
        story.await
    })
}

/// A connection, and the server's end.
async fn connected<B: Payload>() -> (Lease<B>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Endpoint { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
    let section = sections::Upstream::new("app", vec![server]);
    let group = Arc::new(Group::new(&section, Arc::new(ManualClock::starting_at(Timestamp::from_millis(0)))).unwrap());
    let pool = Rc::new(Pool::new(&group, 0));
    let lease = pool.lease(Reuse::Allowed, PATIENCE).await.unwrap();
    (lease, listener.accept().await.unwrap().0)
}

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    status: u16,
    reason: Option<String>,
    /// Sorted, without those that are a connection's own business.
    lines: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    is_whole: bool,
}

impl Came {
    fn of<B>(head: Answer<B>) -> (Self, B) {
        const OWN: [header::HeaderName; 3] = [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH];
        let (status, reason) = (head.status.as_u16(), head.reason().cloned());
        let (parts, body) = head.into_response().into_parts();
        let lines = parts.headers.iter().filter(|(name, _)| !OWN.contains(name));
        let mut lines: Vec<_> = lines.map(|(name, line)| (name.to_string(), line.as_bytes().to_vec())).collect();
        lines.sort();
        let reason = reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
        (Self { status, reason, lines, body: Vec::new(), is_whole: false }, body)
    }
}

fn request(method: &str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri("/a?b").header("host", "a").body(Full::default()).unwrap()
}

/// Reads a head.
async fn read_head(server: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(server.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Takes a request and says this, a piece after the other, and nothing more.
fn says(mut server: TcpStream, answer: &[u8], piece: usize) {
    let answer = answer.to_vec();
    spawn_local(async move {
        server.set_nodelay(true).unwrap();
        read_head(&mut server).await;
        for piece in answer.chunks(piece) {
            if server.write_all(piece).await.is_err() {
                return;
            }
            yield_now().await;
        }
        let _ = server.shutdown().await;
        // Until the other side has read all of it: what it has not read would be lost with the connection.
        let _ = server.read_u8().await;
    });
}

/// The head of the answer.
async fn head_of<B: Payload>(lease: &mut Lease<B>, request: Request<B>) -> Result<Answer<AnswerBody>, NoAnswer> {
    lease.send(Box::new(request.into()));
    poll_fn(|cx| lease.poll_answer(cx)).await
}

/// What comes of a request of ours where a server says this.
async fn ours(method: &str, answer: &[u8], piece: usize) -> Result<Came, String> {
    let (mut lease, server) = connected().await;
    says(server, answer, piece);
    let head = match head_of(&mut lease, request(method)).await {
        Ok(head) => head,
        Err(why) => return Err(format!("{:?}", lease.failure(why).0.source)),
    };
    let (mut came, mut body) = Came::of(head);
    loop {
        if body.is_end_stream() {
            came.is_whole = true;
            return Ok(came);
        }
        match poll_fn(|cx| lease.poll_frame(cx, &mut body)).await {
            Some(Ok(frame)) => came.body.extend_from_slice(&frame.into_data().unwrap()),
            Some(Err(_)) => return Ok(came),
            None => {}
        }
    }
}

/// And of one of hyper's.
async fn hypers(method: &str, answer: &[u8]) -> Result<Came, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    says(listener.accept().await.unwrap().0, answer, usize::MAX);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let _task = Task::of(spawn_local(async move { drop(connection.await) }));
    let head = sender.send_request(request(method)).await.map_err(|why| format!("{why:?}"))?;
    let (mut came, mut body) = Came::of(head.into());
    while let Some(frame) = body.frame().await {
        match frame {
            // Trailers go nowhere.
            Ok(frame) => came.body.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(_) => return Ok(came),
        }
    }
    came.is_whole = true;
    Ok(came)
}

/// What servers say, and what they had better not.
const ANSWERS: [&str; 41] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
    "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\nuntil the end",
    "HTTP/1.0 200 OK\r\n\r\nuntil the end",
    "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloo\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 100 Continue\r\nContent-Length: 7\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "HTTP/1.1 200 OK\r\nX-Empty:\r\nX-Blank:   \r\nX-Latin: \u{e9}\r\nContent-Length:2\r\n\r\nok",
    "HTTP/1.1 500 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, Close\r\nX: 1\r\n\r\nok",
    // No answers.
    "",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
    "nonsense",
    "HTTP/2 200 OK\r\n\r\n",
    "HTTP/1.2 200 OK\r\n\r\n",
    "HTTP/1.1 20 OK\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/1.1 099 OK\r\n\r\n",
    " HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX Y: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: \u{1}\r\n\r\n",
];

/// What hyper takes, of a HEAD at least, and nobody is to pass on.
const NOT_OURS: [(&str, &str); 7] = [
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", "Http1(Coded)"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "Http1(Coded)"),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "Http1(Coded)",
    ),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "Http1(Coded)"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello", "Lengths"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "Lengths"),
    ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "Lengths"),
];

/// Two clients that share no more than the parser of heads.
#[test]
fn what_hyper_makes_of_an_answer_is_made_of_it_here_in_however_many_pieces_it_comes() {
    on_a_worker(async {
        for answer in ANSWERS {
            for method in ["GET", "HEAD", "OPTIONS"] {
                let hypers = hypers(method, answer.as_bytes()).await;
                for piece in [1, 7, usize::MAX] {
                    let ours = ours(method, answer.as_bytes(), piece).await;
                    // What is wrong each of them says in its own words.
                    let alike = ours.as_ref().ok() == hypers.as_ref().ok();
                    assert!(alike, "{method} {answer:?} by {piece}: {ours:?}, and by hyper {hypers:?}");
                }
            }
        }
    });
}

#[test]
fn an_answer_of_which_two_could_think_differently_is_none() {
    on_a_worker(async {
        for (answer, expected) in NOT_OURS {
            for (method, piece) in [("GET", 1), ("GET", usize::MAX), ("HEAD", usize::MAX)] {
                assert_eq!(ours(method, answer.as_bytes(), piece).await.unwrap_err(), expected, "{method} {answer:?}");
            }
        }
    });
}

/// Most lines pass without anybody having looked at them, and those that somebody has to look at are where he looks.
#[test]
fn what_concerns_anybody_but_the_client_is_among_the_headers() {
    let of = |method: &str, lines: &str| {
        let mut read = BytesMut::from(&*format!("HTTP/1.1 {lines}\r\n\r\n"));
        let head = head::read(&mut read, &mut 0, method == "HEAD", Lines::default).unwrap().unwrap();
        assert!(read.is_empty());
        let headers = head.answer.headers().into_iter().flatten();
        let headers = headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        let passed = String::from_utf8(head.answer.lines().as_bytes().to_vec()).unwrap();
        (headers.collect::<Vec<_>>().join("|"), passed.trim_end().replace("\r\n", "|"))
    };
    let is = |headers: &str, passed: &str| (headers.to_owned(), passed.to_owned());
    let plain = "200 OK\r\nServer: x\r\nContent-Length: 5\r\nConnection: keep-alive\r\nVIA: y";
    assert_eq!(of("GET", plain), is("", "server: x|via: y"));
    assert_eq!(of("HEAD", plain), is("content-length: 5", "server: x|via: y"));
    assert_eq!(of("GET", "200 OK\r\nContent-Length: 0\r\nA: b"), is("content-length: 0", "a: b"));
    assert_eq!(of("GET", "304 Not Modified\r\nContent-Length: 5\r\nA: b"), is("content-length: 5", "a: b"));
    assert_eq!(of("GET", "200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nA: b"), is("", "a: b"));
    let hops = "Keep-Alive: timeout=5\r\nX-Request-Id: 7\r\nUpgrade: h2c\r\nA: b\r\nProxy-Connection: close";
    let found = "keep-alive: timeout=5|x-request-id: 7|upgrade: h2c|proxy-connection: close";
    assert_eq!(of("GET", &format!("200 OK\r\n{hops}")), is(found, "a: b"));
    // What is said more than once is to be agreed on first, and whatever name `Connection` has may be one that is to go no further.
    let twice = "200 OK\r\nA: b\r\nContent-Length: 5\r\nCONTENT-LENGTH: 5\r\nC: d";
    assert_eq!(of("GET", twice), is("a: b|content-length: 5|c: d", ""));
    assert_eq!(of("GET", "200 OK\r\nA: b\r\nConnection: close, a"), is("a: b|connection: close, a", ""));
    let switched = "101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nA: b";
    assert_eq!(of("GET", switched), is("upgrade: websocket|connection: Upgrade|a: b", ""));
}

#[test]
fn a_name_that_is_none_to_anybody_else_is_none_here() {
    for lines in ["", "Connection: x\r\n"] {
        let of = |length: usize| {
            let text = format!("HTTP/1.1 200 OK\r\n{lines}{}: b\r\n\r\n", "a".repeat(length));
            head::read(&mut BytesMut::from(&*text), &mut 0, false, Lines::default)
        };
        let names = of(65_535).unwrap().unwrap().answer.into_response().headers().len();
        assert_eq!(names, 1 + usize::from(!lines.is_empty()), "{lines:?}");
        assert!(matches!(of(65_536), Err(Fault::Http1(Error::NoHead(httparse::Error::HeaderName)))), "{lines:?}");
    }
}

/// A connection stays as long as both sides know that it does.
#[test]
fn another_request_may_follow_where_nothing_says_otherwise() {
    on_a_worker(async {
        for (answer, follows) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello", true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true),
            ("HTTP/1.1 204 No Content\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x, close\r\n\r\nhello", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false),
            ("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                false,
            ),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello", true),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", false),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 5, 6\r\n\r\n", false),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", true),
            ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ] {
            let (mut lease, mut server) = connected().await;
            let (head, ()) = tokio::join!(head_of(&mut lease, request("GET")), async {
                read_head(&mut server).await;
                server.write_all(answer.as_bytes()).await.unwrap();
            });
            let mut head = head.unwrap();
            while !head.body.is_end_stream() {
                let frame = poll_fn(|cx| lease.poll_frame(cx, &mut head.body)).await;
                assert!(frame.is_none_or(|frame| frame.is_ok()));
            }
            assert_eq!(lease.is_ready(), follows, "{answer:?}");
        }
    });
}

/// What a server says of itself while it has nothing to answer is no answer to the next request, which goes elsewhere whole.
#[test]
fn a_request_is_given_back_whole_where_the_connection_is_of_no_use_any_more() {
    on_a_worker(async {
        for said in ["", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"] {
            let (mut lease, mut server) = connected::<Full<Bytes>>().await;
            server.write_all(said.as_bytes()).await.unwrap();
            drop(server);
            let body = Full::new(Bytes::from_static(b"hello"));
            // The end of the connection has come as soon as it is looked for.
            while lease.is_open() {
                yield_now().await;
            }
            let why = head_of(&mut lease, Request::post("/").body(body).unwrap()).await.unwrap_err();
            let (error, is_silent) = lease.failure(why);
            let unsent = error.unsent.expect("nothing of it was sent");
            assert!(is_silent && unsent.body.collect().await.unwrap().to_bytes() == "hello", "{said:?}");
        }
    });
}

/// The head is written once, and of a body it says what is true.
#[test]
fn a_server_is_told_of_a_body_what_is_true_of_it_and_nothing_else() {
    let head = |method: &str, lines: &[(&str, &str)], body: Option<&'static str>, is_known: bool| {
        let mut request = Request::builder().method(method).uri("/a?b=c");
        for (name, line) in lines {
            request = request.header(*name, *line);
        }
        let mut out = Vec::new();
        match (body, is_known) {
            (Some(body), false) => head::write(&request.body(frames(&[body]).1).unwrap().into(), &mut out),
            (body, _) => {
                head::write(&request.body(Full::new(Bytes::from(body.unwrap_or_default()))).unwrap().into(), &mut out)
            }
        };
        String::from_utf8(out).unwrap()
    };
    let host = ("host", "a");
    assert_eq!(head("GET", &[host, ("x", "1")], None, true), "GET /a?b=c HTTP/1.1\r\nhost: a\r\nx: 1\r\n\r\n");
    let empty = "POST /a?b=c HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(head("POST", &[("content-length", "0"), host], None, true), empty);
    let known = "POST /a?b=c HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n";
    for wrong in [
        &[][..],
        &[("content-length", "7")],
        &[("content-length", "5"), ("content-length", "5")],
        &[("transfer-encoding", "x")],
    ] {
        assert_eq!(head("POST", &[&[host], wrong].concat(), Some("hello"), true), known);
    }
    let chunked = "GET /a?b=c HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(head("GET", &[host, ("content-length", "5")], Some("hello"), false), chunked);
}

/// A body of which nobody knows how long it will be. What has not been put there yet has not come yet.
struct Frames(mpsc::UnboundedReceiver<&'static str>);

impl Body for Frames {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(|data| Ok(Frame::data(Bytes::from_static(data.as_bytes())))))
    }
}

fn frames(come: &[&'static str]) -> (mpsc::UnboundedSender<&'static str>, Frames) {
    let (sender, receiver) = mpsc::unbounded_channel();
    for frame in come {
        sender.send(*frame).unwrap();
    }
    (sender, Frames(receiver))
}
