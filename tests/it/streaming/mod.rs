//! Bodies that are long in bytes or in time: they pass as they come, both ways at once, and rest nowhere.

mod over_http2;

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use wxgate::config::Config;

use crate::support::{
    TestGateway,
    binary::Binary,
    client::head,
    endpoint,
    upstream::{Then, answer},
};

const MIB: usize = 1024 * 1024;

/// A backend that answers a request with its own body, each byte when it comes.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || give_back(stream));
        }
    });
    addr
}

fn give_back(mut stream: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
    io::copy(&mut stream.try_clone()?.take(length), &mut stream)?;
    Ok(())
}

fn upload(length: usize) -> String {
    format!("POST /public/ HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

#[test]
fn a_body_and_its_answer_flow_at_the_same_time() {
    let backend = echo();
    let gw = TestGateway::with(|config| config.upstreams[0].servers = vec![endpoint(backend).into()]);
    let mut client = gw.client();
    client.send(upload(100 * 1000));
    assert_eq!(client.head_only().status, 200);
    for round in 0..100_u8 {
        assert_eq!(client.send([round; 1000]).some(1000), [round; 1000]);
    }
}

#[test]
fn hundreds_of_megabytes_pass_both_ways_and_none_of_them_stays_in_memory() {
    const SIZE: usize = 300 * MIB;
    let gw = Binary::serve("streaming", &config("", &format!("http://{}", echo())), &[]);
    let mut client = gw.client();
    client.request("POST", "/public/", &[], "warm");
    let before = gw.peak_memory();
    let mut client = gw.client();
    let mut sender = client.again();
    let sending = thread::spawn(move || {
        sender.send(upload(SIZE));
        for piece in 0..SIZE / MIB {
            sender.send(vec![u8::try_from(piece % 251).unwrap(); MIB]);
        }
    });
    assert_eq!(client.head_only().status, 200);
    for piece in 0..SIZE / MIB {
        let as_sent = u8::try_from(piece % 251).unwrap();
        assert!(client.some(MIB).iter().all(|byte| *byte == as_sent), "piece {piece} is another one");
    }
    sending.join().unwrap();
    let grown = gw.peak_memory() - before;
    assert!(grown < 32 * MIB, "{grown} bytes more than before");
}

/// The configuration of a gateway with these lines more for its listener, and this backend.
fn config(listener: &str, backend: &str) -> String {
    format!(
        r#"
        [server]
        listen = ["127.0.0.1:0"]
        max_body = "1GiB"
        {listener}
        [admin]
        listen = "127.0.0.1:0"
        [[apps]]
        app_id = "wx4f4bc4dec97d474b"
        secret = "no-secret-to-anybody"
        [[upstreams]]
        name = "app"
        servers = ["{backend}"]
        [[routes]]
        path = "/public/"
        auth = "none"
        upstream = "app"
        "#
    )
}

/// As little time for everything as there can be.
fn impatient(config: &mut Config) {
    let server = &mut config.server;
    for limit in [
        &mut config.upstreams[0].response_timeout,
        &mut server.header_timeout,
        &mut server.keepalive_timeout,
        &mut server.body_timeout,
        &mut server.write_timeout,
    ] {
        *limit = Duration::from_millis(200);
    }
}

/// From now on the upstream answers with events, each when it is told to go on.
fn tells_events(gw: &TestGateway) -> mpsc::Sender<()> {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    gw.upstream.does(move |_, out| {
        answer(out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        while wait.lock().unwrap().recv().is_ok() {
            answer(out, "8\r\ndata: x\n\r\n");
        }
        Then::Close
    });
    go_on
}

#[test]
fn a_stream_of_events_outlives_every_limit_on_time() {
    let gw = TestGateway::with(impatient);
    let go_on = tells_events(&gw);
    let mut client = gw.client();
    client.send("GET /public/ HTTP/1.1\r\nHost: a\r\n\r\n");
    for _ in 0..4 {
        go_on.send(()).unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"data: x\n\r\n") {
            seen.extend(client.some(1));
        }
        assert!(client.stays_silent(Duration::from_millis(500)));
    }
}

/// Who may ask is decided when it is asked. Only tunnels, through which more is asked, end with their session.
#[test]
fn a_log_out_ends_no_answer_that_is_under_way() {
    let gw = TestGateway::start();
    let go_on = tells_events(&gw);
    let mut alice = gw.login("oAlice");
    let bearer = format!("Bearer {}", alice.token);
    alice.client.send(head("GET", "/events", &[("Authorization", &bearer)], 0));
    assert_eq!(alice.client.head_only().status, 200);
    assert_eq!(gw.client().request("POST", "/v1/logout", &[("Authorization", &bearer)], "").status, 204);
    for _ in 0..3 {
        go_on.send(()).unwrap();
        assert_eq!(alice.client.some(13), b"8\r\ndata: x\n\r\n");
    }
    drop(go_on);
    assert_eq!(gw.client().request("GET", "/events", &[("Authorization", &bearer)], "").code(), "token_invalid");
}
