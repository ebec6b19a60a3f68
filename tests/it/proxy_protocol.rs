//! What a load balancer says of its client before the first byte: whom it is believed of, and where it ends.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    process::{Child, Command},
    time::Duration,
};

use serde_json::{Value, json};
use wxgate::config::{Config, sections::Rate};

use crate::behind::program;
use crate::support::{
    APP, TestGateway,
    client::{Client, head, tcp},
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
    until("a closed door", || gw.client().send(V1).is_closed().then_some(()));
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
    // What is the proxy's own is as trusted as the proxy, and a client that is named is not.
    gw.client().raw([binary(0x20, 0, &[]), claim.clone()].concat());
    assert_eq!(gw.upstream.last().header("x-forwarded-for"), Some("198.51.100.1, 127.0.0.1"));
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
fn a_real_haproxy_is_understood() {
    for how in ["send-proxy", "send-proxy-v2"] {
        let gw = start(|_| {});
        let balancer = HaProxy::start(gw.addr(), how);
        let mut client = Client::connect(balancer.addr);
        assert_eq!(client.get("/public/").status, 200, "{how}");
        let line: Value = serde_json::from_str(&gw.log.line("access")).unwrap();
        assert_eq!((line["client"].as_str(), counted(&gw, "client")), (Some("127.0.0.1"), 1), "{how}");
    }
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
        let config =
            format!("defaults\n mode tcp\n {timeouts}\nlisten all\n bind fd@0\n server wxgate {gateway} {how}\n");
        fs::write(folder.path().join("haproxy.cfg"), config).unwrap();
        // It is given a socket that listens, so nobody can be quicker to take its port.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut command = Command::new(program("haproxy"));
        command.args(["-f", "haproxy.cfg", "-db"]).current_dir(folder.path()).stdin(OwnedFd::from(listener));
        Self { child: command.spawn().expect("HAProxy starts"), addr, _folder: folder }
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
