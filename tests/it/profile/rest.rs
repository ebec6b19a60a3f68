//! Where profiles rest: over a restart with a file, and for several gateways with a Redis. Sealed in both.

use std::{fs, path::Path};

use redis::Commands;
use serde_json::json;
use wxgate::{
    config::{
        Config,
        sections::{NewestSealKey, Redis, Seal, Snapshot},
    },
    model::{SealKey, Secret},
};

use crate::support::{APP, TestGateway, redis_server::RedisServer};

use super::{NOT_NOW, PATH, get, put};

const NICKNAME: &str = "nickname-on-trial";

/// Seals with the first of these keys.
fn sealed(config: &mut Config, keys: &[&str]) {
    let mut keys = keys.iter().map(|digits| SealKey::parse(&Secret::new(digits.repeat(32))).unwrap());
    let key = NewestSealKey::Given(keys.next().unwrap());
    config.sessions.seal = Some(Seal { key, old_keys: keys.collect() });
}

fn on_a_file(path: &Path, keys: &[&str]) -> TestGateway {
    TestGateway::with(|config| {
        config.sessions.snapshot = Some(Snapshot { path: path.to_owned() });
        sealed(config, keys);
    })
}

fn on_redis(server: &RedisServer) -> TestGateway {
    TestGateway::with(|config| {
        config.sessions.redis = Some(Redis { ..server.section() });
        sealed(config, &["5e"]);
    })
}

#[test]
fn a_profile_outlives_the_process_and_does_not_lie_open_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wxgate.db");
    let gw = on_a_file(&path, &["5e"]);
    let before = put(&mut gw.login("oAlice"), &json!({ "nickName": NICKNAME }));
    gw.stop();
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.windows(6).any(|some| some == b"oAlice"), "the user is in it");
    assert!(!bytes.windows(NICKNAME.len()).any(|some| some == NICKNAME.as_bytes()));
    let gw = on_a_file(&path, &["5e"]);
    assert_eq!(get(&mut gw.login("oAlice")), before);
}

#[test]
fn a_profile_whose_key_is_lost_is_not_an_empty_one_and_can_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wxgate.db");
    let gw = on_a_file(&path, &["01"]);
    let before = put(&mut gw.login("oAlice"), &json!({ "nickName": NICKNAME }));
    gw.stop();
    let gw = on_a_file(&path, &["02", "01"]);
    assert_eq!(get(&mut gw.login("oAlice")), before, "an old key opens what it sealed");
    gw.stop();
    let gw = on_a_file(&path, &["02"]);
    let mut alice = gw.login("oAlice");
    for (method, body) in [("GET", ""), ("PUT", r#"{"city":"广州"}"#)] {
        let reply = alice.request(method, PATH, &[], body);
        gw.says_no(&reply, 503, "store_unavailable", NOT_NOW, &[("retry-after", "1")]);
    }
    assert_eq!(alice.request("DELETE", PATH, &[], "").status, 204);
    assert_eq!(put(&mut alice, &json!({ "city": "广州" }))["fields"]["nickName"], json!(null));
}

#[test]
fn gateways_that_share_a_redis_share_profiles() {
    let server = RedisServer::start();
    let (one, other) = (on_redis(&server), on_redis(&server));
    let (mut here, mut there) = (one.login("oAlice"), other.login("oAlice"));
    let first = put(&mut here, &json!({ "nickName": NICKNAME }));
    assert_eq!(get(&mut there), first);
    put(&mut there, &json!({ "city": "广州" }));
    assert_eq!(get(&mut here)["city"], "广州");

    // The key is that of the newest login, wherever it was. Each gateway here has a WeChat of its own.
    let data = other.wechat.user_data(APP, "oAlice", &json!({ "country": "CN" })).unwrap();
    let body = json!({ "encryptedData": data.encrypted_data, "iv": data.iv });
    assert_eq!(put(&mut here, &body)["fields"]["country"]["source"], "decrypted");

    let mut connection = server.connection();
    let key: Vec<String> = connection.keys("wxg:p:*").unwrap();
    let [key] = key.as_slice() else { panic!("{key:?}") };
    let record: Vec<u8> = connection.get(key).unwrap();
    assert!(!record.windows(NICKNAME.len()).any(|some| some == NICKNAME.as_bytes()));
    assert_eq!(connection.pttl::<_, i64>(key).unwrap(), -1, "it does not run out");
    assert_eq!(here.request("DELETE", PATH, &[], "").status, 204);
    assert_eq!(get(&mut there)["version"], 0);
}

#[test]
fn gateways_that_change_one_profile_at_once_lose_nothing() {
    let server = RedisServer::start();
    let gateways = [on_redis(&server), on_redis(&server)];
    let fields = ["nickName", "city", "province", "country"];
    std::thread::scope(|scope| {
        for (at, field) in fields.into_iter().enumerate() {
            let mut alice = gateways[at % 2].login("oAlice");
            scope.spawn(move || {
                for n in 0..10 {
                    put(&mut alice, &json!({ field: format!("{field}{n}") }));
                }
            });
        }
    });
    let profile = get(&mut gateways[0].login("oAlice"));
    for field in fields {
        assert_eq!(profile[field], format!("{field}9"), "{profile}");
    }
}
