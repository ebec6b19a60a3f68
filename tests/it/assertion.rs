//! Who calls, signed: what an upstream can verify, what nobody can forge, and where the public keys are.

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use wxgate::{
    config::{
        Config,
        sections::{Assertion, AuthRule, Route, UnderscoreHeaders, Upstream},
    },
    model::{PublicKey, Secret, SigningKey},
};

use crate::support::{OTHER_APP, Seen, TestGateway, User, until};

const ISSUER: &str = "https://gate.example.com";
const JWKS: &str = "/.well-known/jwks.json";
const MINUTE: Duration = Duration::from_mins(1);

/// The present of the harness's clock, in seconds.
const NOW: u64 = 1_790_000_000;

fn ed25519() -> SigningKey {
    SigningKey::parse(&Secret::new(include_str!("../keys/ed25519.pem"))).unwrap()
}

fn p256() -> SigningKey {
    SigningKey::parse(&Secret::new(include_str!("../keys/p256.pem"))).unwrap()
}

/// One worker, so that there is one cache.
pub(crate) fn signing(config: &mut Config) {
    config.server.workers = 1;
    config.assertion = Some(Assertion::new(ISSUER, ed25519()));
}

fn token(seen: &Seen) -> String {
    seen.header("x-wx-assertion").expect("an assertion").to_owned()
}

fn decoded(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

fn head(token: &str) -> Value {
    serde_json::from_slice(&decoded(token.split('.').next().unwrap())).unwrap()
}

pub(crate) fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).expect("a token of three parts");
    serde_json::from_slice(&decoded(part)).unwrap()
}

/// What the upstream is sent for this path.
fn sent(gw: &TestGateway, user: &mut User, path: &str) -> String {
    assert_eq!(user.get(path).status, 200);
    token(&gw.upstream.last())
}

#[test]
fn the_upstream_is_told_signed_what_it_is_told_in_plain() {
    let gw = TestGateway::with(signing);
    let token = sent(&gw, &mut gw.login_to(OTHER_APP, "oBob"), "/orders");
    let expected =
        json!({ "iss": ISSUER, "aud": "app", "sub": "oBob", "app": OTHER_APP, "iat": NOW, "exp": NOW + 120 });
    assert_eq!(claims(&token), expected);
    let seen = gw.upstream.last();
    assert_eq!((seen.header("x-wx-openid"), seen.header("x-wx-appid")), (Some("oBob"), Some(OTHER_APP)));
}

/// Threat 14, `ALBeast`: tokens without an audience were good at every backend of the same balancer.
#[test]
fn what_one_upstream_is_told_is_meant_for_no_other() {
    let gw = TestGateway::with(|config| {
        signing(config);
        let servers = config.upstreams[0].servers.clone();
        let audience = Some("https://shop.internal".to_owned());
        config.upstreams.push(Upstream { audience, ..Upstream::new("shop", servers) });
        config.routes.push(Route::new("/shop/", "shop"));
    });
    let mut alice = gw.login("oAlice");
    for _ in 0..2 {
        assert_eq!(claims(&sent(&gw, &mut alice, "/orders"))["aud"], "app");
        assert_eq!(claims(&sent(&gw, &mut alice, "/shop/1"))["aud"], "https://shop.internal");
    }
}

#[test]
fn an_anonymous_caller_has_no_assertion_and_can_bring_none() {
    let gw = TestGateway::with(|config| {
        signing(config);
        config.server.underscore_headers = UnderscoreHeaders::Keep;
    });
    let mut alice = gw.login("oAlice");
    let stolen = sent(&gw, &mut alice, "/orders");
    assert_eq!(alice.get("/public/1").status, 200);
    assert_eq!(gw.upstream.last().header("x-wx-assertion"), None, "nobody is known where nobody is asked");
    for name in ["X-WX-ASSERTION", "x_wx_assertion", "X-WX_Assertion", "x.wx.assertion"] {
        for more in ["", "Connection: x-wx-assertion\r\n", "Connection: close, X_WX_ASSERTION\r\n"] {
            for path in ["/maybe/1", "/public/1"] {
                let head = format!("GET {path} HTTP/1.1\r\nHost: api.example.com\r\n{name}: {stolen}\r\n{more}\r\n");
                assert_eq!(gw.raw(head).status, 200);
                assert!(!gw.upstream.last().head.contains(&stolen), "{name} on {path}");
            }
        }
    }
}

#[test]
fn a_callers_own_assertion_gives_way_to_ours_under_any_configured_name() {
    let gw = TestGateway::with(|config| {
        signing(config);
        config.server.underscore_headers = UnderscoreHeaders::Keep;
        config.assertion.as_mut().unwrap().header = "my-signed-user".parse().unwrap();
    });
    let mut alice = gw.login("oAlice");
    for name in ["My-Signed-User", "MY_SIGNED_USER", "my-signed_user", "my.signed.user"] {
        for last in [("Accept", "*/*"), ("Connection", name), ("Connection", "my-signed-user")] {
            let headers = [(name, "evil"), (name, "evil too"), last];
            assert_eq!(alice.request("GET", "/orders", &headers, "").status, 200);
            let seen = gw.upstream.last();
            assert!(!seen.head.contains("evil"), "{name}: {}", seen.head);
            assert_eq!(claims(seen.header("my-signed-user").unwrap())["sub"], "oAlice");
            assert!(seen.header("x-wx-assertion").is_none());
        }
    }
}

#[test]
fn one_signature_serves_a_session_for_a_minute() {
    let gw = TestGateway::with(signing);
    let mut alice = gw.login("oAlice");
    let first = sent(&gw, &mut alice, "/orders");
    gw.later(Duration::from_secs(59));
    assert_eq!(sent(&gw, &mut alice, "/orders/2"), first);
    gw.later(Duration::from_secs(1));
    let next = claims(&sent(&gw, &mut alice, "/orders"));
    assert_eq!((&next["iat"], &next["exp"]), (&json!(NOW + 60), &json!(NOW + 180)));
}

#[test]
fn what_was_signed_for_a_session_goes_nowhere_once_it_is_over() {
    let gw = TestGateway::with(signing);
    let mut alice = gw.login("oAlice");
    sent(&gw, &mut alice, "/maybe/1");
    assert_eq!(alice.post("/v1/logout", "").status, 204);
    let asked = gw.upstream.seen().len();
    assert_eq!(alice.get("/orders").status, 401);
    assert_eq!(gw.upstream.seen().len(), asked);
    assert_eq!(alice.get("/maybe/1").status, 200);
    assert_eq!(gw.upstream.last().header("x-wx-assertion"), None);
}

#[test]
fn an_assertion_ends_with_its_session_at_the_latest() {
    let gw = TestGateway::with(|config| {
        signing(config);
        config.sessions.lifetime = 3 * MINUTE;
    });
    let mut alice = gw.login("oAlice");
    for step in 0..18 {
        let exp = claims(&sent(&gw, &mut alice, "/orders"))["exp"].as_u64().unwrap();
        assert!((NOW + step * 10 + 1..=NOW + 180).contains(&exp), "{exp} at step {step}");
        gw.later(Duration::from_secs(10));
    }
    assert_eq!(alice.get("/orders").status, 401);
}

#[test]
fn the_public_keys_are_open_to_everybody_and_have_nothing_private() {
    let gw = TestGateway::with(signing);
    let reply = gw.client().get(JWKS);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/jwk-set+json"));
    assert_eq!(reply.header("cache-control"), Some("public, max-age=300"));
    let PublicKey::Ed25519 { x } = ed25519().public().clone() else { unreachable!("it is one") };
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": ed25519().kid(), "alg": "EdDSA", "use": "sig" });
    assert_eq!(reply.json(), json!({ "keys": [key] }));
    let head = gw.client().request("HEAD", JWKS, &[], "");
    assert_eq!((head.status, head.header("content-length")), (200, reply.header("content-length")));
    let post = gw.client().post(JWKS, "{}");
    assert_eq!(
        (post.status, post.code(), post.header("allow")),
        (405, "method_not_allowed".to_owned(), Some("GET, HEAD"))
    );
    assert_eq!(gw.client().get("/.well-known//jwks.json").status, 200, "the canonical path counts");
    assert_eq!(gw.client().get("/.well-known/jwks.json/").status, 401, "any other is routed");
    assert_eq!(gw.upstream.seen().len(), 0);
}

#[test]
fn without_signing_the_path_of_the_keys_is_routed_like_any_other() {
    let gw = TestGateway::with(|config| config.routes[0].auth = AuthRule::None);
    assert_eq!(gw.client().get(JWKS).status, 200);
    assert_eq!(gw.upstream.last().target, JWKS);
    let mut alice = gw.login("oAlice");
    assert_eq!(alice.request("GET", "/maybe/1", &[("X-WX-ASSERTION", "evil")], "").status, 200);
    assert_eq!(gw.upstream.last().header("x-wx-assertion"), None);
}

/// The order of a change of keys: published, then signing, then published for a while longer.
#[test]
fn keys_change_without_a_moment_in_which_a_token_has_no_published_key() {
    let with = |key: SigningKey, other_keys: Vec<SigningKey>| {
        TestGateway::with(move |config| {
            config.assertion = Some(Assertion { other_keys, ..Assertion::new(ISSUER, key) });
        })
    };
    let steps = [(ed25519(), vec![]), (ed25519(), vec![p256()]), (p256(), vec![ed25519()]), (p256(), vec![])];
    let mut published_before = vec![ed25519().kid().to_owned()];
    for (key, others) in steps {
        let gw = with(key.clone(), others);
        let token = sent(&gw, &mut gw.login("oAlice"), "/orders");
        assert_eq!(head(&token), json!({ "alg": key.algorithm(), "typ": "JWT", "kid": key.kid() }));
        let kids: Vec<String> = kids(&gw.client().get(JWKS).json());
        assert!(kids.contains(&key.kid().to_owned()) && published_before.contains(&key.kid().to_owned()));
        published_before = kids;
    }
}

/// The same while it runs: every token can be verified with the keys that there were before its step, and with those after the
/// next one.
#[test]
fn keys_change_without_a_restart_and_what_was_signed_before_can_still_be_verified() {
    let mut gw = TestGateway::with(signing);
    let mut alice = gw.login("oAlice");
    let mut published = gw.client().get(JWKS).json();
    let first = sent(&gw, &mut alice, "/orders");
    let mut last = first.clone();
    for (key, other_keys) in [(ed25519(), vec![p256()]), (p256(), vec![ed25519()]), (p256(), vec![])] {
        let wanted: Vec<String> = [&key].into_iter().chain(&other_keys).map(|key| key.kid().to_owned()).collect();
        let section = Assertion { other_keys, ..Assertion::new(ISSUER, key.clone()) };
        let change = gw.reload(|config| config.assertion = Some(section));
        assert_eq!(change.applied.iter().map(ToString::to_string).collect::<Vec<_>>(), ["changed identity.assertion"]);
        let set = until("the keys of this step", || {
            let set = gw.client().get(JWKS).json();
            (kids(&set) == wanted).then_some(set)
        });
        let token = sent(&gw, &mut alice, "/orders");
        assert_eq!(head(&token)["kid"], key.kid(), "none that was signed with another key is sent again");
        assert!(is_signed(&token, &published) && is_signed(&token, &set), "the keys that a verifier may have");
        assert!(is_signed(&last, &set), "what was on its way meanwhile");
        (published, last) = (set, token);
    }
    assert!(!is_signed(&first, &published), "its key is gone");
}

/// Whether the signature of a token is that of the key in this set which the token names.
fn is_signed(token: &str, set: &Value) -> bool {
    let kid = &head(token)["kid"];
    let Some(key) = set["keys"].as_array().unwrap().iter().find(|key| key["kid"] == *kid) else { return false };
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let part = |name: &str| decoded(key[name].as_str().unwrap());
    let public = match key["alg"].as_str().unwrap() {
        "EdDSA" => UnparsedPublicKey::new(&ED25519, part("x")),
        _ => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [vec![4], part("x"), part("y")].concat()),
    };
    public.verify(signed.as_bytes(), &decoded(signature)).is_ok()
}

fn kids(set: &Value) -> Vec<String> {
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}
