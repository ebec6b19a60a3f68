//! What a proxied, authenticated request costs in allocations: a count that no noisy machine moves, held by a test.
//!
//! Everything runs in this one process. The client and the backend allocate nothing while it is counted; what is left is
//! the gateway's. When the count has grown, a `dhat::Profiler::new_heap()` around the counted part writes a file that says
//! where from.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod lean;

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use wxgate::{
    app::{App, World},
    config,
    simulator::{Options, Simulator},
};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const WARM_UP: u32 = 500;
const ROUNDS: u32 = 80;
const REQUESTS: u32 = 100;

/// The counter is the process's, so the tests take turns.
static COUNTER: Mutex<()> = Mutex::new(());

/// What makes a gateway sign who calls.
const SIGNING: &str = "[identity.assertion]\nissuer = \"https://gate.example.com\"\nkey = { env = \"KEY\" }\n";
const KEY: &str = include_str!("keys/ed25519.pem");

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nserver: lean\r\ndate: Mon, 23 Nov 2026 08:00:00 GMT\r\n\
    content-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";

/// A gateway that has taken a user in, and their connection to it.
struct Running {
    app: App,
    wire: lean::Wire,
    head: String,
}

impl Running {
    /// With more in its configuration.
    fn start(more: &str) -> Self {
        let wechat = Simulator::start(Options::on_free_port().with_app(lean::APP, lean::SECRET));
        let wechat = wechat.unwrap();
        let backend = lean::start_backend(|_| ANSWER).unwrap();
        let text = lean::config(wechat.addr(), backend) + more;
        let key = |name: &str| (name == "KEY").then(|| KEY.to_owned());
        let config = config::parse(&text, "gateway.toml", &key, &|_| Err(io::ErrorKind::NotFound.into()));
        let world = World { access_log: Box::new(io::sink()), ..World::default() };
        let app = App::start(config.unwrap().config, world).unwrap();
        let token = lean::login(app.addrs()[0], wechat.addr(), "oAlice").unwrap();
        let head = format!(
            "GET /api/items?page=2 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: MicroMessenger\r\nAccept: */*\r\n\
             Accept-Encoding: gzip\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        Self { wire: lean::Wire::connect(app.addrs()[0]).unwrap(), app, head }
    }

    fn get(&mut self, times: u32) {
        for _ in 0..times {
            self.wire.send(self.head.as_bytes()).unwrap();
            assert!(self.wire.head().unwrap().starts_with(b"HTTP/1.1 200 "));
            self.wire.body(|_| {}).unwrap();
        }
    }

    fn stop(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.app.stop(std::future::ready(()))).unwrap();
    }
}

#[test]
fn a_request_makes_no_more_allocations_than_it_did() {
    let made = allocations_per_request("");
    assert!(made <= 3.1, "{made} allocations per request");
}

/// What is signed is signed once; telling it again copies nothing.
#[test]
fn a_request_whose_identity_is_signed_makes_no_more_allocations_than_any() {
    let made = allocations_per_request(SIGNING);
    assert!(made <= 3.1, "{made} allocations per request");
}

fn allocations_per_request(more: &str) -> f64 {
    let _turn = COUNTER.lock().unwrap_or_else(PoisonError::into_inner);
    let _counting = dhat::Profiler::builder().testing().build();
    let mut gateway = Running::start(more);
    gateway.get(WARM_UP);
    let made = (0..ROUNDS)
        .map(|_| {
            let before = dhat::HeapStats::get().total_blocks;
            gateway.get(REQUESTS);
            dhat::HeapStats::get().total_blocks - before
        })
        .min();
    gateway.stop();
    // What the gateway does a few times per second allocates too, and the slower the machine, the more of that falls among
    // the requests. The least of many rounds has hardly any of it, and all that each request makes.
    f64::from(u32::try_from(made.unwrap()).unwrap()) / f64::from(REQUESTS)
}
