//! What it costs to tell an upstream signed who calls: once per session and minute, and on every other request.

#![expect(clippy::expect_used, reason = "a bench that can't be set up has nothing to measure")]

use std::{sync::Arc, time::Duration};

use divan::Bencher;
use wxgate::{
    assertion::{Assertions, Signer},
    config::sections::{Assertion, Upstream, UpstreamServer},
    model::{
        AppId, Identity, ManualClock, OpenId, Secret, Session, SigningKey, Terms, Timestamp, TokenDigest, UserKey,
        UserTag,
    },
};

const ED25519: &str = include_str!("../tests/keys/ed25519.pem");
const P256: &str = include_str!("../tests/keys/p256.pem");

fn main() {
    divan::main();
}

#[divan::bench]
fn sign_ed25519(bencher: Bencher) {
    let worker = Worker::with(ED25519);
    bencher.bench_local(|| worker.tell_a_minute_later());
}

#[divan::bench]
fn sign_p256(bencher: Bencher) {
    let worker = Worker::with(P256);
    bencher.bench_local(|| worker.tell_a_minute_later());
}

#[divan::bench]
fn tell_again(bencher: Bencher) {
    let worker = Worker::with(ED25519);
    bencher.bench_local(|| worker.assertions.tell(&worker.session, 0).expect("a token"));
}

struct Worker {
    assertions: Assertions,
    session: Session,
    clock: Arc<ManualClock>,
}

impl Worker {
    fn with(pem: &str) -> Self {
        let key = SigningKey::parse(&Secret::new(pem)).expect("a key");
        let section = Assertion::new("https://gate.example.com", key);
        let signer = Signer::new(&section, &[Upstream::new("app", Vec::<UpstreamServer>::new())]).expect("a signer");
        let now = Timestamp::from_millis(1_790_000_000_000);
        let clock = Arc::new(ManualClock::starting_at(now));
        let user = UserKey {
            app: AppId::parse("wx4f4bc4dec97d474b").expect("an AppID"),
            openid: OpenId::parse("oGZUI0egBJY1zhBYw2KhdUfwVJJE").expect("an openid"),
        };
        let ever = Duration::from_hours(24 * 3650);
        let terms = Terms { idle: ever, lifetime: ever };
        let (digest, tag) = (TokenDigest::new([7; 32]), UserTag::new([0; 8]));
        let session = Session::begin(Identity { user, unionid: None }, digest, tag, terms, now);
        Self { assertions: Assertions::new(Arc::new(signer), clock.clone()), session, clock }
    }

    fn tell_a_minute_later(&self) -> http::HeaderValue {
        self.clock.advance(Duration::from_mins(1));
        self.assertions.tell(&self.session, 0).expect("a token")
    }
}
