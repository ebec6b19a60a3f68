//! What an idle client connection costs in memory, in the clear, over TLS, and with HTTP/2 in the clear:
//!
//! ```text
//! cargo build --release
//! cargo run --release --example idle_connections -- target/release/wxgate 4000
//! ```
//!
//! It starts the binary, opens so many connections, sends one request on each, leaves them alone until their buffers are
//! given back, and says by how much the process has grown. The kernel's own memory is not counted.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "an example that can't be set up has nothing to say")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::Duration,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::aws_lc_rs::default_provider};
use wxgate::server::raise_file_limit;

/// Longer than a connection keeps its buffers, and than the allocator keeps pages that nobody needs.
const SETTLE: Duration = Duration::from_secs(15);

const NAME: &str = "api.example.com";

const REQUEST: &[u8] = b"GET /orders HTTP/1.1\r\nHost: api.example.com\r\n\r\n";

type Connection = Box<dyn ReadWrite>;

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

fn main() {
    let mut args = std::env::args().skip(1);
    let binary = args.next().expect("the path of the binary");
    let wanted: usize = args.next().and_then(|arg| arg.parse().ok()).unwrap_or(4000);
    raise_file_limit();
    let folder = tempfile::tempdir().expect("a folder");
    let trust = certificate(folder.path());
    for kind in ["in the clear", "over TLS", "with HTTP/2"] {
        let tls = kind == "over TLS";
        let request = if kind == "with HTTP/2" { http2() } else { REQUEST.to_vec() };
        let ask = |connection| ask(connection, &request);
        let (mut gateway, addr) = start(&binary, folder.path(), tls);
        let dial = || -> Connection {
            let stream = TcpStream::connect(addr).expect("a connection");
            if !tls {
                return Box::new(stream);
            }
            let name = NAME.try_into().expect("a name");
            Box::new(StreamOwned::new(ClientConnection::new(Arc::clone(&trust), name).expect("a client"), stream))
        };
        // What the first connections bring into being is no connection's own.
        drop((0..100).map(|_| ask(dial())).collect::<Vec<_>>());
        sleep(SETTLE);
        let before = resident(&gateway);
        let connections: Vec<Connection> = (0..wanted).map(|_| ask(dial())).collect();
        sleep(SETTLE);
        let grown = resident(&gateway).saturating_sub(before);
        println!("{wanted} idle connections {kind}: {} KiB, {} bytes each", grown >> 10, grown / connections.len());
        gateway.kill().and_then(|()| gateway.wait()).expect("an end");
    }
}

/// The same request over HTTP/2, with what comes before it.
fn http2() -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).expect("a short one");
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    };
    // GET, http, and two fields that are named in the static table.
    let head = [&b"\x82\x86\x04\x07/orders\x01\x0f"[..], NAME.as_bytes()].concat();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[]), frame(1, 5, 1, &head)].concat()
}

/// Sends a request and reads all of the answer.
fn ask(mut connection: Connection, request: &[u8]) -> Connection {
    connection.write_all(request).expect("a request");
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(b"}") {
        let n = connection.read(&mut piece).expect("an answer");
        assert!(n > 0, "the connection was closed");
        answer.extend_from_slice(&piece[..n]);
    }
    connection
}

/// Writes a certificate, and gives what a client needs to believe it.
fn certificate(folder: &Path) -> Arc<ClientConfig> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
    fs::write(folder.join("cert.pem"), cert.pem()).expect("a file");
    fs::write(folder.join("key.pem"), signing_key.serialize_pem()).expect("a file");
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn start(binary: &str, folder: &Path, tls: bool) -> (Child, SocketAddr) {
    let tls = if tls { "[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n" } else { "" };
    let config = format!(
        r#"
[server]
listen = ["127.0.0.1:0"]
workers = 1
max_connections = 1_000_000
keepalive_timeout = "1h"
[server.http2]
prior_knowledge = true
{tls}
[admin]
listen = "127.0.0.1:0"
[log]
access = false
[[apps]]
app_id = "wx4f4bc4dec97d474b"
secret = "not used here"
[[upstreams]]
name = "app"
servers = ["http://127.0.0.1:9"]
[[routes]]
path = "/"
upstream = "app"
"#
    );
    let path = folder.join("gateway.toml");
    fs::write(&path, config).expect("a file");
    let mut command = Command::new(binary);
    let mut gateway = command.arg("--config").arg(&path).stderr(Stdio::piped()).spawn().expect("the binary");
    let mut said = BufReader::new(gateway.stderr.take().expect("a pipe")).lines();
    let addr = said.by_ref().flatten().find_map(|line| {
        let (_, rest) = line.split_once("\"serving\"")?;
        rest.split('"').find_map(|word| word.parse().ok())
    });
    std::thread::spawn(move || said.for_each(drop));
    (gateway, addr.expect("an address"))
}

/// Bytes of memory that a process has.
fn resident(process: &Child) -> usize {
    let statm = fs::read_to_string(format!("/proc/{}/statm", process.id())).expect("Linux");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("two numbers");
    pages * 4096
}
