//! What everybody sees of a picture, and what nobody can ask for.

use std::fs;

use super::{PATH, files, gateway, upload, uploaded};
use crate::support::{
    messages,
    pictures::{RED, plain, png},
};

#[test]
fn a_picture_is_a_picture_to_every_browser_and_stays_one_for_ever() {
    let (gw, _folder) = gateway();
    let path = uploaded(&mut gw.login("oAlice"), &png(&plain(64, RED)));
    let name = path.strip_prefix("/v1/avatars/").unwrap().strip_suffix(".jpg").unwrap().to_owned();
    assert!(name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{name}");
    let tag = format!("\"{name}\"");
    let same = [
        ("cache-control", "public, max-age=31536000, immutable"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("x-content-type-options", "nosniff"),
        ("etag", &tag),
    ];
    let reply = gw.client().get(&path);
    assert_eq!(reply.header("content-type"), Some("image/jpeg"));
    let length = reply.body.len().to_string();
    let head = gw.client().request("HEAD", &path, &[], "");
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, Some(length.as_str())));
    let known = gw.client().request("GET", &path, &[("If-None-Match", &tag)], "");
    assert_eq!((known.status, known.body.len()), (304, 0));
    let unknown = gw.client().request("GET", &path, &[("If-None-Match", "\"x\"")], "");
    assert_eq!((unknown.status, unknown.body.len()), (200, reply.body.len()));
    for reply in [&reply, &head, &known, &unknown] {
        for (header, value) in same {
            assert_eq!(reply.header(header), Some(value), "{reply:?}");
        }
        assert_eq!(reply.header("set-cookie"), None);
    }
    // Whoever has a token may send it.
    assert_eq!(gw.login("oBob").get(&path).status, 200);
    let reply = gw.client().request("DELETE", &path, &[], "");
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn no_path_of_a_client_leads_to_a_file() {
    let (gw, folder) = gateway();
    let path = uploaded(&mut gw.login("oAlice"), &png(&plain(64, RED)));
    let name = path.strip_prefix("/v1/avatars/").unwrap();
    fs::write(folder.path().join("secret.jpg"), "secret").unwrap();
    let zeros = "0".repeat(64);
    let mut asked = 0;
    for rest in [
        "",
        "secret.jpg",
        &format!("{zeros}.jpg"),
        &name.to_uppercase(),
        &name.replace(".jpg", ""),
        &name.replace(".jpg", ".png"),
        &format!("{name}/"),
        &format!("{name}.jpg"),
        &format!("x/{name}"),
        &format!("{}/{name}", &name[..24]),
        &format!("{name}%00"),
        &name.replacen(|_| true, "%61", 1),
        "..%2fsecret.jpg",
        "%2e%2e/%2e%2e/etc/passwd",
        "....//secret.jpg",
        "C:secret.jpg",
        "*.jpg",
    ] {
        let reply = gw.client().get(&format!("/v1/avatars/{rest}"));
        assert!([400, 404].contains(&reply.status), "{rest}: {reply:?}");
        asked += usize::from(reply.status == 404);
    }
    assert!(asked > 8, "most of them are well-formed");
    let reply = gw.client().get(&format!("/v1/avatars/{zeros}.jpg"));
    gw.says_no(&reply, 404, "no_route", "There is nothing at this path.", &[]);
    assert_eq!(gw.client().get(&path).status, 200);
    assert_eq!(gw.upstream.seen().len(), 0);
}

#[test]
fn nothing_of_a_picture_is_logged_but_that_there_was_one() {
    let messages = messages();
    let (gw, folder) = gateway();
    let mut alice = gw.login("oPictureOnTrial");
    let kept = upload(&mut alice, &png(&plain(64, RED)));
    let file = files(folder.path()).pop().unwrap();
    let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
    let refused = upload(&mut alice, b"<html>picture-on-trial");
    fs::remove_dir_all(folder.path()).unwrap();
    fs::write(folder.path(), "a file in the way").unwrap();
    let away = upload(&mut alice, &png(&plain(65, RED)));
    for (reply, status) in [(&kept, 200), (&refused, 415), (&away, 503)] {
        assert_eq!(reply.status, status, "{reply:?}");
        let line = gw.log.line(reply.header("x-request-id").unwrap());
        assert!(line.contains(r#""endpoint":"avatar""#) && line.contains(PATH), "{line}");
    }
    let all = gw.log.text() + &messages.text();
    let folder = folder.path().to_str().unwrap().to_owned();
    for word in ["on-trial", "oPictureOnTrial", &name, &folder, "tmp_7a"] {
        assert!(!all.contains(word), "{word} in {all}");
    }
}
