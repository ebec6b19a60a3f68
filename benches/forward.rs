//! What a whole request costs: a proxied GET and POST with a token, over loopback, through one worker of a real gateway,
//! and the same without the gateway. The client and the backend have their share in both.

#![expect(clippy::expect_used, reason = "a bench that can't be set up has nothing to measure")]

#[path = "../tests/lean/mod.rs"]
mod lean;

use std::io;

use divan::Bencher;
use wxgate::{
    app::{App, World},
    config,
    simulator::{Options, Simulator},
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";

fn main() {
    divan::main();
}

#[divan::bench]
fn get(bencher: Bencher) {
    let gateway = Gateway::start();
    bench(bencher, gateway.connect(), &gateway.request("GET", 0));
}

#[divan::bench]
fn post_1k(bencher: Bencher) {
    let gateway = Gateway::start();
    bench(bencher, gateway.connect(), &gateway.request("POST", 1024));
}

/// Turned away: the backend has no part in it.
#[divan::bench]
fn get_without_a_token(bencher: Bencher) {
    let gateway = Gateway::start();
    bench(bencher, gateway.connect(), "GET /api/items HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
}

/// What the sockets, the client and the backend take by themselves.
#[divan::bench]
fn get_without_a_gateway(bencher: Bencher) {
    let backend = lean::start_backend(|_| ANSWER).expect("a backend");
    let wire = lean::Wire::connect(backend).expect("a connection");
    bench(bencher, wire, "GET /api/items HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
}

fn bench(bencher: Bencher, mut wire: lean::Wire, request: &str) {
    bencher.bench_local(|| {
        wire.send(request.as_bytes()).expect("a connection");
        wire.head().expect("an answer");
        wire.body(|_| {}).expect("a whole answer")
    });
}

/// A gateway with somebody logged in. It runs until the bench ends.
struct Gateway {
    app: App,
    token: String,
}

impl Gateway {
    fn start() -> Self {
        let wechat = Simulator::start(Options::on_free_port().with_app(lean::APP, lean::SECRET)).expect("a stand-in");
        let backend = lean::start_backend(|_| ANSWER).expect("a backend");
        let text = lean::config(wechat.addr(), backend);
        let loaded = config::parse(&text, "gateway.toml", &|_| None, &|_| Err(io::ErrorKind::NotFound.into()));
        let world = World { access_log: Box::new(io::sink()), ..World::default() };
        let app = App::start(loaded.expect("a configuration").config, world).expect("a gateway");
        let token = lean::login(app.addrs()[0], wechat.addr(), "oAlice").expect("a login");
        Self { app, token }
    }

    fn connect(&self) -> lean::Wire {
        lean::Wire::connect(self.app.addrs()[0]).expect("a connection")
    }

    fn request(&self, method: &str, body: usize) -> String {
        let Self { token, .. } = self;
        let head =
            format!("{method} /api/items?page=2 HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {token}");
        format!("{head}\r\nContent-Length: {body}\r\n\r\n{}", "a".repeat(body))
    }
}
