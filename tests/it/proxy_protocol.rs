//! What a load balancer says of its client before the first byte: whom it is believed of, and where it ends.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::{Child, Command},
    time::Duration,
};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use wxgate::config::{
    Config,
    sections::{ListenAt, Listener, Rate, Speaks},
};

use crate::behind::program;
use crate::support::{
    APP, TestGateway,
    client::{Client, Reply, head, tcp},
    link::Link,
    tls::{Authority, speak_tls},
    until,
};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V1: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 443\r\n";
/// 203.0.113.8 at port 5000 to 10.0.0.1 at port 443.
const ADDRESSES: [u8; 12] = [203, 0, 113, 8, 10, 0, 0, 1, 0x13, 0x88, 1, 0xbb];

/// A header of version 2.
fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, payload].concat()
}

fn start(change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::with(|config| {
        config.server.proxy_protocol = true;
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        change(config);
    })
}

fn get(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    head("GET", path, headers, 0).into_bytes()
}

fn counted(gw: &TestGateway, outcome: &str) -> u64 {
    gw.app().counters().proxy_headers.each().into_iter().find(|(word, _)| *word == outcome).unwrap().1
}

/// The log line of an answer.
fn line(gw: &TestGateway, reply: &Reply) -> Value {
    serde_json::from_str(&gw.log.line(reply.header("x-request-id").unwrap())).unwrap()
}

/// What the upstream is told of whom the request behind this header came from.
fn told(gw: &TestGateway, header: &[u8]) -> String {
    assert_eq!(gw.client().send(header).raw(get("/public/", &[])).status, 200);
    gw.upstream.last().header("x-forwarded-for").unwrap().to_owned()
}

#[test]
fn the_client_is_whom_the_header_names() {
    let gw = start(|_| {});
    assert_eq!(told(&gw, V1), "203.0.113.7");
    assert_eq!(told(&gw, &binary(0x21, 0x11, &ADDRESSES)), "203.0.113.8");
    let six = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]; 2].concat();
    assert_eq!(told(&gw, &binary(0x21, 0x21, &[&six[..], &[0, 1, 0, 2]].concat())), "2001:db8::9");
    let with_extensions = [&ADDRESSES[..], b"\x02\0\x05abcde", b"\xe0\0\x02hi"].concat();
    assert_eq!(told(&gw, &binary(0x21, 0x11, &with_extensions)), "203.0.113.8");
    let line: Value = serde_json::from_str(&gw.log.line("203.0.113.7")).unwrap();
    assert_eq!(line["client"], "203.0.113.7");
    assert_eq!(counted(&gw, "client"), 4);
}

#[test]
fn a_header_means_the_same_however_it_is_cut() {
    let gw = start(|_| {});
    for header in [V1.to_vec(), binary(0x21, 0x11, &ADDRESSES)] {
        let mut client = gw.client();
        for byte in [header, get("/public/", &[])].concat() {
            client.send([byte]);
        }
        assert_eq!(client.reply().status, 200);
    }
    let names: Vec<_> =
        gw.upstream.seen().iter().map(|seen| seen.header("x-forwarded-for").unwrap().to_owned()).collect();
    assert_eq!(names, ["203.0.113.7", "203.0.113.8"]);
}

#[test]
fn what_stands_behind_a_header_is_no_part_of_it() {
    let gw = start(|_| {});
    let mut client = gw.client();
    client.send([V1, &get("/public/1", &[]), &get("/public/2", &[])].concat());
    assert_eq!((client.reply().status, client.reply().status), (200, 200));
    let seen = gw.upstream.seen();
    assert!(seen.iter().all(|seen| seen.header("x-forwarded-for") == Some("203.0.113.7")), "{seen:?}");
    let second = binary(0x21, 0x11, &ADDRESSES);
    for again in [V1, &second] {
        assert_eq!(gw.client().raw([V1, again, &get("/public/", &[])].concat()).status, 400);
    }
    assert_eq!(gw.upstream.count(), 2);
}

#[test]
fn nobody_but_a_trusted_proxy_names_a_client() {
    let gw = start(|config| config.server.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]);
    for first in [V1.to_vec(), get("/public/", &[])] {
        assert!(gw.client().send(first).is_closed());
    }
    until("both", || (counted(&gw, "untrusted") == 2).then_some(()));
    assert_eq!((gw.upstream.count(), gw.log.text()), (0, String::new()));
}

#[test]
fn who_is_trusted_no_more_names_no_client() {
    let mut gw = start(|_| {});
    assert_eq!(told(&gw, V1), "203.0.113.7");
    gw.reload(|config| config.server.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]);
    let request = [V1, &get("/public/", &[("Connection", "close")])].concat();
    until("a closed door", || gw.client().send(&request).rest().is_empty().then_some(()));
}

/// Before the restart that the doors wait for, each would be the wrong list: an empty one closes them, and a longer one
/// believes what the load balancer only passes on.
#[test]
fn who_is_believed_changes_together_with_where_headers_come_first() {
    let mut gw = start(|_| {});
    let change = gw.reload(|config| {
        config.server.proxy_protocol = false;
        config.server.trusted_proxies.clear();
        config.server.max_body = 3;
    });
    assert_eq!(change.waiting.len(), 2, "{change:?}");
    until("the rest", || {
        let request = head("POST", "/public/", &[("Connection", "close")], 4) + "four";
        (gw.client().raw([V1, request.as_bytes()].concat()).status == 413).then_some(())
    });
    assert_eq!(told(&gw, V1), "203.0.113.7");
}

#[test]
fn a_connection_without_a_good_header_is_closed_without_a_word() {
    let gw = start(|_| {});
    let mut short = binary(0x21, 0x11, &ADDRESSES);
    short[15] = 11;
    let mut long = binary(0x21, 0x11, &ADDRESSES);
    long[14] = 0xff;
    let bad = [
        get("/public/", &[]),
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(),
        [&b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 443 "[..], &[b'x'; 100]].concat(),
        b"PROXY TCP4 203.0.113.777 10.0.0.1 5000 443\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 443\n".to_vec(),
        binary(0x31, 0x11, &ADDRESSES),
        short,
        long,
    ];
    for (n, bytes) in bad.iter().enumerate() {
        assert_eq!(gw.client().send(bytes).rest(), b"", "{n}");
    }
    until("all of them", || (counted(&gw, "malformed") == bad.len() as u64).then_some(()));
    assert_eq!((gw.upstream.count(), gw.log.text()), (0, String::new()));
}

#[test]
fn a_header_that_does_not_come_whole_is_not_waited_for_for_ever() {
    let gw = start(|config| config.server.header_timeout = Duration::from_millis(200));
    assert_eq!(gw.client().rest(), b"");
    for half in [&V1[..20], &SIGNATURE[..5], &binary(0x21, 0x11, &ADDRESSES)[..20]] {
        assert_eq!(gw.client().send(half).rest(), b"");
    }
    gw.client().send(&V1[..20]).finish();
    for (outcome, count) in [("silent", 1), ("timeout", 3), ("broken", 1)] {
        until(outcome, || (counted(&gw, outcome) == count).then_some(()));
    }
}

#[test]
fn a_proxy_that_names_nobody_gets_its_client_no_trust() {
    let gw = start(|_| {});
    let claim = get("/public/", &[("X-Forwarded-For", "198.51.100.1")]);
    for unknown in [b"PROXY UNKNOWN\r\n".to_vec(), binary(0x21, 0, &[]), binary(0x21, 0x31, &[0; 216])] {
        assert_eq!(gw.client().raw([unknown, claim.clone()].concat()).status, 200);
        assert_eq!(gw.upstream.last().header("x-forwarded-for"), Some("127.0.0.1"));
    }
    // HAProxy says so of a check of its own, and of a client that came to it by a Unix socket.
    gw.client().raw([binary(0x20, 0, &[]), claim.clone()].concat());
    assert_eq!(gw.upstream.last().header("x-forwarded-for"), Some("127.0.0.1"));
    gw.client().raw([V1, &claim].concat());
    assert_eq!(gw.upstream.last().header("x-forwarded-for"), Some("203.0.113.7"));
    assert_eq!((counted(&gw, "unknown"), counted(&gw, "local")), (3, 1));
}

#[test]
fn limits_count_whom_the_header_names() {
    let gw = start(|config| {
        config.limits.verify_per_ip = Rate { count: 1.try_into().unwrap(), per: Duration::from_mins(1) }
    });
    let login = |header: &[u8], openid: &str| {
        let body = json!({ "jsCode": gw.code(openid), "appId": APP }).to_string();
        gw.client().send(header).request("POST", "/v1/verify", &[("Content-Type", "application/json")], &body).status
    };
    let other = binary(0x21, 0x11, &ADDRESSES);
    assert_eq!([login(V1, "o1"), login(V1, "o2"), login(&other, "o3")], [200, 429, 200]);
}

#[test]
fn the_header_comes_before_tls() {
    let ca = Authority::new();
    let gw = start(|config| {
        speak_tls(config, vec![ca.files("api", &["api.example.com"])]);
    });
    let mut socket = tcp(gw.addr());
    socket.write_all(V1).unwrap();
    let mut client = ca.dialler().dial_over(socket, "api.example.com");
    assert_eq!(client.get("/public/").status, 200);
    assert_eq!(gw.upstream.last().header("x-forwarded-for"), Some("203.0.113.7"));
}

#[test]
fn plain_http_behind_the_header_of_a_listener_with_tls_is_told_so() {
    let ca = Authority::new();
    let gw = start(|config| {
        speak_tls(config, vec![ca.files("api", &["api.example.com"])]);
    });
    let reply = gw.client().raw([V1, &get("/public/", &[])].concat());
    assert_eq!((reply.verdict().as_str(), &line(&gw, &reply)["client"]), ("400 bad_request", &json!("203.0.113.7")));
    assert!(ca.dialler().try_dial(gw.addr(), "api.example.com").is_err(), "TLS without a header is not begun");
}

#[test]
fn the_word_of_a_client_counts_only_where_it_is_a_proxy_too() {
    let gw = start(|config| config.server.trusted_proxies.push("10.0.0.0/8".parse().unwrap()));
    let proxy = b"PROXY TCP4 10.0.0.5 10.0.0.1 5000 443\r\n";
    let disguised = [&[0; 10][..], &[0xff, 0xff, 10, 0, 0, 5], &[0; 20]].concat();
    let disguised = binary(0x21, 0x21, &disguised);
    for (header, claim, upstream, client) in [
        (V1, "10.0.0.9", "203.0.113.7", "203.0.113.7"),
        (proxy, "192.0.2.1", "192.0.2.1, 10.0.0.5", "192.0.2.1"),
        (&disguised, "192.0.2.1", "192.0.2.1, 10.0.0.5", "192.0.2.1"),
        (proxy, "198.51.100.1, 192.0.2.1, 10.0.0.6", "198.51.100.1, 192.0.2.1, 10.0.0.6, 10.0.0.5", "192.0.2.1"),
    ] {
        let reply = gw.client().raw([header, &get("/public/", &[("X-Forwarded-For", claim)])].concat());
        assert_eq!(gw.upstream.last().header("x-forwarded-for"), Some(upstream));
        assert_eq!(line(&gw, &reply)["client"], client);
    }
}

/// Threat 13, CVE-2024-45806: every private address was taken for a proxy's.
#[test]
fn a_private_address_is_no_reason_to_believe_anybody() {
    let gw = start(|_| {});
    let claims = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https"), ("X-WX-OPENID", "evil")];
    for peer in ["10.0.0.5", "172.16.0.5", "192.168.0.5", "127.0.0.2", "169.254.0.5"] {
        let header = format!("PROXY TCP4 {peer} 10.0.0.1 5000 443\r\n");
        let reply = gw.client().send(header).raw(get("/public/", &claims));
        let seen = gw.upstream.last();
        assert_eq!((reply.status, seen.header("x-forwarded-for")), (200, Some(peer)));
        assert_eq!((seen.header("x-forwarded-proto"), seen.header("x-wx-openid")), (Some("http"), None), "{peer}");
        assert_eq!(line(&gw, &reply)["client"], peer);
    }
}

/// Whoever it is must not speak with the voice of the proxy in anything else either.
#[test]
fn a_client_without_a_name_neither_asks_for_others_nor_names_its_requests() {
    let gw = start(|_| {});
    let id = "0123456789abcdef0123456789abcdef";
    let original = [("X-Original-Method", "GET"), ("X-Original-URI", "/public/"), ("X-Forwarded-Host", "a")];
    for header in [&b"PROXY UNKNOWN\r\n"[..], &binary(0x20, 0, &[])] {
        let reply = gw.client().raw([header, &get("/public/", &[("X-Request-Id", id)])].concat());
        assert_ne!(reply.header("x-request-id"), Some(id));
        let asked = gw.client().raw([header, &get("/v1/authorize", &original)].concat());
        assert_eq!(asked.status, 403, "{asked:?}");
    }
}

#[test]
fn a_listener_without_the_protocol_takes_no_header_and_one_beside_it_does() {
    let gw = start(|config| {
        config.server.proxy_protocol = false;
        let (listen, speaks) = (config.server.listen[0].clone(), Speaks::Http);
        config.server.listeners = vec![Listener { listen, speaks, proxy_protocol: true }];
    });
    let behind = gw.app().addrs()[1];
    let request = get("/public/", &[]);
    assert_eq!(gw.raw(&request).status, 200);
    assert_eq!(gw.raw([V1, &request].concat()).status, 400);
    assert_eq!(Client::connect(behind).raw([V1, &request].concat()).status, 200);
    assert_eq!(Client::connect(behind).send(request).rest(), b"");
    assert_eq!(gw.upstream.count(), 2);
}

#[test]
fn a_header_comes_by_a_unix_socket_as_from_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wxgate.sock");
    for (trusted, told) in [("127.0.0.1/32", Some("203.0.113.7")), ("10.0.0.0/8", None)] {
        let gw = start(|config| {
            config.server.trusted_proxies = vec![trusted.parse().unwrap()];
            config.server.listen.push(ListenAt::Unix(path.clone()));
        });
        let reply = Client::connect_unix(&path).send([V1, &get("/public/", &[])].concat()).try_reply("GET");
        assert_eq!(reply.is_ok(), told.is_some());
        assert_eq!(gw.upstream.seen().first().and_then(|seen| seen.header("x-forwarded-for")), told);
    }
}

#[test]
fn a_stop_closes_who_has_said_nothing_and_serves_who_has_begun() {
    let gw = start(|config| config.server.header_timeout = Duration::from_hours(1));
    let (mut silent, mut begun) = (gw.client(), gw.client());
    begun.send(&V1[..20]);
    let stopping = std::thread::spawn(move || gw.stop());
    assert_eq!(silent.rest(), b"");
    let reply = begun.raw([&V1[20..], &get("/public/", &[])].concat());
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    stopping.join().unwrap();
}

#[test]
fn a_real_haproxy_is_understood() {
    for how in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority"] {
        let gw = start(|_| {});
        let balancer = HaProxy::start(gw.addr(), how);
        let mut client = Client::over(Link::Tcp(balancer.dial_from("127.0.0.2")));
        let reply = client.request("GET", "/public/", &[("X-Forwarded-For", "192.0.2.66")], "");
        assert_eq!(gw.upstream.last().header("x-forwarded-for"), Some("127.0.0.2"), "{how}");
        assert_eq!((&line(&gw, &reply)["client"], counted(&gw, "client")), (&json!("127.0.0.2"), 1), "{how}");
    }
}

#[test]
fn tls_passes_through_a_real_haproxy_to_us() {
    let ca = Authority::new();
    let gw = start(|config| {
        speak_tls(config, vec![ca.files("api", &["api.example.com"])]);
    });
    let balancer = HaProxy::start(gw.addr(), "send-proxy-v2");
    let mut client = ca.dialler().dial_over(balancer.dial_from("127.0.0.2"), "api.example.com");
    assert_eq!(client.get("/public/").status, 200);
    assert_eq!(gw.upstream.last().header("x-forwarded-for"), Some("127.0.0.2"));
    assert_eq!(gw.upstream.last().header("x-forwarded-proto"), Some("https"));
}

#[test]
fn a_real_haproxy_looks_whether_we_are_alive() {
    let gw = start(|_| {});
    let _balancer = HaProxy::start(gw.addr(), "send-proxy-v2 check inter 50ms");
    until("three checks", || (counted(&gw, "local") >= 3).then_some(()));
}

/// A load balancer that passes TCP on. Dropped, it is killed.
struct HaProxy {
    child: Child,
    addr: SocketAddr,
    _folder: tempfile::TempDir,
}

impl HaProxy {
    fn start(gateway: SocketAddr, how: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let timeouts = "timeout connect 5s\n timeout client 30s\n timeout server 30s";
        let config = format!(
            "defaults\n mode tcp\n {timeouts}\nlisten all\n bind fd@0\n server wxgate {gateway} source 127.0.0.1 {how}\n"
        );
        fs::write(folder.path().join("haproxy.cfg"), config).unwrap();
        // It is given a socket that listens, so nobody can be quicker to take its port.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut command = Command::new(program("haproxy"));
        command.args(["-f", "haproxy.cfg", "-db"]).current_dir(folder.path()).stdin(OwnedFd::from(listener));
        Self { child: command.spawn().expect("HAProxy starts"), addr, _folder: folder }
    }
}

impl HaProxy {
    /// A connection of a client's at this address, which is not the load balancer's own.
    fn dial_from(&self, ip: &str) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(ip.parse().unwrap(), 0).into()).unwrap();
        socket.connect(&self.addr.into()).unwrap();
        socket.into()
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
