//! Answers that are left to whoever sends for all: the connection's own task is not there when they go out.

use std::{
    io::{self, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use crate::support::{
    Client, TestGateway,
    client::{head, taking_little},
    link::Link,
    upstream::answer,
};

const SOON: Duration = Duration::from_millis(300);

/// More requests than the system holds answers for, and larger than it holds requests that the gateway does not read.
const MANY: usize = 9000;

fn requests() -> Vec<u8> {
    let padding = "p".repeat(3000);
    (0..MANY).flat_map(|n| head("GET", &format!("/public/{n}"), &[("X-Padding", &padding)], 0).into_bytes()).collect()
}

/// Answers with where it was asked, and some more that is still a little.
fn tells_where(gw: &TestGateway) {
    gw.upstream.does(|seen, out| {
        let text = format!("{:<1500}", seen.target);
        answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()))
    });
}

/// Sends for as long as the other side takes it, and says how much that was.
fn sent_while_taken(mut socket: &TcpStream, bytes: &[u8]) -> usize {
    socket.set_write_timeout(Some(SOON)).unwrap();
    let mut sent = 0;
    while sent < bytes.len() {
        match socket.write(&bytes[sent..]) {
            Ok(more) => sent += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    sent
}

#[test]
fn whoever_sends_without_reading_is_waited_for_and_gets_every_answer_in_its_order() {
    let gw = TestGateway::start();
    tells_where(&gw);
    let (socket, requests) = (taking_little(gw.addr()), requests());
    let sent = sent_while_taken(&socket, &requests);
    assert!(sent < requests.len(), "nobody holds the client back");
    socket.set_write_timeout(None).unwrap();
    let mut sending = socket.try_clone().unwrap();
    let rest = thread::spawn(move || sending.write_all(&requests[sent..]).unwrap());
    let mut client = Client::over(Link::Tcp(socket));
    for n in 0..MANY {
        assert_eq!(client.reply().text().trim_end(), format!("/public/{n}"));
    }
    rest.join().unwrap();
}

#[test]
fn whoever_takes_no_answer_for_too_long_is_let_go() {
    let gw = TestGateway::with(|config| config.server.write_timeout = SOON);
    tells_where(&gw);
    let (mut socket, requests) = (taking_little(gw.addr()), requests());
    socket.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    let gone = socket.write_all(&requests).unwrap_err();
    assert!(matches!(gone.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe), "{gone}");
}

/// Its request may go on for as long as it likes, and the task that passes that on has no hand in the answer.
#[test]
fn the_last_of_an_answer_that_finds_no_room_goes_out_though_its_request_goes_on() {
    let gw = TestGateway::with(|config| config.server.write_timeout = 5 * SOON);
    gw.upstream.early(|_, out| {
        let piece = format!("3e8\r\n{}\r\n", "x".repeat(1000));
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        (0..8000).for_each(|_| drop(out.write_all(piece.as_bytes())));
        answer(out, "0\r\n\r\n");
        None
    });
    let mut client = Client::over(Link::Tcp(taking_little(gw.addr())));
    client.send(head("POST", "/public/", &[], 9)).send("half");
    assert_eq!(client.reply().body.len(), 8_000_000);
    client.send("other");
    assert_eq!(client.raw(head("GET", "/v1/session", &[], 0)).status, 401);
}

#[test]
fn whoever_says_no_more_behind_a_request_gets_its_answer_before_the_close() {
    let gw = TestGateway::start();
    tells_where(&gw);
    for n in 0..50 {
        let path = if n % 2 == 0 { "/v1/session".to_owned() } else { format!("/public/{n}") };
        let mut client = gw.client();
        client.send(head("GET", &path, &[], 0)).finish();
        assert_eq!(client.reply().status, if n % 2 == 0 { 401 } else { 200 });
        assert_eq!(client.try_rest(&mut Vec::new()).unwrap(), 0);
    }
}

#[test]
fn an_answer_before_a_close_comes_whole_whoever_asks_for_the_close() {
    let gw = TestGateway::start();
    tells_where(&gw);
    let close = [("Connection", "close")];
    for n in 0..20 {
        let mut client = gw.client();
        client.send([head("GET", "/public/first", &[], 0), head("GET", &format!("/public/{n}"), &close, 0)].concat());
        assert_eq!(client.reply().text().trim_end(), "/public/first");
        let last = client.reply();
        assert_eq!((last.header("connection"), last.text().trim_end()), (Some("close"), &*format!("/public/{n}")));
        assert_eq!(client.try_rest(&mut Vec::new()).unwrap(), 0);
    }
}
