//! What heads are read as, and how they are written.

use http::Response;
use http_body_util::{Empty, Full};

use super::*;

const FACTS: Facts = Facts { keeps_alive: true, is_old: false, is_head: false };

const DATE: &[u8] = b"Sat, 28 Nov 2026 01:02:03 GMT";

fn read_all(head: &str) -> Result<Head, Refusal> {
    read_into(&mut Request::new(()), head)
}

fn read_into(request: &mut Request<()>, head: &str) -> Result<Head, Refusal> {
    let mut bytes = BytesMut::from(head);
    let end = bytes.len();
    bytes.extend_from_slice(b"GET /next");
    let read = read(&mut bytes, end, 100, request);
    assert!(read.is_err() || bytes == "GET /next", "{head:?}");
    read
}

fn get(lines: &str) -> Result<Head, Refusal> {
    read_all(&format!("GET /a?b HTTP/1.1\r\n{lines}\r\n"))
}

#[test]
fn a_head_is_what_its_lines_say() {
    let mut request = Request::new(());
    // Into whatever lies there from the request before.
    read_into(
        &mut request,
        "POST http://old/ HTTP/1.0\r\nHost: old\r\nX-Old: 1\r\nX-Old: 2\r\nContent-Length: 1\r\n\r\n",
    )
    .unwrap();
    let lines = "Host: a.example\r\nX-A:  b \t\r\nx-a:\r\nAccept: \u{e9}\r\n";
    let head = read_into(&mut request, &format!("GET /a?b HTTP/1.1\r\n{lines}\r\n")).unwrap();
    assert_eq!((request.method(), request.version()), (&Method::GET, Version::HTTP_11));
    assert_eq!(request.uri(), "/a?b");
    let lines: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let expected = [("host", &b"a.example"[..]), ("x-a", b"b"), ("x-a", b""), ("accept", "\u{e9}".as_bytes())];
    assert_eq!(lines, expected);
    assert!(head.body.is_over() && head.facts.keeps_alive && !head.facts.is_old);
}

#[test]
fn who_wants_to_be_kept_says_so_or_says_nothing() {
    for (version, lines, keeps_alive) in [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: close\r\n", false),
        ("HTTP/1.1", "Connection: x, CLOSE ,y\r\n", false),
        ("HTTP/1.1", "Connection: close\r\nConnection: keep-alive\r\n", false),
        ("HTTP/1.1", "Connection: keep-alive\r\n", true),
        ("HTTP/1.1", "Connection: closed\r\n", true),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let head = read_all(&format!("GET / {version}\r\n{lines}\r\n")).unwrap();
        assert_eq!(head.facts.keeps_alive, keeps_alive, "{version} {lines}");
        assert_eq!(head.facts.is_old, version == "HTTP/1.0");
    }
    assert!(!read_all("CONNECT a:443 HTTP/1.1\r\n\r\n").unwrap().facts.keeps_alive);
}

#[test]
fn a_body_is_as_long_as_is_said_in_one_way() {
    let body = |lines: &str| get(lines).map(|head| (head.body.is_over(), head.body.size_hint().exact()));
    assert_eq!(body("Content-Length: 7\r\n"), Ok((false, Some(7))));
    assert_eq!(body("Content-Length: 007\r\n"), Ok((false, Some(7))));
    assert_eq!(body("Content-Length: 0\r\n"), Ok((true, Some(0))));
    assert_eq!(body("Transfer-Encoding: chunked\r\n"), Ok((false, None)));
    assert_eq!(body("Transfer-Encoding: CHUNKED\r\n"), Ok((false, None)));
    for lines in [
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: \r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: 99999999999999999999\r\n",
    ] {
        assert_eq!(body(lines), Err(Refusal::Framing), "{lines}");
    }
    let old = read_all("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(old.err(), Some(Refusal::Framing));
}

#[test]
fn only_who_knows_of_it_waits_for_a_word() {
    let awaits = |version: &str, value: &str| {
        let head = format!("POST / {version}\r\nExpect: {value}\r\nContent-Length: 1\r\n\r\n");
        read_all(&head).unwrap().awaits_word
    };
    assert!(awaits("HTTP/1.1", "100-Continue"));
    assert!(!awaits("HTTP/1.1", "100-continue, x") && !awaits("HTTP/1.0", "100-continue"));
}

#[test]
fn what_is_no_head_is_refused() {
    for first in
        ["GET  / HTTP/1.1", "GET / HTTP/1.2", "GET /", "G:T / HTTP/1.1", "GET /\u{7f} HTTP/1.1", "PRI * HTTP/2.0"]
    {
        assert_eq!(read_all(&format!("{first}\r\n\r\n")).err(), Some(Refusal::Malformed), "{first}");
    }
    for line in ["X", ": b", "X : b", "X\0: b", "X: \0b", "X: b\rY: c"] {
        assert_eq!(get(&format!("{line}\r\n")).err(), Some(Refusal::Malformed), "{line:?}");
    }
    let long = read_all(&format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(LONGEST_TARGET)));
    assert_eq!(long.err(), Some(Refusal::TargetTooLong));
    // More lines than lie on the stack, where so many are allowed.
    let mut bytes = BytesMut::from(&*format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(FEW + 1)));
    let end = bytes.len();
    let mut request = Request::new(());
    assert_eq!(read(&mut bytes.clone(), end, FEW, &mut request).err(), Some(Refusal::Malformed));
    read(&mut bytes, end, FEW + 1, &mut request).unwrap();
    assert_eq!(request.headers().len(), FEW + 1);
}

/// The lines behind the first of an answer, and what follows from them.
fn written<B: Body>(response: Response<B>, facts: Facts, ends_here: bool) -> (String, Framing, bool) {
    let mut to = Vec::new();
    let Written { framing, keeps_alive } = write(&response.into(), facts, ends_here, DATE, &mut to);
    let head = String::from_utf8(to).unwrap();
    let lines = head.strip_suffix("\r\n\r\n").unwrap().replace("\r\ndate: Sat, 28 Nov 2026 01:02:03 GMT", "");
    (lines.replace("\r\n", "|"), framing, keeps_alive)
}

fn answer(status: u16) -> http::response::Builder {
    Response::builder().status(status)
}

/// A body of a length that nobody knows before it ends.
struct Endless;

impl Body for Endless {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[test]
fn an_answer_says_once_and_truly_where_it_ends() {
    let hello = || Full::new(bytes::Bytes::from_static(b"hello"));
    let (old, head) = (Facts { is_old: true, ..FACTS }, Facts { is_head: true, ..FACTS });
    let kept = |text: &str, framing| (text.to_owned(), framing, true);
    for wrong in ["5", "6", "x"] {
        let answer = || answer(200).header("content-length", wrong).header("transfer-encoding", "gzip");
        let expected = kept("HTTP/1.1 200 OK|content-length: 5", Framing::Length(5));
        assert_eq!(written(answer().body(hello()).unwrap(), FACTS, false), expected, "{wrong}");
    }
    let none = answer(200).body(Empty::<bytes::Bytes>::new()).unwrap();
    assert_eq!(written(none, FACTS, false), kept("HTTP/1.1 200 OK|content-length: 0", Framing::Nothing));
    let endless = || answer(200).body(Endless).unwrap();
    assert_eq!(written(endless(), FACTS, false), kept("HTTP/1.1 200 OK|transfer-encoding: chunked", Framing::Chunked));
    assert_eq!(
        written(endless(), old, false),
        ("HTTP/1.0 200 OK|connection: close".to_owned(), Framing::UntilClose, false)
    );
    // Over HTTP/2 a server says the length in the head, and its body keeps it.
    let promised = answer(200).header("content-length", "9").body(Endless).unwrap();
    assert_eq!(written(promised, FACTS, false), kept("HTTP/1.1 200 OK|content-length: 9", Framing::Length(9)));
    for (status, facts, told, lines) in [
        (204, FACTS, Some("5"), "HTTP/1.1 204 No Content"),
        (304, FACTS, Some("5"), "HTTP/1.1 304 Not Modified"),
        (304, head, Some("5"), "HTTP/1.1 304 Not Modified|content-length: 5"),
        (200, head, None, "HTTP/1.1 200 OK|content-length: 5"),
        (200, head, Some("7"), "HTTP/1.1 200 OK|content-length: 7"),
        (599, FACTS, None, "HTTP/1.1 599 <none>|content-length: 5"),
    ] {
        let answer = told.into_iter().fold(answer(status), |answer, length| answer.header("content-length", length));
        let framing = if status == 599 { Framing::Length(5) } else { Framing::Nothing };
        assert_eq!(written(answer.body(hello()).unwrap(), facts, false), kept(lines, framing), "{status} {told:?}");
    }
}

#[test]
fn an_answer_says_once_and_truly_what_becomes_of_the_connection() {
    let of = |status: u16, said: &[&str], facts, ends_here| {
        let answer = said.iter().fold(answer(status), |answer, said| answer.header("connection", *said));
        let (lines, _, keeps_alive) = written(answer.body(Empty::<bytes::Bytes>::new()).unwrap(), facts, ends_here);
        let said = lines.split('|').filter_map(|line| line.strip_prefix("connection: ")).collect::<Vec<_>>().join("|");
        (said, keeps_alive)
    };
    let (old, last) = (Facts { is_old: true, ..FACTS }, Facts { keeps_alive: false, ..FACTS });
    let is = |said: &str, keeps_alive| (said.to_owned(), keeps_alive);
    assert_eq!(of(200, &[], FACTS, false), is("", true));
    assert_eq!(of(200, &[], FACTS, true), is("close", false));
    assert_eq!(of(200, &[], last, false), is("close", false));
    assert_eq!(of(200, &["close"], FACTS, true), is("close", false));
    assert_eq!(of(200, &["x", "y, Close"], FACTS, false), is("close", false));
    assert_eq!(of(200, &["keep-alive"], last, false), is("close", false));
    assert_eq!(of(200, &[], old, false), is("keep-alive", true));
    assert_eq!(of(200, &[], Facts { keeps_alive: false, ..old }, false), is("close", false));
    assert_eq!(of(101, &["Upgrade"], FACTS, false), is("Upgrade", false));
}

#[test]
fn an_answer_has_one_date() {
    let dates = |answer: http::response::Builder| {
        let mut to = Vec::new();
        write(&answer.body(Empty::<bytes::Bytes>::new()).unwrap().into(), FACTS, false, DATE, &mut to);
        let head = String::from_utf8(to).unwrap();
        head.split("\r\n").filter_map(|line| line.strip_prefix("date: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(dates(answer(200)), ["Sat, 28 Nov 2026 01:02:03 GMT"]);
    assert_eq!(dates(answer(200).header("Date", "yesterday")), ["yesterday"]);
    let mut passed = Answer::from(answer(200).body(Empty::<bytes::Bytes>::new()).unwrap());
    passed.pass("Date", b"tomorrow");
    let mut to = Vec::new();
    write(&passed, FACTS, false, DATE, &mut to);
    assert_eq!(String::from_utf8(to).unwrap(), "HTTP/1.1 200 OK\r\ndate: tomorrow\r\ncontent-length: 0\r\n\r\n");
}
