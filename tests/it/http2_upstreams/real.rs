//! Servers and clients of others: nginx and Node behind wxgate, curl before it.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use wxgate::config::sections::{Endpoint, ServerAddress, UpstreamTls};

use super::gateway;
use crate::{
    behind::program,
    support::{TestGateway, ports::own_port, tls::Authority, until},
};

const NODE: &str = "
const server = require('node:http2').createServer();
server.on('stream', (stream, headers) => {
  const pieces = [];
  stream.on('data', (piece) => pieces.push(piece));
  stream.on('end', () => {
    stream.respond({ ':status': 200, 'x-path': headers[':path'] }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-last': 'bye' }));
    stream.end(Buffer.concat(pieces));
  });
});
server.listen(Number(process.argv[2]), '127.0.0.1');
";

/// A server as a process of its own. Dropped, it is killed.
struct Server {
    child: Child,
    addr: SocketAddr,
    _folder: TempDir,
}

impl Server {
    /// Starts what `command` says, given a folder and an address to listen at.
    fn start(command: impl Fn(&TempDir, SocketAddr) -> Command) -> Self {
        for _ in 0..20 {
            // Where somebody else is quicker to take the port, it is tried again with another.
            let addr = SocketAddr::from(([127, 0, 0, 1], own_port()));
            let folder = tempfile::tempdir().unwrap();
            let child = command(&folder, addr).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let mut server = Self { child, addr, _folder: folder };
            let has_ended = |server: &mut Self| server.child.try_wait().unwrap().is_some();
            let listens = until("a server", || {
                if has_ended(&mut server) { Some(false) } else { TcpStream::connect(addr).is_ok().then_some(true) }
            });
            if listens {
                return server;
            }
        }
        panic!("it does not start")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// nginx, which answers with what it was asked over, and takes a body without reading it.
fn nginx(ca: &Authority) -> Server {
    let files = ca.files("nginx", &["localhost"]);
    Server::start(|folder, addr| {
        let scratch = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let scratch: String = scratch.iter().map(|name| format!("{name}_temp_path {name};\n")).collect();
        let text = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {{}}\n\
             http {{ access_log off;\n{scratch}client_max_body_size 0; http2_max_requests 50;\n\
             server {{ listen {addr} ssl http2; ssl_certificate {}; ssl_certificate_key {};\n\
             location / {{ return 200 \"$server_protocol $host $request_uri\"; }} }} }}\n",
            files.cert.display(),
            files.key.display(),
        );
        fs::write(folder.path().join("nginx.conf"), text).unwrap();
        let mut nginx = Command::new(program("nginx"));
        nginx.arg("-p").arg(folder.path()).args(["-e", "stderr", "-c", "nginx.conf"]);
        nginx
    })
}

fn before_nginx(ca: &Authority, nginx: &Server) -> TestGateway {
    let (ca, port) = (ca.pem(), nginx.addr.port());
    gateway(&[], |config| {
        let place = Endpoint { host: "localhost".to_owned(), port };
        config.upstreams[0].servers = vec![ServerAddress::Http2(place).into()];
        config.upstreams[0].tls = UpstreamTls { ca: Some(ca), ..UpstreamTls::default() };
    })
}

/// It leaves each connection after fifty requests, politely.
#[test]
fn nginx_is_asked_over_http2_and_none_of_its_goodbyes_is_felt() {
    let ca = Authority::new();
    let nginx = nginx(&ca);
    let gw = before_nginx(&ca, &nginx);
    let mut client = gw.client();
    for n in 0..300 {
        let reply = client.get(&format!("/public/{n}?a=b"));
        assert_eq!((reply.status, reply.text()), (200, format!("HTTP/2.0 api.example.com /public/{n}?a=b")));
    }
}

/// nginx answers before it has the body, and then wants no more of it.
#[test]
fn nginx_may_answer_before_it_has_the_whole_of_an_upload() {
    let ca = Authority::new();
    let nginx = nginx(&ca);
    let gw = before_nginx(&ca, &nginx);
    for _ in 0..5 {
        let reply = gw.client().post("/public/", &"x".repeat(3_000_000));
        assert_eq!((reply.status, reply.text()), (200, "HTTP/2.0 api.example.com /public/".to_owned()));
    }
}

#[test]
fn curl_reaches_node_over_http2_all_the_way() {
    let node = Server::start(|folder, addr| {
        let script = folder.path().join("server.js");
        fs::write(&script, NODE).unwrap();
        let mut node = Command::new("node");
        node.arg(script).arg(addr.port().to_string());
        node
    });
    let gw = gateway(&[node.addr], |_| {});
    let body = "y".repeat(500_000);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("body"), &body).unwrap();
    let url = format!("http://{}/public/a?b=c", gw.addr());
    let curl = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--http2-prior-knowledge", "--header", "TE: trailers"])
        .args(["--data-binary", "@body", &url])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let answer = String::from_utf8(curl.stdout).unwrap();
    assert!(answer.starts_with("HTTP/2 200") && answer.contains("x-path: /public/a?b=c"), "{answer:.300}");
    assert!(answer.contains(&body) && answer.ends_with("x-last: bye\r\n"), "{}", &answer[answer.len() - 100..]);
}
