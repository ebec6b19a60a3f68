//! No head of HTTP/2 means two things: what reaches an upstream has the one host, method and target that the client's
//! fields say, nothing that belongs to a connection, and nobody's identity. Input: each line is a field, `name: value`, as
//! it is put into the block, pseudo fields among them. It goes through a whole gateway, and what is judged is the
//! bytes that an upstream of HTTP/1.1 gets.

#![no_main]

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use libfuzzer_sys::fuzz_target;
use wxgate::app::{App, World};

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// Of every head, so that one which comes late is not taken for the next one's.
const RUN: &str = "x-run";

const OF_A_CONNECTION: [&str; 8] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"];

struct Place {
    gateway: SocketAddr,
    /// The heads that the upstream has got.
    heads: Mutex<Receiver<Vec<u8>>>,
    runs: AtomicU64,
    _app: Mutex<App>,
}

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port");
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[server.http2]\nprior_knowledge = true\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[[apps]]\napp_id = \"wx4f4bc4dec97d474b\"\nsecret = {{ env = \"SECRET\" }}\n\
         [[upstreams]]\nname = \"app\"\nservers = [\"http://{}\"]\n\
         [[routes]]\npath = \"/\"\nupstream = \"app\"\nauth = \"none\"\n",
        upstream.local_addr().expect("an address")
    );
    let no_file = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let loaded = wxgate::config::parse(&text, "gateway.toml", &|_| Some("secret".repeat(8)), &no_file);
    let config = loaded.unwrap_or_else(|why| panic!("{why}")).config;
    let app = App::start(config, World { access_log: Box::new(io::sink()), ..World::default() }).expect("it starts");
    let (said, heads) = channel();
    thread::spawn(move || {
        for stream in upstream.incoming().flatten() {
            let said = said.clone();
            thread::spawn(move || answer(stream, &said));
        }
    });
    Place { gateway: app.addrs()[0], heads: Mutex::new(heads), runs: AtomicU64::new(0), _app: Mutex::new(app) }
});

fuzz_target!(|input: &[u8]| {
    let Some(fields) = fields(input) else { return };
    let run = PLACE.runs.fetch_add(1, Ordering::Relaxed).to_string();
    let mut block = Vec::new();
    for (name, value) in fields.iter().copied().chain([(RUN.as_bytes(), run.as_bytes())]) {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    if block.len() < 16_000 && ask(&block).is_ok() {
        let heads = PLACE.heads.lock().expect("nobody panics").try_iter().collect::<Vec<_>>();
        let ends = format!("\n{RUN}: {run}\r");
        for head in heads.iter().map(|head| String::from_utf8_lossy(head)).filter(|head| head.contains(&ends)) {
            judge(&head, &fields);
        }
    }
});

/// Names and values. A name may begin with a colon.
fn fields(input: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    input.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(field).collect()
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = 1 + line.get(1..)?.iter().position(|byte| *byte == b':')?;
    let value = &line[colon + 1..];
    Some((&line[..colon], value.strip_prefix(b" ").unwrap_or(value)))
}

/// What a head that has reached the upstream must be.
fn judge(head: &str, fields: &[(&[u8], &[u8])]) {
    let mut lines = head.trim_end_matches("\r\n").split("\r\n");
    let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1"] = first[..] else { panic!("{head:?}") };
    let told = |name: &str| -> Vec<String> {
        let values = fields.iter().filter(|(known, _)| *known == name.as_bytes());
        values.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    };
    assert_eq!(told(":method"), [method], "{head:?}");
    assert!(target.starts_with('/') && told(":path").len() == 1, "{head:?}");
    let headers: Vec<(String, &str)> = lines
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{line:?} in {head:?}")))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    let hosts: Vec<&str> = headers.iter().filter(|(name, _)| name == "host").map(|(_, value)| *value).collect();
    let [host] = hosts[..] else { panic!("{hosts:?} in {head:?}") };
    for said in told(":authority").iter().chain(&told("host")) {
        assert!(said.eq_ignore_ascii_case(host), "{said:?} was said and {host:?} is told");
    }
    for (name, value) in &headers {
        assert!(!OF_A_CONNECTION.contains(&name.as_str()), "{name} in {head:?}");
        let folded: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        assert!(!folded.starts_with("x-wx-"), "{name} in {head:?}");
        assert!(!value.chars().any(|c| c.is_ascii_control() && c != '\t'), "{head:?}");
    }
    let from: Vec<&str> = headers.iter().filter(|(name, _)| name == "x-forwarded-for").map(|(_, ip)| *ip).collect();
    assert_eq!(from, ["127.0.0.1"], "{head:?}");
}

/// Sends one request and waits until it is known what became of it.
fn ask(block: &[u8]) -> io::Result<()> {
    let mut stream = TcpStream::connect(PLACE.gateway)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, 5, 1, block));
    stream.write_all(&bytes)?;
    loop {
        let mut head = [0; 9];
        if let Err(error) = stream.read_exact(&mut head) {
            assert!(error.kind() != io::ErrorKind::WouldBlock, "no answer, no reset and no end");
            return Ok(());
        }
        let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        if stream.read_exact(&mut payload).is_err() || matches!(head[3], HEADERS | RESET | GOAWAY) {
            return Ok(());
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a short one").to_be_bytes();
    [&[0, length[0], length[1], kind, flags, 0, 0, 0, stream][..], payload].concat()
}

/// A text of the header compression, as it is.
fn text(block: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text.len();
    if let Some(more) = rest.checked_sub(127) {
        block.push(127);
        rest = more;
        while rest >= 128 {
            block.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
    }
    block.push(rest as u8);
    block.extend_from_slice(text);
}

/// Tells of every head on a connection, and answers it.
fn answer(mut stream: TcpStream, said: &Sender<Vec<u8>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            let heard = said.send(std::mem::take(&mut head)).is_ok();
            if !heard || stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                return;
            }
        }
    }
}
