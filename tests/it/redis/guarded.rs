//! A Redis that asks who is there, and one that is spoken to over TLS.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use wxgate::{
    config::sections::{Redis, RedisLogin},
    model::Secret,
    store::Store,
};

use super::{Instance, is_unavailable, told};
use crate::support::{redis_server::RedisServer, until};

/// The least that a user of the gateway needs, as docs/INSTANCES.md has it.
pub fn least() -> String {
    let page = include_str!("../../../docs/INSTANCES.md");
    let line = page.lines().find_map(|line| line.strip_prefix("ACL SETUSER wxgate ")).expect("the line with the user");
    line.replace(">a-long-password", ">word")
}

pub fn login(username: &str, password: &str) -> RedisLogin {
    RedisLogin { username: Some(username.to_owned()), password: Some(Secret::new(password)) }
}

#[test]
fn a_user_with_the_least_rights_can_do_everything() {
    let server = RedisServer::start();
    server.tell(&format!("ACL SETUSER wxgate {}", least()));
    let section = Redis { login: login("wxgate", "word"), wait_replicas: 0, ..server.section() };
    let one = Instance::of(&section);
    server.tell("ACL LOG RESET");
    let (first, second) = (one.login("o1"), one.login("o1"));
    assert!(one.finds(&first));
    let seen = wxgate::store::Seen { user: super::user("o1"), digest: *first.digest(), at: super::NOW };
    one.wait(one.store.touch(vec![seen])).unwrap();
    assert_eq!(one.wait(one.store.sessions_of(&super::user("o1"), super::NOW)).unwrap().len(), 2);
    assert_eq!(one.wait(one.store.count()).unwrap(), 2);
    assert_eq!(one.wait(one.store.recent(10, super::NOW)).unwrap().len(), 2);
    assert!(one.wait(one.store.session_key(&super::user("o1"), super::NOW)).unwrap().is_some());
    let profile = wxgate::store::ProfileRecord { version: 1, bytes: b"Anna".to_vec() };
    let room = wxgate::store::Room { per_user: 2, in_all: 1000 };
    for (before, made) in [(None, 1), (Some(1), 2), (Some(1), 3)] {
        let notice = wxgate::store::Notice { id: [made; 16], made: super::NOW, bytes: b"told".to_vec() };
        let posting = wxgate::store::Posting { notice, room, supersedes: false };
        assert!(
            one.wait(one.store.put_profile(&super::user("o1"), before, &profile, Some(&posting))).unwrap().is_made()
        );
    }
    let claim = wxgate::store::Claim { by: [7; 16], lasts: std::time::Duration::from_mins(1) };
    for fate in [wxgate::store::Fate::Again(super::NOW), wxgate::store::Fate::Over] {
        assert_eq!(one.wait(one.store.claim_notices(claim, super::NOW, 10)).unwrap().len(), 1);
        assert!(one.wait(one.store.settle_notice(&super::user("o1"), [7; 16], fate, super::NOW)).unwrap());
    }
    assert_eq!(one.wait(one.store.waiting_notices()).unwrap().notices, 1);
    let notice = wxgate::store::Notice { id: [4; 16], made: super::NOW, bytes: b"removed".to_vec() };
    let removal = wxgate::store::Posting { notice, room, supersedes: true };
    assert_eq!(one.wait(one.store.profile(&super::user("o1"))).unwrap(), Some(profile));
    assert!(one.wait(one.store.forget_profile(&super::user("o1"), Some(&removal))).unwrap().is_some());
    super::outbox::lose_queues(&server);
    assert_eq!(one.wait(one.store.claim_notices(claim, super::NOW, 10)).unwrap().len(), 0);
    assert!(one.end(&second).unwrap());
    one.wait(one.store.end_user(&super::user("o1"), super::NOW)).unwrap();
    one.wait(one.store.check()).unwrap();
    assert!(!one.finds(&one.session("o3")));
    server.tell("SCRIPT FLUSH");
    one.login("o1");
    let refused = server.tell("ACL LOG");
    assert_eq!(refused, redis::Value::Array(Vec::new()));
}

#[test]
fn a_wrong_password_is_no_answer_and_is_not_told() {
    let server = RedisServer::start();
    server.tell("ACL SETUSER wxgate on >word ~* &* +@all");
    let section = Redis { login: login("wxgate", "wrong-word"), ..server.section() };
    let one = Instance::unlinked(&section);
    let why = until("a refusal", || {
        let why = told(one.begin(&one.session("o1")));
        why.contains("WRONGPASS").then_some(why)
    });
    assert!(why.contains("look at username and password"), "{why}");
    assert!(!why.contains("wrong-word"), "{why}");
    assert!(!format!("{section:?} {:?}", one.store).contains("wrong-word"));
}

/// A CA that lives as long as its test, and a server with a certificate of it.
struct Guarded {
    server: RedisServer,
    ca: String,
    _folder: tempfile::TempDir,
}

impl Guarded {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ca, issuer) = authority();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (cert, key, of) =
            (file("cert.pem", &certificate), file("key.pem", &key.serialize_pem()), file("ca.pem", &ca));
        let server = RedisServer::closed(&[
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &of,
            "--tls-auth-clients",
            "no",
        ]);
        assert!(Path::new(&of).exists());
        Self { server, ca, _folder: folder }
    }
}

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, Issuer::new(params, key))
}

#[test]
fn a_redis_behind_tls_is_known_by_its_ca() {
    let guarded = Guarded::start();
    let section = Redis { tls: true, ca: Some(guarded.ca.clone()), ..guarded.server.section() };
    let one = Instance::of(&section);
    assert!(one.finds(&one.login("o1")));
}

#[test]
fn a_redis_that_another_ca_vouches_for_is_not_spoken_to() {
    let guarded = Guarded::start();
    for ca in [Some(authority().0), None] {
        let section = Redis { tls: true, ca, ..guarded.server.section() };
        let one = Instance::unlinked(&section);
        until("a refusal", || told(one.begin(&one.session("o1"))).contains("ertificate").then_some(()));
    }
    let in_the_clear = Instance::unlinked(&guarded.server.section());
    until("a refusal", || (!told(in_the_clear.begin(&in_the_clear.session("o1"))).contains("yet")).then_some(()));
    is_unavailable(&in_the_clear.begin(&in_the_clear.session("o1")));
}
