//! What a token says, how long it is told again, and when not.

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::{
    config::sections::{self, Upstream, UpstreamServer},
    model::{
        AppId, Identity, ManualClock, OpenId, PublicKey, Secret, SigningKey, Terms, Timestamp, TokenDigest, UnionId,
        UserKey, UserTag,
    },
};

const START: u64 = 1_790_000_000;
const ED25519_PEM: &str = include_str!("../../tests/keys/ed25519.pem");
const P256_PEM: &str = include_str!("../../tests/keys/p256.pem");
const SECOND: Duration = Duration::from_secs(1);

fn key(pem: &str) -> SigningKey {
    SigningKey::parse(&Secret::new(pem)).unwrap()
}

/// One worker, and the time.
struct World {
    assertions: Assertions,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        Self::with(key(ED25519_PEM), |_| {})
    }

    fn with(key: SigningKey, change: impl FnOnce(&mut sections::Assertion)) -> Self {
        let mut section = sections::Assertion::new("https://gate.example.com", key);
        change(&mut section);
        let upstream = |name| Upstream::new(name, Vec::<UpstreamServer>::new());
        let shop = Upstream { audience: Some("https://shop.internal".to_owned()), ..upstream("shop") };
        let signer = Signer::new(&section, &[upstream("app"), shop]).unwrap();
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(START * 1000)));
        Self { assertions: Assertions::new(Arc::new(signer), clock.clone()), clock }
    }

    fn session(&self, name: u8, lifetime: Duration) -> Session {
        let user = UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse("oAlice").unwrap() };
        let terms = Terms { idle: lifetime, lifetime };
        let identity = Identity { user, unionid: None };
        Session::begin(identity, TokenDigest::new([name; 32]), UserTag::new([0; 8]), terms, self.clock.now())
    }

    fn told(&self, session: &Session) -> Value {
        claims(&self.assertions.tell(session, 0).unwrap())
    }
}

fn part(token: &HeaderValue, at: usize) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(token.to_str().unwrap().split('.').nth(at).unwrap()).unwrap()
}

fn claims(token: &HeaderValue) -> Value {
    serde_json::from_slice(&part(token, 1)).unwrap()
}

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn a_token_says_who_calls_whom_and_for_how_long() {
    let world = World::new();
    let session = world.session(1, HOUR);
    let token = world.assertions.tell(&session, 0).unwrap();
    let kid = key(ED25519_PEM).kid().to_owned();
    let head: Value = serde_json::from_slice(&part(&token, 0)).unwrap();
    assert_eq!(head, json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid }));
    let expected = json!({
        "iss": "https://gate.example.com", "aud": "app", "sub": "oAlice", "app": "wx1",
        "iat": START, "exp": START + 120,
    });
    assert_eq!(claims(&token), expected);
    let shop = claims(&world.assertions.tell(&session, 1).unwrap());
    assert_eq!(shop["aud"], "https://shop.internal");
}

#[test]
fn the_unionid_is_there_where_it_is_known() {
    let world = World::new();
    let plain = world.session(1, HOUR);
    let unionid = Some(UnionId::parse("uAlice").unwrap());
    let identity = Identity { unionid, ..plain.identity().clone() };
    let terms = Terms { idle: HOUR, lifetime: HOUR };
    let session = Session::begin(identity, *plain.digest(), plain.tag(), terms, world.clock.now());
    assert_eq!(world.told(&session)["unionid"], "uAlice");
}

#[test]
fn a_token_is_signed_with_the_key_that_its_head_names() {
    for pem in [ED25519_PEM, P256_PEM] {
        let key = key(pem);
        let world = World::with(key.clone(), |_| {});
        let token = world.assertions.tell(&world.session(1, HOUR), 0).unwrap();
        let (signed, _) = token.to_str().unwrap().rsplit_once('.').unwrap();
        let decode = |text: &String| URL_SAFE_NO_PAD.decode(text).unwrap();
        let verified = match key.public() {
            PublicKey::Ed25519 { x } => {
                UnparsedPublicKey::new(&ED25519, decode(x)).verify(signed.as_bytes(), &part(&token, 2))
            }
            PublicKey::P256 { x, y } => {
                let point = [vec![4], decode(x), decode(y)].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &part(&token, 2))
            }
        };
        assert_eq!(verified, Ok(()), "{}", key.algorithm());
    }
}

#[test]
fn one_token_serves_a_session_for_a_minute() {
    let world = World::new();
    let session = world.session(1, HOUR);
    let first = world.assertions.tell(&session, 0).unwrap();
    world.clock.advance(59 * SECOND);
    assert_eq!(world.assertions.tell(&session, 0).unwrap(), first);
    world.clock.advance(SECOND);
    assert_eq!(world.told(&session)["iat"], START + 60);
}

#[test]
fn what_is_told_is_good_for_half_of_its_time_at_least() {
    let world = World::with(key(ED25519_PEM), |section| section.ttl = 20 * SECOND);
    let session = world.session(1, HOUR);
    for second in 0..60 {
        let left = world.told(&session)["exp"].as_u64().unwrap() - (START + second);
        assert!((11..=20).contains(&left), "{left} s after {second} s");
        world.clock.advance(SECOND);
    }
}

/// A backend that believed a token for longer than we do would serve somebody who has been logged out.
#[test]
fn no_token_outlives_its_session() {
    let world = World::new();
    let session = world.session(1, 150 * SECOND);
    for second in 0..150 {
        let exp = world.told(&session)["exp"].as_u64().unwrap();
        assert!((START + second + 1..=START + 150).contains(&exp), "{exp} after {second} s");
        world.clock.advance(SECOND);
    }
    session.end();
    assert_eq!(world.told(&session)["exp"], world.told(&session)["iat"], "what is over is good for no time at all");
}

#[test]
fn no_session_and_no_upstream_is_told_what_was_signed_for_another() {
    let world = World::new();
    let (one, other) = (world.session(1, HOUR), world.session(2, 30 * SECOND));
    let tell = |session, upstream| world.assertions.tell(session, upstream).unwrap();
    for _ in 0..2 {
        let tokens = [tell(&one, 0), tell(&one, 1), tell(&other, 0), tell(&other, 1)];
        for (at, token) in tokens.iter().enumerate() {
            assert!(!tokens[..at].contains(token), "{tokens:?}");
        }
    }
    assert!(matches!(world.assertions.tell(&one, 2), Err(Error::NoUpstream)));
}

#[test]
fn nothing_is_told_that_was_signed_in_the_future() {
    let world = World::new();
    let session = world.session(1, HOUR);
    assert_eq!(world.told(&session)["iat"], START);
    let earlier = Arc::new(ManualClock::starting_at(Timestamp::from_millis((START - 5) * 1000)));
    let stepped_back = Assertions { clock: earlier, ..world.assertions };
    assert_eq!(claims(&stepped_back.tell(&session, 0).unwrap())["iat"], START - 5);
}

#[test]
fn a_crowd_fills_two_tables_and_is_forgotten_two_minutes_later() {
    let mut cache = Cache::new(Timestamp::from_millis(0));
    let at = |secs: u64| Timestamp::from_millis(secs * 1000);
    let digest = |n: u32| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        (TokenDigest::new(bytes), 0)
    };
    for n in 0..100_000 {
        cache.insert(digest(n), HeaderValue::from_static("token"), at(60), at(0));
    }
    assert!((16_384..=32_768).contains(&cache.len()), "{}", cache.len());
    assert!(cache.get(&digest(99_999), at(59)).is_some());
    cache.sweep(at(59));
    assert!(cache.len() > 16_384);
    cache.sweep(at(60));
    cache.sweep(at(120));
    assert_eq!(cache.len(), 0);
}

#[test]
fn what_is_published_has_every_key_and_the_private_half_of_none() {
    let (newest, last) = (key(ED25519_PEM), key(P256_PEM));
    let world = World::with(newest.clone(), |section| section.other_keys = vec![last.clone()]);
    let set: Value = serde_json::from_slice(world.assertions.signer.jwks()).unwrap();
    let (PublicKey::Ed25519 { x }, PublicKey::P256 { x: px, y }) = (newest.public(), last.public()) else {
        unreachable!("the keys are of these kinds")
    };
    let expected = json!({ "keys": [
        { "kty": "OKP", "crv": "Ed25519", "x": x, "kid": newest.kid(), "alg": "EdDSA", "use": "sig" },
        { "kty": "EC", "crv": "P-256", "x": px, "y": y, "kid": last.kid(), "alg": "ES256", "use": "sig" },
    ] });
    assert_eq!(set, expected);
}

#[test]
fn no_token_is_printed() {
    let world = World::new();
    let token = world.assertions.tell(&world.session(1, HOUR), 0).unwrap();
    assert_eq!(format!("{token:?}"), "Sensitive");
    let signature = token.to_str().unwrap().rsplit('.').next().unwrap();
    assert!(!format!("{:?}", world.assertions).contains(signature));
}
