//! What a session costs in memory: `cargo run --release --example memory -- 1000000`.
//!
//! It logs so many users in, with memory for a store, and says by how much the process has grown. The allocator is the
//! binary's. Each user has one session, with an openid, a unionid and a session_key as WeChat makes them.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "an example that can't be set up has nothing to say")]

use std::{
    fs,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use wxgate::{
    config::sections,
    model::{AppId, Identity, OpenId, SessionKey, SystemClock, SystemEntropy, UnionId, UserKey},
    session::Sessions,
    store::Memory,
    telemetry::UserTagger,
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let wanted: u64 = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    let section = sections::Sessions { capacity: wanted * 2, ..Default::default() };
    let tags = UserTagger::new(None, &SystemEntropy).expect("randomness");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (store, runtime) = (Arc::new(Memory::new()), runtime.handle().clone());
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let sessions = Sessions::new(&section, store, runtime, clock, entropy, tags, Arc::default());
    let app = AppId::parse("wx4f4bc4dec97d474b").expect("visible ASCII");
    let before = resident();
    for n in 0..wanted {
        let openid = OpenId::parse(&format!("oGZUI0egBJY1zhBYw2Kh{n:08}")).expect("visible ASCII");
        let unionid = UnionId::parse(&format!("o6_bmasdasdsad6_2sg_{n:08}")).expect("visible ASCII");
        let user = UserKey { app: app.clone(), openid };
        let key = SessionKey::new("tiihtNczf5v6AKRyjwEUhQ==");
        at_once(sessions.issue(Identity { user, unionid: Some(unionid) }, key)).expect("memory answers");
    }
    let grown = resident().saturating_sub(before);
    println!("{wanted} sessions: {} MiB, {} bytes each", grown >> 20, grown / wanted);
}

/// Bytes of memory that the process has.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("two numbers");
    pages * 4096
}

fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("memory answers at once"),
    }
}
