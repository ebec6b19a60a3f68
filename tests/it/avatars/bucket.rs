//! Pictures in a bucket: what is asked of it is signed as S3 wants it, and what it says no to comes to nothing.

use wxgate::{
    config::sections::{AvatarStorage, Avatars, S3},
    model::Secret,
};

use super::{PUBLIC, look, path_in, upload, uploaded};
use crate::support::{
    TestGateway, messages,
    pictures::{BLUE, RED, plain, png},
    s3_server::{ACCESS_KEY, BUCKET, REGION, S3Server, SECRET_KEY},
    until,
};

fn gateway(server: &S3Server) -> TestGateway {
    with_secret(server, SECRET_KEY)
}

fn with_secret(server: &S3Server, secret: &str) -> TestGateway {
    let section = S3 {
        endpoint: format!("http://{}", server.addr()).parse().unwrap(),
        bucket: BUCKET.to_owned(),
        region: REGION.to_owned(),
        access_key: ACCESS_KEY.to_owned(),
        secret_key: Secret::new(secret),
        prefix: "wxgate/pictures".to_owned(),
        allow_http: true,
        path_style: true,
    };
    let storage = AvatarStorage::S3(Box::new(section));
    TestGateway::with(|config| config.avatars = Some(Avatars { storage, ..Avatars::new(PUBLIC) }))
}

#[test]
fn pictures_come_and_go_in_a_bucket() {
    let server = S3Server::start();
    let gw = gateway(&server);
    let mut alice = gw.login("oAlice");
    let first = uploaded(&mut alice, &png(&plain(32, RED)));
    look(&gw, &first).shows(32, [RED; 4]);
    let name = first.rsplit_once('/').unwrap().1;
    assert_eq!(server.objects(), [format!("wxgate/pictures/{}/{name}", &name[..24])]);
    let second = uploaded(&mut alice, &png(&plain(32, BLUE)));
    until("one object", || (server.objects().len() == 1).then_some(()));
    assert_eq!(gw.client().get(&first).status, 404);
    look(&gw, &second).shows(32, [BLUE; 4]);
    assert_eq!(alice.request("DELETE", "/v1/profile", &[], "").status, 204);
    until("no object", || server.objects().is_empty().then_some(()));
    assert_eq!(server.refused(), 0, "all of it was signed");
}

#[test]
fn a_removal_that_fails_is_tried_again_without_anybody_coming_back() {
    let server = S3Server::start();
    let gw = gateway(&server);
    let mut alice = gw.login("oAlice");
    uploaded(&mut alice, &png(&plain(32, RED)));
    // The three tries that the storage itself takes are all in vain.
    server.fail_next_removals(3);
    let second = uploaded(&mut alice, &png(&plain(32, BLUE)));
    until("the first is gone", || (server.objects().len() == 1).then_some(()));
    look(&gw, &second).shows(32, [BLUE; 4]);
    until("that it is counted, and no failure", || {
        (gw.app().counters().avatar_removals.each() == [("removed", 1), ("failed", 0)]).then_some(())
    });
}

#[test]
fn whoever_is_not_sent_a_picture_has_nothing_of_it_read() {
    let server = S3Server::start();
    let gw = gateway(&server);
    let path = uploaded(&mut gw.login("oAlice"), &png(&plain(32, RED)));
    let tag = format!("\"{}\"", path.rsplit_once('/').unwrap().1.strip_suffix(".jpg").unwrap());
    server.asked();
    let length = gw.client().get(&path).body.len().to_string();
    assert_eq!(server.asked(), ["GET"]);
    let head = gw.client().request("HEAD", &path, &[], "");
    assert_eq!((head.status, head.header("content-length")), (200, Some(length.as_str())));
    assert_eq!(server.asked(), ["HEAD"]);
    for method in ["GET", "HEAD"] {
        let known = gw.client().request(method, &path, &[("If-None-Match", &tag)], "");
        assert_eq!((known.status, known.body.len(), known.header("content-length")), (304, 0, None));
        assert_eq!(server.asked(), ["HEAD"], "{method}");
    }
    // A tag tells nothing of whether the picture is there.
    server.remove_all();
    for (method, tag) in [("HEAD", "\"x\""), ("GET", tag.as_str()), ("HEAD", "*")] {
        assert_eq!(gw.client().request(method, &path, &[("If-None-Match", tag)], "").status, 404);
    }
}

#[test]
fn what_was_left_behind_in_a_bucket_is_found_by_its_owner() {
    let server = S3Server::start();
    let gw = gateway(&server);
    let mut alice = gw.login("oAlice");
    let bobs = uploaded(&mut gw.login("oBob"), &png(&plain(32, RED)));
    let first = uploaded(&mut alice, &png(&plain(32, RED)));
    let object =
        server.objects().into_iter().find(|object| object.ends_with(first.rsplit_once('/').unwrap().1)).unwrap();
    uploaded(&mut alice, &png(&plain(32, BLUE)));
    until("the first is gone", || (!server.objects().contains(&object)).then_some(()));
    server.put(&object, "2020-01-01T00:00:00.000Z");
    assert_eq!(alice.request("DELETE", "/v1/profile", &[], "").status, 204);
    until("only Bob's is left", || {
        let objects = server.objects();
        (objects.len() == 1 && objects[0].ends_with(bobs.rsplit_once('/').unwrap().1)).then_some(())
    });
}

#[test]
fn a_bucket_that_does_not_know_us_takes_nothing_and_the_log_says_so_without_a_secret() {
    let messages = messages();
    let server = S3Server::start();
    let gw = with_secret(&server, "not-the-secret-key");
    let mut alice = gw.login("oAlice");
    let reply = upload(&mut alice, &png(&plain(32, RED)));
    let error = "Pictures can't be read or kept at the moment.";
    let line = gw.says_no(&reply, 503, "store_unavailable", error, &[("retry-after", "1")]);
    assert!(line["cause"].as_str().unwrap().contains("the storage of pictures"), "{line}");
    assert!(server.refused() > 0);
    assert_eq!(alice.get("/v1/profile").json()["version"], 0);
    let all = gw.log.text() + &messages.text();
    for word in ["not-the-secret-key", ACCESS_KEY, BUCKET, "wxgate/pictures"] {
        assert!(!all.contains(word), "{word} in {all}");
    }
}

#[test]
fn a_bucket_that_stumbles_once_is_asked_again_and_one_that_is_away_is_no_empty_one() {
    let server = S3Server::start();
    let gw = gateway(&server);
    let mut alice = gw.login("oAlice");
    server.fail_next(1);
    let path = uploaded(&mut alice, &png(&plain(32, RED)));
    server.fail_next(1);
    look(&gw, &path).shows(32, [RED; 4]);
    server.fail_next(1000);
    let error = "Pictures can't be read or kept at the moment.";
    for reply in [gw.client().get(&path), upload(&mut alice, &png(&plain(32, BLUE)))] {
        gw.says_no(&reply, 503, "store_unavailable", error, &[("retry-after", "1")]);
    }
    server.fail_next(0);
    assert_eq!(path_in(&alice.get("/v1/profile")), path);
    look(&gw, &path).shows(32, [RED; 4]);
}
