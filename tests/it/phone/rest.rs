//! Where phone numbers rest: over a restart with a file, and for several gateways with a Redis. Sealed in both.

use std::{fs, path::Path};

use redis::Commands;
use wxgate::{
    config::{
        Config,
        sections::{NewestSealKey, Route, Seal, Snapshot},
    },
    model::{SealKey, Secret},
};

use super::{NUMBER, PATH, profile, tell};
use crate::support::{TestGateway, redis_server::RedisServer};

fn sealed(config: &mut Config) {
    let key = NewestSealKey::Given(SealKey::parse(&Secret::new("5e".repeat(32))).unwrap());
    config.sessions.seal = Some(Seal { key, old_keys: Vec::new() });
    config.routes.push(Route { forward_phone: true, ..Route::new("/call/", "app") });
}

fn on_a_file(path: &Path) -> TestGateway {
    TestGateway::with(|config| {
        config.sessions.snapshot = Some(Snapshot { path: path.to_owned() });
        sealed(config);
    })
}

fn on_redis(server: &RedisServer) -> TestGateway {
    TestGateway::with(|config| {
        config.sessions.redis = Some(server.section());
        sealed(config);
    })
}

#[test]
fn a_phone_number_outlives_the_process_and_does_not_lie_open_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wxgate.db");
    let gw = on_a_file(&path);
    let mut alice = gw.login("oAlice");
    tell(&gw, &mut alice, NUMBER);
    gw.stop();
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.windows(6).any(|some| some == b"oAlice"), "the user is in it");
    assert!(!bytes.windows(NUMBER.len()).any(|some| some == NUMBER.as_bytes()));
    let gw = on_a_file(&path);
    let mut alice = gw.login("oAlice");
    assert_eq!(profile(&mut alice)["phoneNumber"], NUMBER);
    alice.get("/call/");
    assert_eq!(gw.upstream.last().header("x-wx-phone"), Some(NUMBER));
}

#[test]
fn gateways_that_share_a_redis_share_phone_numbers() {
    let server = RedisServer::start();
    let (one, other) = (on_redis(&server), on_redis(&server));
    let (mut here, mut there) = (one.login("oAlice"), other.login("oAlice"));
    tell(&one, &mut here, NUMBER);
    assert_eq!(profile(&mut there)["phoneNumber"], NUMBER);
    there.get("/call/");
    assert_eq!(other.upstream.last().header("x-wx-phone"), Some(NUMBER));

    let mut connection = server.connection();
    let key: Vec<String> = connection.keys("wxg:p:*").unwrap();
    let [key] = key.as_slice() else { panic!("{key:?}") };
    let record: Vec<u8> = connection.get(key).unwrap();
    assert!(!record.windows(NUMBER.len()).any(|some| some == NUMBER.as_bytes()));

    assert_eq!(here.request("DELETE", PATH, &[], "").status, 204);
    one.later(std::time::Duration::from_mins(1));
    other.later(std::time::Duration::from_mins(1));
    there.get("/call/");
    assert_eq!(other.upstream.last().header("x-wx-phone"), None, "heard of within a minute");
}
