//! Upstreams over HTTP/2: what a server is told and what becomes of its answers, that a worker's requests share a
//! connection, and what happens when that goes.

mod connections;
mod faults;
mod flow;
mod grpc;
mod interim;
mod real;
mod refused;
mod tls;

use std::net::SocketAddr;

use wxgate::config::{
    Config,
    sections::{Http2, ServerAddress, Upstream, UpstreamServer},
};

use crate::support::{
    TestGateway, endpoint,
    http2::HEADERS,
    http2_backend::{Answer, Backend},
    http2_server::Http2Server,
    until,
};

/// A server that is known to speak HTTP/2.
fn h2c(addr: SocketAddr) -> UpstreamServer {
    ServerAddress::ClearHttp2(endpoint(addr)).into()
}

/// One worker, and these servers. Clients may begin with HTTP/2 too.
fn gateway(servers: &[SocketAddr], change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::with(|config| {
        config.server.workers = 1;
        config.server.http2 = Http2 { prior_knowledge: true, ..Http2::default() };
        config.upstreams[0].servers = servers.iter().copied().map(h2c).collect();
        change(config);
    })
}

fn before(backend: &Backend) -> TestGateway {
    gateway(&[backend.addr()], |_| {})
}

/// Connections that the gateway has to its first server.
fn open(gw: &TestGateway) -> usize {
    gw.app().upstreams().status()[0].servers[0].connections
}

#[test]
fn a_request_is_told_as_http2_tells_it() {
    let backend = Backend::start();
    let gw = before(&backend);
    let alice = gw.login("oAlice");
    let bearer = format!("Bearer {}", alice.token);
    let headers = [("Authorization", &*bearer), ("X-WX-OPENID", "oMallory"), ("Connection", "x-own"), ("X-Own", "1")];
    let reply = gw.client().request("POST", "/orders?a=b", &headers, "{}");
    assert_eq!((reply.status, &*reply.text(), reply.header("via")), (200, "ok", Some("2.0 wxgate")));
    let asked = backend.last();
    assert_eq!((&*asked.method, &*asked.uri), ("POST", "http://api.example.com/orders?a=b"));
    assert_eq!((asked.header("x-wx-openid"), asked.header("content-length")), (Some("oAlice"), Some("2")));
    for name in ["host", "connection", "x-own", "authorization", "transfer-encoding", "te", "upgrade"] {
        assert_eq!(asked.header(name), None, "{name}");
    }
    assert_eq!((asked.header("via"), &asked.body[..]), (Some("1.1 wxgate"), &b"{}"[..]));
}

#[test]
fn a_body_without_a_length_has_none_here_either() {
    let backend = Backend::start();
    let gw = before(&backend);
    let chunks = "POST /public/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-WX-OPENID: evil\r\n\r\n";
    assert_eq!(gw.raw(chunks).status, 200);
    let asked = backend.last();
    assert_eq!((&asked.body[..], asked.trailers), (&b"hello"[..], None));
    assert_eq!(asked.headers.get("content-length"), None);
}

#[test]
fn answers_of_every_kind_come_whole() {
    let backend = Backend::start();
    let gw = before(&backend);
    let mut client = gw.client();
    let large = "x".repeat(1_000_000);
    backend.answers(Answer::ok(&large).with("content-length", "1000000").with("x-own", "1"));
    let reply = client.get("/public/");
    assert_eq!((reply.status, reply.body.len(), reply.header("x-own")), (200, large.len(), Some("1")));
    let head = client.request("HEAD", "/public/", &[], "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("1000000")));
    backend.answers(Answer::ok(&large));
    assert_eq!(client.get("/public/").body.len(), large.len(), "in chunks");
    for status in [204, 304, 404, 503] {
        let mut answer = Answer::default();
        *answer.head.status_mut() = status.try_into().unwrap();
        backend.answers(answer);
        assert_eq!(client.get("/public/").status, status);
    }
    assert_eq!((backend.connections(), gw.retries()), (1, 0));
}

/// Each costs the server a byte, and the client of HTTP/1 a whole line.
#[test]
fn an_answer_with_more_headers_than_one_of_http1_may_have_is_no_answer() {
    for (fields, status) in [(100, 200), (101, 502)] {
        let server = Http2Server::start(&[], move |talk, frame| match frame.kind {
            HEADERS => talk.head(frame.stream, &vec![("x-own", "1"); fields], true),
            _ => Ok(()),
        });
        let gw = gateway(&[server.addr()], |_| {});
        let reply = gw.client().get("/public/");
        assert_eq!((reply.status, server.count(HEADERS)), (status, 1), "{fields}");
        if status == 502 {
            assert_eq!(reply.code(), "upstream_unreachable");
            assert!(gw.log.line("upstream_unreachable").contains("its answer has too many headers"));
        }
    }
}

#[test]
fn a_large_body_reaches_it_whole() {
    let backend = Backend::start();
    let gw = before(&backend);
    let large = "y".repeat(3_000_000);
    assert_eq!(gw.client().post("/public/", &large).status, 200);
    assert!(backend.last().body == large.as_bytes());
}

#[test]
fn other_servers_take_the_place_of_those_there_were() {
    let (one, other) = (Backend::start(), Backend::start());
    let mut gw = before(&one);
    assert_eq!(gw.client().get("/public/").status, 200);
    gw.reload(|config| config.upstreams[0].servers = vec![h2c(other.addr())]);
    until("the other one is asked", || {
        assert_eq!(gw.client().get("/public/").status, 200);
        (other.count() > 0).then_some(())
    });
    let at_first = one.count();
    assert_eq!((gw.client().get("/public/").status, one.count()), (200, at_first));
}

/// The checks speak what the requests speak.
#[test]
fn a_server_is_asked_over_http2_whether_it_is_well() {
    let backend = Backend::start();
    let gw = gateway(&[backend.addr()], |config| checked(&mut config.upstreams[0]));
    backend.wait_for(2);
    let asked = backend.last();
    assert_eq!((&*asked.method, asked.header("user-agent")), ("GET", Some("wxgate-health")));
    assert_eq!(asked.uri, format!("http://{}/health?deep=1", backend.addr()));
    let mut answer = Answer::default();
    *answer.head.status_mut() = 503.try_into().unwrap();
    backend.answers(answer);
    let up = || gw.app().upstreams().status()[0].servers[0].standing == wxgate::upstream::Standing::Unhealthy;
    until("the server is not well", || up().then_some(()));
}

fn checked(upstream: &mut Upstream) {
    upstream.health.path = Some("/health?deep=1".to_owned());
    upstream.health.interval = std::time::Duration::from_millis(20);
}
