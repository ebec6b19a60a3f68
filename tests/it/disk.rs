//! The real binary and its file of sessions: over a restart and a crash, on a disk that fails, and where it can't start.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use serde_json::json;
use wxgate::simulator::{Fault, Options, Simulator};

use crate::support::{
    APP, Recorder, Reply, SECRET,
    binary::{self, Binary},
    client::Client,
    until,
};

/// A gateway that can be started again on what it has left behind.
struct Place {
    name: String,
    config: String,
    wechat: Simulator,
    _upstream: Recorder,
}

impl Place {
    fn new(name: &str) -> Self {
        let folder = binary::folder(name);
        let _ = fs::remove_dir_all(folder);
        let wechat = Simulator::start(Options::on_free_port().with_app(APP, SECRET)).unwrap();
        let upstream = Recorder::start();
        let config = format!(
            r#"
            [server]
            listen = ["127.0.0.1:0"]
            [admin]
            listen = "127.0.0.1:0"
            [sessions.snapshot]
            path = "data/wxgate.db"
            [[apps]]
            app_id = "{APP}"
            secret = "{SECRET}"
            api_base = "{}"
            [[upstreams]]
            name = "app"
            servers = ["http://{}"]
            [[routes]]
            path = "/"
            upstream = "app"
            "#,
            wechat.api_base(),
            upstream.addr()
        );
        Self { name: name.to_owned(), config, wechat, _upstream: upstream }
    }

    fn start(&self) -> Binary {
        Binary::serve(&self.name, &self.config, &[])
    }

    fn start_after(&self, shell: &str) -> Binary {
        Binary::serve_after(shell, &self.name, &self.config)
    }

    fn path(&self, file: &str) -> PathBuf {
        binary::folder(&self.name).join("data").join(file)
    }

    fn verify(&self, gw: &Binary, openid: &str) -> Reply {
        let code = self.wechat.make_code(APP, openid).unwrap();
        gw.client().post("/v1/verify", &json!({ "jsCode": code, "appId": APP }).to_string())
    }

    fn login(&self, gw: &Binary, openid: &str) -> String {
        self.verify(gw, openid).json()["token"].as_str().unwrap().to_owned()
    }

    /// Starts one that ends at once, and says why.
    fn refuses_to_start(&self) -> String {
        let folder = binary::folder(&self.name);
        let output: Output = Command::new(env!("CARGO_BIN_EXE_wxgate")).current_dir(&folder).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        said.lines().last().unwrap_or_default().to_owned()
    }
}

fn status(mut client: Client, method: &str, path: &str, token: &str) -> u16 {
    client.request(method, path, &[("Authorization", &format!("Bearer {token}"))], "").status
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn sessions_outlive_a_restart_and_a_crash_and_ended_ones_do_not() {
    let place = Place::new("disk_restart");
    let gw = place.start();
    let (alice, bob) = (place.login(&gw, "oAlice"), place.login(&gw, "oBob"));
    assert_eq!(status(gw.client(), "POST", "/v1/logout", &bob), 204);
    gw.stop();
    let gw = place.start();
    let carol = place.login(&gw, "oCarol");
    for (token, expected) in [(&alice, 200), (&bob, 401), (&carol, 200)] {
        assert_eq!(status(gw.client(), "GET", "/orders", token), expected);
    }
    assert_eq!(status(gw.client(), "POST", "/v1/logout", &alice), 204);
    // Killed, not stopped.
    drop(gw);
    let gw = place.start();
    for (token, expected) in [(&alice, 401), (&bob, 401), (&carol, 200)] {
        assert_eq!(status(gw.client(), "GET", "/orders", token), expected);
    }
}

#[test]
fn while_the_disk_takes_nothing_nobody_logs_in_or_out_and_everybody_else_goes_on() {
    let place = Place::new("disk_full");
    // A write that the system refuses would otherwise be the end of the process.
    let gw = place.start_after("trap '' XFSZ");
    let alice = place.login(&gw, "oAlice");
    let unlimited = getrlimit(Resource::Fsize);
    // From now on no byte goes into any file: to SQLite that is a disk that fails.
    prlimit(Some(gw.pid()), Resource::Fsize, Rlimit { current: Some(0), ..unlimited }).unwrap();
    for _ in 0..3 {
        let refused = place.verify(&gw, "oBob");
        assert_eq!((refused.status, refused.code()), (503, "store_unavailable".to_owned()));
    }
    assert_eq!(status(gw.client(), "POST", "/v1/logout", &alice), 503);
    assert_eq!(status(gw.client(), "GET", "/orders", &alice), 200);
    until("not ready", || (gw.admin().get("/readyz").status == 503).then_some(()));
    assert_eq!(status(gw.client(), "GET", "/orders", &format!("{alice}x")), 401);

    prlimit(Some(gw.pid()), Resource::Fsize, unlimited).unwrap();
    let bob = until("the disk to be tried again", || {
        let reply = place.verify(&gw, "oBob");
        (reply.status == 200).then(|| reply.json()["token"].as_str().unwrap().to_owned())
    });
    until("ready", || (gw.admin().get("/readyz").status == 200).then_some(()));
    assert_eq!(status(gw.client(), "POST", "/v1/logout", &alice), 204);
    let said = gw.messages.text();
    assert_eq!(said.matches("sessions can't be written").count(), 1, "once, however many are refused: {said}");
    assert_eq!(said.matches("sessions can be written again").count(), 1, "{said}");
    drop(gw);

    let gw = place.start();
    assert_eq!(status(gw.client(), "GET", "/orders", &alice), 401);
    assert_eq!(status(gw.client(), "GET", "/orders", &bob), 200);
}

/// Whoever balances the load asks nothing else, and sends no login before it is told that there can be one.
#[test]
fn readiness_comes_back_with_the_disk_though_nobody_logs_in() {
    let place = Place::new("disk_ready");
    let gw = place.start_after("trap '' XFSZ");
    let ready = |status| until("/readyz", || (gw.admin().get("/readyz").status == status).then_some(()));
    let unlimited = getrlimit(Resource::Fsize);
    for _ in 0..2 {
        ready(200);
        prlimit(Some(gw.pid()), Resource::Fsize, Rlimit { current: Some(0), ..unlimited }).unwrap();
        ready(503);
        prlimit(Some(gw.pid()), Resource::Fsize, unlimited).unwrap();
    }
    ready(200);
    assert_eq!(place.verify(&gw, "oAlice").status, 200);
    let said = gw.messages.text();
    assert_eq!(said.matches("sessions can be written again").count(), 2, "{said}");
}

#[test]
fn what_the_first_start_makes_is_its_owners_alone_whatever_the_umask() {
    let place = Place::new("disk_modes");
    let gw = place.start_after("umask 000");
    place.login(&gw, "oAlice");
    for file in ["wxgate.db", "wxgate.db-wal", "wxgate.db-shm", "wxgate.db-lock", "seal.key"] {
        assert_eq!(mode(&place.path(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&place.path("")), 0o700);
    gw.stop();
}

/// Threat 15: who has a copy of the files has nobody's session, and no key to WeChat.
#[test]
fn the_files_open_no_session_and_hold_no_secret() {
    let place = Place::new("disk_secrets");
    let gw = place.start();
    let session_key = "a2V5LXRoYXQtcmVzdHMtc2VhbGVk";
    let body = json!({ "openid": "oAlice", "session_key": session_key }).to_string();
    place.wechat.next_fault(Fault::Body { body });
    let (alice, bob) = (place.login(&gw, "oAlice"), place.login(&gw, "oBob"));
    assert_eq!(status(gw.client(), "POST", "/v1/logout", &bob), 204);
    let stored = || fs::read_dir(place.path("")).unwrap().flat_map(|file| fs::read(file.unwrap().path()).unwrap());
    let running: Vec<u8> = stored().collect();
    gw.stop();
    let stopped: Vec<u8> = stored().collect();
    let tokens = [&alice, &bob].map(|token| &token.as_bytes()[4..]);
    let random = tokens.map(|token| BASE64_URL_SAFE_NO_PAD.decode(token).unwrap());
    let pieces = tokens.iter().flat_map(|token| token.chunks(16));
    let pieces = pieces.chain(random.iter().flat_map(|bytes| bytes[..32].chunks(16)));
    let secrets: Vec<&[u8]> = pieces.chain([SECRET.as_bytes(), session_key.as_bytes()]).collect();
    for files in [&running, &stopped] {
        assert!(memchr::memmem::find(files, b"oAlice").is_some(), "the sessions are there");
        for secret in &secrets {
            assert_eq!(memchr::memmem::find(files, secret), None, "{}", secret.escape_ascii());
        }
    }
}

#[test]
fn two_gateways_do_not_share_a_file() {
    let place = Place::new("disk_taken");
    let gw = place.start();
    let alice = place.login(&gw, "oAlice");
    let said = place.refuses_to_start();
    assert!(said.contains("data/wxgate.db is in use by another wxgate"), "{said}");
    assert_eq!(status(gw.client(), "GET", "/orders", &alice), 200, "the first one goes on");
}

#[test]
fn a_file_that_is_not_ours_is_named_at_start_and_left_alone() {
    let place = Place::new("disk_notes");
    place.start().stop();
    fs::write(place.path("wxgate.db"), "notes ".repeat(1000)).unwrap();
    let said = place.refuses_to_start();
    assert!(
        said.contains("data/wxgate.db is damaged, or no SQLite file; put a copy of it back, or move it away"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(place.path("wxgate.db")).unwrap(), "notes ".repeat(1000));
}

#[test]
fn a_key_that_is_lost_is_not_made_anew_behind_the_operators_back() {
    let place = Place::new("disk_key");
    let gw = place.start();
    let alice = place.login(&gw, "oAlice");
    gw.stop();
    let key = fs::read(place.path("seal.key")).unwrap();
    fs::remove_file(place.path("seal.key")).unwrap();
    let said = place.refuses_to_start();
    assert!(
        said.contains("data/seal.key is not there, but data/wxgate.db is, which was sealed with it; put it back"),
        "{said}"
    );
    assert!(!place.path("seal.key").exists());
    fs::write(place.path("seal.key"), key).unwrap();
    let gw = place.start();
    assert_eq!(status(gw.client(), "GET", "/orders", &alice), 200);
}
