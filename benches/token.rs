//! What a token costs: made at each login, read, hashed and looked up at each request.

#![expect(clippy::expect_used, reason = "a bench that can't be set up has nothing to measure")]

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use divan::{Bencher, black_box};
use wxgate::{
    config::sections,
    model::{AppId, Identity, OpenId, SessionKey, SystemClock, SystemEntropy, UserKey},
    session::{SessionToken, Sessions},
    store::Memory,
    telemetry::UserTagger,
};

const SESSIONS: usize = 100_000;

fn main() {
    divan::main();
}

#[divan::bench]
fn mint() -> SessionToken {
    SessionToken::mint(&SystemEntropy).expect("the system has randomness")
}

#[divan::bench]
fn parse(bencher: Bencher) {
    let token = mint();
    bencher.bench_local(|| SessionToken::parse(black_box(token.expose().as_bytes())));
}

#[divan::bench]
fn digest(bencher: Bencher) {
    let token = mint();
    bencher.bench_local(|| black_box(&token).digest());
}

/// One client that sends request after request.
#[divan::bench]
fn resolve_the_same(bencher: Bencher) {
    let (sessions, tokens) = logged_in();
    bencher.bench_local(|| at_once(sessions.resolve(black_box(&tokens[0]))).is_ok());
}

/// Many clients in turn: nothing of a session is in the processor's cache when it is asked for.
#[divan::bench]
fn resolve_any(bencher: Bencher) {
    let (sessions, tokens) = logged_in();
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 7919) % SESSIONS;
        at_once(sessions.resolve(black_box(&tokens[next]))).is_ok()
    });
}

fn logged_in() -> (Sessions, Vec<SessionToken>) {
    let tags = UserTagger::new(None, &SystemEntropy).expect("the system has randomness");
    let section = sections::Sessions::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (store, runtime) = (Arc::new(Memory::new()), runtime.handle().clone());
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let sessions = Sessions::new(&section, store, runtime, clock, entropy, tags, Arc::default());
    let app = AppId::parse("wx4f4bc4dec97d474b").expect("visible ASCII");
    let login = |n| {
        let openid = OpenId::parse(&format!("oGZUI0egBJY1zhBYw2Kh{n:08}")).expect("visible ASCII");
        let identity = Identity { user: UserKey { app: app.clone(), openid }, unionid: None };
        at_once(sessions.issue(identity, SessionKey::new("tiihtNczf5v6AKRyjwEUhQ=="))).expect("memory answers").token
    };
    let tokens = (0..SESSIONS).map(login).collect();
    (sessions, tokens)
}

fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("memory never waits"),
    }
}
