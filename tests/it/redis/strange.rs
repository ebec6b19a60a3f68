//! A Redis that is not what it was, or has something in it that is not ours.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use redis::Commands;
use wxgate::store::{Notice, Posting, ProfileRecord, Room, Store};

use super::{
    Instance, KEY, News,
    instances::{Visitor, gateway_with},
    is_unavailable, key_of, told,
};
use crate::support::{redis_server::RedisServer, until};

const OTHER_KEY: &str = "YW5vdGhlci1rZXktaGVyZSE=";

/// Threat 15: who has a copy of it has nobody's session, and no key of WeChat's.
#[test]
fn a_dump_of_redis_gives_no_session_key() {
    let server = RedisServer::start();
    let one = Instance::of(&server.section());
    let session = one.login("o1");
    assert_eq!(one.wait(one.store.session_key(&super::user("o1"), super::NOW)).unwrap().unwrap().expose(), KEY);
    let put = wxgate::model::SessionKey::new(OTHER_KEY);
    let old = wxgate::model::SessionKey::new(KEY);
    let replaced = one.wait(one.store.replace_session_key(&super::user("o1"), &old, &put, super::NOW));
    assert!(replaced.unwrap());
    let visitor = Visitor::of(&gateway_with(&server.section(), |_| {}), "oVisitor");
    let dump = server.dump();
    let has = |part: &[u8]| dump.windows(part.len()).any(|window| window == part);
    assert!(has(session.digest().as_bytes()), "this is where it would be found");
    assert!(!has(KEY.as_bytes()) && !has(OTHER_KEY.as_bytes()), "it is sealed, and so is the one in its place");
    assert!(has(b"oVisitor"), "the session of a real token is there");
    let token = &visitor.token.as_bytes()[4..];
    let random = BASE64_URL_SAFE_NO_PAD.decode(token).unwrap();
    for piece in token.chunks(16).chain(random[..32].chunks(16)) {
        assert!(!has(piece), "{}", piece.escape_ascii());
    }
    assert!(!has(b"wxg_"), "no token begins differently");
}

#[test]
fn what_this_version_can_t_read_is_no_answer_and_can_be_ended() {
    let server = RedisServer::start();
    let one = Instance::of(&server.section());
    let session = one.login("o1");
    let key = key_of(&session);
    server.tell(&format!("SET {key} ~of-a-version-to-come"));
    assert!(told(one.load(&session)).contains("can't be read"));
    assert!(one.wait(one.store.sessions_of(&super::user("o1"), super::NOW)).is_err());
    assert!(one.end(&session).unwrap(), "whoever logs out is logged out");
    assert!(!one.finds(&session));

    server.tell(&format!("LPUSH {key} x"));
    assert!(told(one.load(&session)).contains("something else than wxgate"));
}

#[test]
fn a_key_of_another_kind_leaves_no_change_of_a_profile_half_done() {
    let record = |version| ProfileRecord { version, bytes: b"Anna".to_vec() };
    let posting = |number| Posting {
        notice: Notice { id: [number; 16], made: super::NOW, bytes: b"told".to_vec() },
        room: Room { per_user: 9, in_all: 10_000 },
        supersedes: false,
    };
    // Who waits, since when, how many notices, and the user's queue.
    let kinds = [("o", "HSET"), ("a", "HSET"), ("n", "HSET"), ("q", "HSET"), ("n", "SET")];
    for (kind, command) in kinds {
        let server = RedisServer::start();
        let (one, user) = (Instance::of(&server.section()), super::user("o1"));
        let put = |before, version, number| {
            one.wait(one.store.put_profile(&user, before, &record(version), Some(&posting(number))))
        };
        assert!(put(None, 1, 1).unwrap().is_made());
        let mut connection = server.connection();
        let keys: Vec<String> = connection.keys(format!("wxg:{kind}:*")).unwrap();
        let key = keys.first().unwrap();
        server.tell(&format!("DEL {key}"));
        server.tell(&format!("{command} {key} many{}", if command == "HSET" { " x" } else { "" }));
        let mut all = || {
            let mut keys: Vec<String> = connection.keys("*").unwrap();
            keys.sort();
            let dump = |key| redis::cmd("DUMP").arg(key).query::<Vec<u8>>(&mut connection).unwrap();
            keys.iter().map(dump).collect::<Vec<_>>()
        };
        let before = all();
        assert!(told(put(Some(1), 2, 2)).contains("something else than wxgate"), "{kind}");
        assert!(
            told(one.wait(one.store.forget_profile(&user, Some(&posting(3))))).contains("something else"),
            "{kind}"
        );
        assert!(before == all(), "{kind} {command}");
        server.tell(&format!("DEL {key}"));
        assert!(put(Some(1), 2, 4).unwrap().is_made());
        assert!(one.wait(one.store.forget_profile(&user, Some(&posting(5)))).unwrap().is_some());
    }
}

#[test]
fn a_replica_is_no_master_and_no_session_is_over_because_of_it() {
    let (server, other) = (RedisServer::start(), RedisServer::start());
    let one = Instance::of(&server.section());
    let session = one.login("o1");
    one.heard.take();
    // It becomes a copy of a server that has nothing.
    server.tell(&format!("REPLICAOF 127.0.0.1 {}", other.port()));
    until("a refusal", || one.begin(&one.session("o2")).is_err().then_some(()));
    until("an empty copy", || (server.tell("DBSIZE") == redis::Value::Int(0)).then_some(()));
    for _ in 0..20 {
        is_unavailable(&one.load(&session));
        is_unavailable(&one.wait(one.store.sessions_of(&super::user("o1"), super::NOW)));
    }
    one.heard.until(&[News::Lost]);
    is_unavailable(&one.end(&session));
    is_unavailable(&one.wait(one.store.check()));

    server.tell("REPLICAOF NO ONE");
    one.until_it_answers();
    one.heard.until(&[News::Lost, News::AllChanged, News::Restored]);
    assert!(!one.finds(&session), "now it is the master that says so");
}

#[test]
fn a_full_redis_takes_no_login_and_no_half_of_one() {
    let server = RedisServer::start();
    let one = Instance::of(&server.section());
    let session = one.login("o1");
    server.tell("CONFIG SET maxmemory 1");
    let second = one.session("o1");
    assert!(told(one.begin(&second)).contains("maxmemory"), "{}", told(one.begin(&second)));
    assert!(one.finds(&session) && !one.finds(&second));
    assert_eq!(one.wait(one.store.sessions_of(&super::user("o1"), super::NOW)).unwrap().len(), 1);
    assert!(one.end(&session).unwrap(), "ending one needs no room");
    server.tell("CONFIG SET maxmemory 0");
    one.begin(&second).unwrap();
}

#[test]
fn a_login_waits_for_the_replicas_it_is_told_to_wait_for() {
    let server = RedisServer::start();
    let section = wxgate::config::sections::Redis { wait_replicas: 1, ..server.section() };
    let one = Instance::of(&section);
    let session = one.session("o1");
    assert!(told(one.begin(&session)).contains("0 of 1 replicas have it"));
    assert!(one.finds(&session), "it has happened, as an error leaves open");

    let replica = RedisServer::with(&["--replicaof", "127.0.0.1", &server.port().to_string()]);
    // One that is only just being filled may be counted before it has anything, or slow to say what it has.
    until("a replica that is filled", || match replica.tell("INFO replication") {
        redis::Value::BulkString(info) => {
            String::from_utf8_lossy(&info).contains("master_link_status:up").then_some(())
        }
        _ => None,
    });
    until("a login that a replica has", || one.begin(&one.session("o1")).ok());
    until("a log-out that a replica has", || one.end(&session).ok());
    assert!(replica.dump().windows(3).any(|part| part == b"wx1"));
}

#[test]
fn errors_name_no_user_and_no_session() {
    let server = RedisServer::start();
    server.tell("ACL SETUSER default -evalsha");
    let one = Instance::of(&server.section());
    let why = told(one.begin(&one.session("oSecret")));
    assert!(why.contains("NOPERM") && why.contains("docs/INSTANCES.md"), "{why}");
    assert!(!why.contains("oSecret") && !why.contains("wx1") && !why.contains("5a5a"), "{why}");
    assert!(!format!("{:?}", one.store).contains("oSecret"));
}
