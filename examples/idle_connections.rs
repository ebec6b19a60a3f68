//! What an idle client connection costs in memory, in the clear, over TLS, and with HTTP/2 in the clear:
//!
//! ```text
//! cargo build --release
//! cargo run --release --example idle_connections -- target/release/wxgate 8000 18000
//! cargo run --release --example idle_connections -- target/release/wxgate 4000 --websocket
//! cargo run --release --example idle_connections -- nginx 8000 18000
//! ```
//!
//! It starts the binary, opens so many connections, sends one request on each, leaves them alone until their buffers
//! are given back, and says by how much the process has grown. Of several numbers each is reached from the one before
//! it. The kernel's own memory is not counted. With `--websocket` each of them becomes a WebSocket, and what wxgate
//! keeps of the backend's end counts too. nginx answers the same requests itself, with one worker and the same
//! certificate; what it sets aside for connections at its start is in what it had before.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "an example that can't be set up has nothing to say"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::Duration,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::{Pid, Signal, kill_process};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::aws_lc_rs::default_provider};
use wxgate::server::raise_file_limit;

/// Longer than a connection keeps its buffers, and than the allocator keeps pages that nobody needs.
const SETTLE: Duration = Duration::from_secs(15);
/// nginx gives nothing back later.
const SETTLE_NGINX: Duration = Duration::from_secs(2);

const NAME: &str = "api.example.com";

const REQUEST: &[u8] = b"GET /orders HTTP/1.1\r\nHost: api.example.com\r\n\r\n";

/// The example of RFC 6455, 1.3.
const OPENING: &[u8] = b"GET /chat HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const OPENED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

type Connection = Box<dyn ReadWrite>;

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

fn main() {
    let mut args = std::env::args().skip(1);
    let binary = args.next().expect("the path of the binary, or nginx");
    let rest: Vec<String> = args.collect();
    let mut wanted: Vec<usize> = rest.iter().filter_map(|arg| arg.parse().ok()).collect();
    if wanted.is_empty() {
        wanted.push(4000);
    }
    let websocket = rest.iter().any(|arg| arg == "--websocket");
    let kind = if websocket { "WebSockets" } else { "connections" };
    let (request, end): (_, &[u8]) = if websocket { (OPENING, b"\r\n\r\n") } else { (REQUEST, b"}") };
    let settle = if binary == "nginx" { SETTLE_NGINX } else { SETTLE };
    raise_file_limit();
    let backend = backend();
    let folder = tempfile::tempdir().expect("a folder");
    let trust = certificate(folder.path());
    // A WebSocket is opened over HTTP/1.
    let manners: &[&str] = if websocket || binary == "nginx" {
        &["in the clear", "over TLS"]
    } else {
        &["in the clear", "over TLS", "with HTTP/2"]
    };
    for how in manners {
        let tls = *how == "over TLS";
        let request = if *how == "with HTTP/2" { http2() } else { request.to_vec() };
        let (gateway, addr) = if binary == "nginx" {
            start_nginx(folder.path(), tls)
        } else {
            start(&binary, folder.path(), backend, tls)
        };
        let dial = || -> Connection {
            let stream = TcpStream::connect(addr).expect("a connection");
            // Or a request waits behind the end of a handshake, until that is acknowledged.
            stream.set_nodelay(true).expect("a socket");
            if !tls {
                return Box::new(stream);
            }
            let name = NAME.try_into().expect("a name");
            Box::new(StreamOwned::new(ClientConnection::new(Arc::clone(&trust), name).expect("a client"), stream))
        };
        // What the first connections bring into being is no connection's own.
        drop((0..100).map(|_| ask(dial(), &request, end)).collect::<Vec<_>>());
        sleep(settle);
        let before = resident(gateway.0.id());
        println!("{how}: {} KiB before", before >> 10);
        let mut connections: Vec<Connection> = Vec::new();
        for &wanted in &wanted {
            connections.resize_with(wanted, || ask(dial(), &request, end));
            sleep(settle);
            let grown = resident(gateway.0.id()).saturating_sub(before);
            println!("{wanted} idle {kind} {how}: {} KiB, {} bytes each", grown >> 10, grown / wanted);
        }
        drop(gateway);
    }
}

/// A process, which does not outlive this. A master takes its workers along when it is asked to end.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
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

/// Sends a request and reads all of the answer, which ends so.
fn ask(mut connection: Connection, request: &[u8], end: &[u8]) -> Connection {
    connection.write_all(request).expect("a request");
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(end) {
        let n = connection.read(&mut piece).expect("an answer");
        assert!(n > 0, "the connection was closed");
        answer.extend_from_slice(&piece[..n]);
    }
    connection
}

/// A backend that opens every WebSocket, and says no more.
fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let (mut head, mut piece) = (Vec::new(), [0; 4096]);
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(n @ 1..) => head.extend_from_slice(&piece[..n]),
                    _ => break,
                }
            }
            stream.write_all(OPENED).expect("an opening");
            open.push(stream);
        }
    });
    addr
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

/// nginx, which refuses what wxgate refuses.
fn start_nginx(folder: &Path, tls: bool) -> (Server, SocketAddr) {
    // Its own choice of a port would be told to nobody.
    let any = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = any.local_addr().expect("an address");
    drop(any);
    let at = folder.display();
    let listen = if tls {
        format!("listen {addr} ssl backlog=4096; ssl_certificate {at}/cert.pem; ssl_certificate_key {at}/key.pem;")
    } else {
        format!("listen {addr} backlog=4096;")
    };
    let config = format!(
        r#"
worker_processes 1; worker_rlimit_nofile 20000; daemon off; pid {at}/nginx.pid; error_log {at}/nginx.err;
events {{ worker_connections 19500; }}
http {{
    access_log off; keepalive_timeout 1h;
    server {{ {listen} default_type application/json; location / {{ return 401 '{{"code":"token_missing"}}'; }} }}
}}
"#
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, config).expect("a file");
    let server = Server(Command::new("nginx").arg("-c").arg(&path).stderr(Stdio::null()).spawn().expect("nginx"));
    for _ in 0..500 {
        if TcpStream::connect(addr).is_ok() {
            return (server, addr);
        }
        sleep(Duration::from_millis(10));
    }
    panic!("nginx does not listen");
}

fn start(binary: &str, folder: &Path, backend: SocketAddr, tls: bool) -> (Server, SocketAddr) {
    let tls = if tls { "[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n" } else { "" };
    let config = format!(
        r#"
[server]
listen = ["127.0.0.1:0"]
workers = 1
max_connections = 1_000_000
keepalive_timeout = "1h"
drain_idle = "0s"
drain_timeout = "1s"
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
servers = ["http://{backend}"]
[[routes]]
path = "/"
upstream = "app"
[[routes]]
path = "/chat"
auth = "none"
upstream = "app"
websocket = true
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
    (Server(gateway), addr.expect("an address"))
}

/// Bytes of memory that a process has, and those that it has started.
fn resident(pid: u32) -> usize {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).expect("Linux");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("two numbers");
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("Linux");
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    pages * 4096 + children.map(resident).sum::<usize>()
}
