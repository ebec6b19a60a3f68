//! Pictures that users upload: what is taken, what becomes of it, who sees it, and what is left when it goes.

mod bombs;
mod bucket;
mod forms;
mod kinds;
mod races;
mod rest;
mod served;

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use wxgate::config::{
    Config,
    sections::{AvatarStorage, Avatars},
};

use crate::support::{
    Reply, TestGateway, User,
    client::head,
    pictures::{BLACK, BLUE, GREEN, Look, RED, corners, plain, png, seen},
    until,
};

const PATH: &str = "/v1/profile/avatar";
const PUBLIC: &str = "https://api.example.com";
const BOUNDARY: &str = "----wx9f2b";
const NO_PICTURE: &str = "The file is no PNG, JPEG, WebP or GIF that can be read.";
const ALL_FOUR: [[u8; 3]; 4] = [RED, GREEN, BLUE, BLACK];

/// A part of a form.
enum Part<'a> {
    /// With a name, and what kind it is said to be.
    File(&'a str, &'a str, &'a [u8]),
    Text(&'a str, &'a str),
}

fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        body.extend(format!("--{BOUNDARY}\r\n").bytes());
        match part {
            Part::File(name, kind, bytes) => {
                let head = format!(
                    "Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n"
                );
                body.extend(head.bytes());
                body.extend(*bytes);
            }
            Part::Text(name, text) => {
                body.extend(format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}").bytes());
            }
        }
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

/// What `wx.uploadFile` sends of a picture.
fn form_of(picture: &[u8]) -> Vec<u8> {
    form(&[Part::File("tmp_7a.png", "image/png", picture)])
}

/// The head of an upload of so many bytes.
fn upload_head(token: &str, length: usize) -> String {
    let (bearer, kind) = (format!("Bearer {token}"), format!("multipart/form-data; boundary={BOUNDARY}"));
    head("POST", PATH, &[("Authorization", &bearer), ("Content-Type", &kind)], length)
}

fn send(user: &mut User, body: &[u8]) -> Reply {
    let head = upload_head(&user.token, body.len());
    let reply = user.client.send(head).send(body).reply();
    // An upload that is refused before all of it has come ends its connection, and says so.
    if reply.header("connection") == Some("close") {
        user.client = user.client.anew();
    }
    reply
}

fn upload(user: &mut User, picture: &[u8]) -> Reply {
    send(user, &form_of(picture))
}

/// Uploads what is taken, and gives the path of the picture.
#[track_caller]
pub fn uploaded(user: &mut User, picture: &[u8]) -> String {
    let reply = upload(user, picture);
    assert_eq!(reply.status, 200, "{reply:?}");
    path_in(&reply)
}

/// The path of the picture that a profile names.
#[track_caller]
fn path_in(profile: &Reply) -> String {
    let url = profile.json()["avatarUrl"].as_str().expect("a picture").to_owned();
    url.strip_prefix(PUBLIC).expect("an address of ours").to_owned()
}

/// What everybody sees there.
#[track_caller]
fn look(gw: &TestGateway, path: &str) -> Look {
    let reply = gw.client().get(path);
    assert_eq!(reply.status, 200, "{reply:?}");
    seen(&reply.body)
}

pub fn in_folder(config: &mut Config, folder: &Path) {
    let storage = AvatarStorage::Folder(folder.to_owned());
    config.avatars = Some(Avatars { storage, ..Avatars::new(PUBLIC) });
}

/// A gateway whose pictures rest in a folder of its own.
fn gateway() -> (TestGateway, TempDir) {
    gateway_with(|_| {})
}

fn gateway_with(change: impl FnOnce(&mut Config)) -> (TestGateway, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let gw = TestGateway::with(|config| {
        in_folder(config, folder.path());
        change(config);
    });
    (gw, folder)
}

/// All files in a folder and below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        // Somebody may be removing it.
        let Ok(entry) = entry else { continue };
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

/// Waits until there is this picture and no other.
#[track_caller]
fn until_only(folder: &Path, path: &str) {
    let name = path.rsplit_once('/').expect("a path").1;
    until("one picture", || {
        let files = files(folder);
        (files.len() == 1 && files[0].ends_with(name)).then_some(())
    });
}

#[test]
fn a_picture_becomes_the_users_and_everybody_sees_it() {
    let (gw, folder) = gateway();
    let mut alice = gw.login("oAlice");
    let reply = upload(&mut alice, &png(&corners(600, 400)));
    assert_eq!(reply.status, 200, "{reply:?}");
    let path = path_in(&reply);
    let expected = format!(
        r#"{{"avatarUrl":"{PUBLIC}{path}","version":1790000000000,"fields":{{"avatarUrl":{{"source":"client","updatedAt":"2026-09-21T14:13:20Z"}}}}}}"#
    );
    assert_eq!(reply.text(), expected);
    assert_eq!(reply.header("etag"), Some("\"1790000000000\""));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(alice.get("/v1/profile").text(), expected);
    look(&gw, &path).shows(400, ALL_FOUR);
    assert_eq!(files(folder.path()).len(), 1);
    assert_eq!(gw.upstream.seen().len(), 0, "nothing of it is a backend's business");
}

#[test]
fn a_new_picture_takes_the_place_of_the_old_one_and_the_rest_of_the_profile_stays() {
    let (gw, folder) = gateway();
    let mut alice = gw.login("oAlice");
    alice.put("/v1/profile", &serde_json::json!({ "nickName": "小明", "gender": 1 }));
    let first = uploaded(&mut alice, &png(&plain(60, RED)));
    let reply = upload(&mut alice, &png(&plain(60, BLUE)));
    let second = path_in(&reply);
    assert_eq!((&reply.json()["nickName"], &reply.json()["gender"]), (&"小明".into(), &1.into()));
    assert_ne!(first, second);
    until_only(folder.path(), &second);
    assert_eq!(gw.client().get(&first).code(), "no_route");
    look(&gw, &second).shows(60, [BLUE; 4]);
}

#[test]
fn the_same_picture_twice_is_one_picture() {
    let (gw, folder) = gateway();
    let mut alice = gw.login("oAlice");
    let picture = png(&plain(60, RED));
    let first = upload(&mut alice, &picture);
    gw.later(std::time::Duration::from_mins(1));
    let again = upload(&mut alice, &picture);
    assert_eq!(first.text(), again.text(), "the version too: nothing has changed");
    assert_eq!(files(folder.path()).len(), 1);

    // And it is there again where somebody has removed it by hand.
    let file = &files(folder.path())[0];
    fs::remove_file(file).unwrap();
    assert_eq!(gw.client().get(&path_in(&first)).status, 404);
    assert_eq!(upload(&mut alice, &picture).text(), first.text());
    assert_eq!(gw.client().get(&path_in(&first)).status, 200);
}

#[test]
fn users_with_the_same_picture_have_one_each() {
    let (gw, folder) = gateway();
    let picture = png(&plain(60, RED));
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    let mut alice_elsewhere = gw.login_to(crate::support::OTHER_APP, "oAlice");
    let paths = [&mut alice, &mut bob, &mut alice_elsewhere].map(|user| uploaded(user, &picture));
    assert_eq!(files(folder.path()).len(), 3, "{paths:?}");
    let bodies = paths.clone().map(|path| gw.client().get(&path).body);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    uploaded(&mut alice, &png(&plain(60, BLUE)));
    until("hers is gone", || (gw.client().get(&paths[0]).status == 404).then_some(()));
    assert_eq!([&paths[1], &paths[2]].map(|path| gw.client().get(path).status), [200; 2]);
}

#[test]
fn without_a_session_nothing_is_taken() {
    let (gw, folder) = gateway();
    let body = form_of(&png(&plain(60, RED)));
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let head = head("POST", PATH, &[("Content-Type", &kind)], body.len());
    assert_eq!(gw.client().send(head).send(&body).reply().code(), "token_missing");
    let mut alice = gw.login("oAlice");
    alice.post("/v1/logout", "");
    assert_eq!(send(&mut alice, &body).code(), "token_invalid");
    let get = alice.get(PATH);
    assert_eq!((get.code().as_str(), get.header("allow")), ("method_not_allowed", Some("POST")));
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn where_no_pictures_are_kept_there_is_nothing_to_upload_to() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let reply = upload(&mut alice, &png(&plain(60, RED)));
    assert_eq!((reply.status, reply.code().as_str()), (404, "no_route"));
    // What would be the folder of pictures is any path.
    assert_eq!(gw.login("oAlice").get("/v1/avatars/a.jpg").status, 200);
    assert_eq!(gw.upstream.seen().len(), 1);
}

#[test]
fn who_uploads_too_often_is_told_when_to_come_back() {
    let rate = wxgate::config::sections::Rate { count: 2.try_into().unwrap(), per: std::time::Duration::from_mins(1) };
    let (gw, _folder) = gateway_with(|config| config.limits.profile_per_user = rate);
    let mut alice = gw.login("oAlice");
    for _ in 0..2 {
        assert_eq!(upload(&mut alice, &png(&plain(60, RED))).status, 200);
    }
    let reply = upload(&mut alice, &png(&plain(60, RED)));
    assert_eq!((reply.status, reply.code().as_str(), reply.header("retry-after")), (429, "rate_limited", Some("30")));
    assert_eq!(upload(&mut gw.login("oBob"), &png(&plain(60, RED))).status, 200);
}
