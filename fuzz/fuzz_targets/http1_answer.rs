//! Whatever a server says over HTTP/1.1, its client gets one whole answer or sees that there is none, and the next request, of
//! somebody else, is answered with nothing of it.
//!
//! Input: a byte, whose lowest bit says whether the server closes behind its answer, and whose next says whether it is asked with
//! HEAD; then what it says. A `\n` alone is written as one with a carriage return, unless the third bit is set.

#![no_main]

mod line_ends;

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{LazyLock, Mutex},
    thread,
    time::Duration,
};

use libfuzzer_sys::fuzz_target;
use wxgate::app::{App, World};

/// What the next request is for.
const NEXT: &str = "/next";

/// And what its answer is.
const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";

struct Gateway {
    addr: SocketAddr,
    _app: Mutex<App>,
}

/// What the server says next, and whether it closes behind it.
static SAYS: Mutex<(Vec<u8>, bool)> = Mutex::new((Vec::new(), false));

static GATEWAY: LazyLock<Gateway> = LazyLock::new(|| {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[apps]]\napp_id = \"wx4f4bc4dec97d474b\"\nsecret = {{ env = \"SECRET\" }}\n\
         [[upstreams]]\nname = \"app\"\nservers = [\"http://{}\"]\n\
         [[routes]]\npath = \"/\"\nupstream = \"app\"\nauth = \"none\"",
        server.local_addr().expect("an address")
    );
    let no_file = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let loaded = wxgate::config::parse(&text, "gateway.toml", &|_| Some("secret".repeat(8)), &no_file);
    let config = loaded.unwrap_or_else(|why| panic!("{why}")).config;
    let app = App::start(config, World { access_log: Box::new(io::sink()), ..World::default() }).expect("it starts");
    thread::spawn(move || {
        for stream in server.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    Gateway { addr: app.addrs()[0], _app: Mutex::new(app) }
});

fuzz_target!(|input: &[u8]| {
    let Some((how, said)) = input.split_first() else { return };
    let answer = line_ends::written(said, how & 4 == 4);
    *SAYS.lock().expect("nobody panics") = (answer, how & 1 == 1);
    let method = if how & 2 == 2 { "HEAD" } else { "GET" };
    let got = ask(method, "/");
    judge(&got, method == "HEAD");
    let next = ask("GET", NEXT);
    assert!(next.starts_with(b"HTTP/1.1 200 OK\r\n") && next.ends_with(b"\r\n\r\ngood"), "{:?}", latin1(&next));
});

/// All that comes in answer to a request that is the last on its connection. Whoever gets no end of it goes after a moment.
fn ask(method: &str, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(GATEWAY.addr).expect("a gateway");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it is taken");
    let mut got = Vec::new();
    // A cut is an end too.
    let _ = stream.read_to_end(&mut got);
    got
}

/// Judges what a client has got: the head of one answer, behind it no more than it says, and nothing that is a connection's own
/// business.
fn judge(got: &[u8], is_head: bool) {
    let text = latin1(got);
    let Some(end) = got.windows(4).position(|end| end == b"\r\n\r\n") else {
        return assert!(got.is_empty(), "half a head: {text:?}");
    };
    let (head, body) = (latin1(&got[..end]), &got[end + 4..]);
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    let Some(status @ 200..=999u16) = status else { panic!("{text:?}") };
    let mut lengths = Vec::new();
    let mut is_chunked = false;
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} in {text:?}"));
        assert!(!value.chars().any(|c| c.is_ascii_control() && c != '\t'), "{text:?}");
        match name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(value.parse::<usize>().unwrap_or_else(|_| panic!("{text:?}"))),
            "transfer-encoding" => {
                assert!(value == "chunked" && !is_chunked, "{text:?}");
                is_chunked = true;
            }
            "connection" => assert_eq!(value, "close", "{text:?}"),
            "keep-alive" | "upgrade" | "trailer" | "te" | "proxy-connection" => panic!("{text:?}"),
            _ => {}
        }
    }
    assert!(lengths.len() <= 1 && (lengths.is_empty() || !is_chunked), "{text:?}");
    if is_head || status == 204 || status == 304 {
        assert!(body.is_empty(), "{text:?}");
    } else if let [length] = lengths[..] {
        assert!(body.len() <= length, "{text:?}");
    } else if is_chunked {
        judge_chunks(body);
    }
}

/// Chunks, as far as they have come.
fn judge_chunks(mut rest: &[u8]) {
    while let Some(end) = rest.windows(2).position(|end| end == b"\r\n") {
        let size = usize::from_str_radix(&latin1(&rest[..end]), 16).unwrap_or_else(|_| panic!("{:?}", latin1(rest)));
        let data = &rest[end + 2..];
        if size == 0 {
            return assert_eq!(data, b"\r\n");
        }
        let Some(behind) = data.get(size..) else { return };
        let end = behind.len().min(2);
        assert_eq!(behind[..end], b"\r\n"[..end], "{:?}", latin1(rest));
        rest = &behind[end..];
    }
}

/// Answers each request on a connection: the next ones as they should be. It closes when no other comes at once, so that nobody
/// waits for more of an answer than there is.
fn serve(stream: TcpStream) {
    stream.set_read_timeout(Some(Duration::from_millis(10))).expect("a timeout");
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_until(b'\n', &mut head).map_or(true, |read| read == 0) {
                return;
            }
        }
        let is_next = head.split(|byte| *byte == b' ').nth(1) == Some(NEXT.as_bytes());
        let (said, closes) = if is_next { (GOOD.to_vec(), false) } else { SAYS.lock().expect("nobody panics").clone() };
        if stream.get_mut().write_all(&said).is_err() || closes {
            return;
        }
    }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
