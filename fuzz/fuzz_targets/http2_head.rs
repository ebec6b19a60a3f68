//! No head of HTTP/2 means two things: what reaches an upstream has the one host, method and target that the client's
//! fields say, nothing that belongs to a connection, and nobody's identity. Input: each line is a field, `name: value`, as
//! it is put into the block, pseudo fields among them. It goes through a whole gateway, and what is judged is the
//! bytes that an upstream of HTTP/1.1 gets.

#![no_main]

mod place;

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use libfuzzer_sys::fuzz_target;
use place::{Head, Place, latin1};
use wxgate::routing::canonicalise;

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// Of every head, so that one which comes late is not taken for the next one's.
const RUN: &str = "x-run";

static RUNS: AtomicU64 = AtomicU64::new(0);

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let sections = "[server.http2]\nprior_knowledge = true\n\
                    [[routes]]\npath = \"/\"\nupstream = \"app\"\nauth = \"none\"\n";
    Place::new("", sections)
});

fuzz_target!(|input: &[u8]| {
    let Some(fields) = fields(input) else { return };
    let run = RUNS.fetch_add(1, Ordering::Relaxed).to_string();
    let mut block = Vec::new();
    for (name, value) in fields.iter().copied().chain([(RUN.as_bytes(), run.as_bytes())]) {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    if block.len() < 16_000 && ask(&block).is_ok() {
        let heads = PLACE.heads();
        for head in heads.iter().filter(|head| head.values(RUN).contains(&run.as_str())) {
            judge(head, &fields);
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
fn judge(head: &Head, fields: &[(&[u8], &[u8])]) {
    let told = |name: &str| -> Vec<String> {
        let values = fields.iter().filter(|(known, _)| *known == name.as_bytes());
        values.map(|(_, value)| latin1(value)).collect()
    };
    assert_eq!(told(":method"), [head.method.as_str()], "{head:?}");
    let [path] = &told(":path")[..] else { panic!("not one path became {head:?}") };
    // A fragment is gone before anything is decided, and where nothing stands before it, that is a slash.
    let path = path.split_once('#').map_or(path.as_str(), |(path, _)| if path.is_empty() { "/" } else { path });
    let (path, query) = path.find('?').map_or((path, ""), |at| path.split_at(at));
    let path = canonicalise(path).unwrap_or_else(|why| panic!("{why}: {path} became {head:?}"));
    assert_eq!(head.target, format!("{}{query}", path.as_str()));
    for said in told(":authority").iter().chain(&told("host")) {
        assert!(said.eq_ignore_ascii_case(head.host()), "{said:?} was said, and {head:?} is told");
    }
    assert!(head.identity().is_empty(), "{head:?}");
    head.judge(&[]);
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
