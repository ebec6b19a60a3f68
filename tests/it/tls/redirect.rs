//! A listener that sends everybody to https, and nobody anywhere else.

use std::net::SocketAddr;

use wxgate::config::sections::{Listener, Speaks};

use crate::support::{
    Client, Reply, TestGateway,
    tls::{Authority, speak_tls},
};

/// A gateway with TLS, and the address of its listener that redirects to this port.
fn start(ca: &Authority, port: u16) -> (TestGateway, SocketAddr) {
    let gw = TestGateway::with(|config| {
        speak_tls(config, vec![ca.files("api", &["api.example.com", "*.shop.example", "192.0.2.7", "2001:db8::7"])]);
        let listen = config.server.listen[0].clone();
        config.server.listeners = vec![Listener { listen, speaks: Speaks::Redirect(port), proxy_protocol: false }];
    });
    let addr = gw.app().addrs()[1];
    (gw, addr)
}

fn ask(addr: SocketAddr, method: &str, host: &str, path: &str) -> Reply {
    Client::connect(addr).calling(host).request(method, path, &[], "")
}

#[test]
fn everybody_is_sent_to_the_same_place_over_tls() {
    let ca = Authority::new();
    let (gw, addr) = start(&ca, 443);
    for (host, path, location) in [
        ("api.example.com", "/orders?page=2&x=%20", "https://api.example.com/orders?page=2&x=%20"),
        ("API.example.com:80", "/", "https://api.example.com/"),
        ("api.example.com.", "/a//b/./c", "https://api.example.com/a//b/./c"),
        ("a.shop.example", "//evil.example/", "https://a.shop.example//evil.example/"),
        ("192.0.2.7", "/v1/verify", "https://192.0.2.7/v1/verify"),
        ("[2001:DB8:0::7]:80", "/", "https://[2001:db8::7]/"),
    ] {
        for method in ["GET", "POST", "HEAD", "DELETE"] {
            let reply = ask(addr, method, host, path);
            assert_eq!((reply.status, reply.header("location")), (308, Some(location)), "{method} {host}{path}");
            assert_eq!(reply.body, b"");
            gw.log.line(reply.header("x-request-id").unwrap());
        }
    }
    assert_eq!(gw.upstream.seen().len(), 0);
}

#[test]
fn another_port_is_named() {
    let ca = Authority::new();
    let (_gw, addr) = start(&ca, 8443);
    let reply = ask(addr, "GET", "api.example.com:8080", "/x?y");
    assert_eq!(reply.header("location"), Some("https://api.example.com:8443/x?y"));
}

/// CVE-2021-21291, CVE-2021-29651, CVE-2024-52003, CVE-2022-28923: redirects to wherever a client liked.
#[test]
fn nobody_is_sent_to_a_place_that_a_client_made_up() {
    let ca = Authority::new();
    let (gw, addr) = start(&ca, 443);
    for host in
        ["evil.example", "api.example.com.evil.example", "shop.example", "a.b.shop.example", "192.0.2.8", "localhost"]
    {
        let reply = ask(addr, "GET", host, "/");
        assert_eq!((reply.verdict().as_str(), reply.header("location")), ("421 misdirected_request", None), "{host}");
    }
    for host in
        ["api.example.com@evil.example", "api.example.com/evil", "", "api.example.com:x", "api.example.com:80:80"]
    {
        let reply = ask(addr, "GET", host, "/");
        assert_eq!((reply.verdict().as_str(), reply.header("location")), ("400 bad_request", None), "{host}");
    }
    for target in ["/a/../b", "/a%2f..%2fb", "/\\evil.example", "https://evil.example/", "http://evil.example/"] {
        let reply = ask(addr, "GET", "api.example.com", target);
        assert_eq!((reply.status, reply.header("location")), (400, None), "{target}");
    }
    let reply = Client::connect(addr).raw("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(reply.status, 421, "nor anywhere without a host");
    assert_eq!(gw.upstream.seen().len(), 0);
}

#[test]
fn nothing_is_answered_there_that_belongs_behind_tls() {
    let ca = Authority::new();
    let (gw, addr) = start(&ca, 443);
    let code = gw.code("oAlice");
    let body = format!(r#"{{"jsCode":"{code}"}}"#);
    let reply = Client::connect(addr).post("/v1/verify", &body);
    assert_eq!((reply.status, reply.header("location")), (308, Some("https://api.example.com/v1/verify")));
    assert_eq!(ca.dialler().dial(gw.addr(), "api.example.com").get("/public/").status, 200);
}
