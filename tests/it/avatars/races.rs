//! Several changes of one picture at once, and changes that are cut in the middle: a profile names a picture that is
//! there, and nothing stays that nobody names.

use std::{
    fs,
    path::Path,
    sync::Arc,
    thread::scope,
    time::{Duration, SystemTime},
};

use serde_json::json;
use wxgate::{
    config::{
        Config,
        sections::{NewestSealKey, Redis, Seal, Snapshot},
    },
    model::{SealKey, Secret},
    store::Store,
};

use super::{PUBLIC, files, form_of, gateway, in_folder, path_in, until_only, upload, upload_head, uploaded};
use crate::support::{
    APP, TestGateway, User,
    pictures::{BLUE, GREEN, RED, plain, png},
    redis_server::RedisServer,
    scripted::{Point, Scripted},
    until,
};

fn sealed(config: &mut Config) {
    let key = NewestSealKey::Given(SealKey::parse(&Secret::new("5e".repeat(32))).unwrap());
    config.sessions.seal = Some(Seal { key, old_keys: Vec::new() });
}

/// Users of these gateways upload and remove all at once; in the end what the profile names is there, and nothing else.
fn all_at_once(gateways: &[&TestGateway], folder: &Path) {
    let pictures: Vec<Vec<u8>> = (0..4u8).map(|n| png(&plain(32, [n * 60, 0, 0]))).collect();
    scope(|scope| {
        for (at, picture) in pictures.iter().enumerate() {
            let mut alice = gateways[at % gateways.len()].login("oAlice");
            let other = &pictures[(at + 1) % pictures.len()];
            scope.spawn(move || {
                for n in 0..6 {
                    // What comes back is one that was there a moment ago, and may be on its way out.
                    let picture = if n % 2 == 0 { picture } else { other };
                    // Two of a user's at once is what each gateway takes.
                    let kept = until("a place", || Some(upload(&mut alice, picture)).filter(|kept| kept.status != 429));
                    assert_eq!(kept.status, 200);
                    if n == 3 {
                        assert_eq!(alice.request("DELETE", "/v1/profile", &[], "").status, 204);
                    }
                    alice.put("/v1/profile", &json!({ "city": format!("{at}{n}") }));
                }
            });
        }
    });
    let mut alice = gateways[0].login("oAlice");
    let path = path_in(&alice.get("/v1/profile"));
    until_only(folder, &path);
    for gw in gateways {
        assert_eq!(gw.client().get(&path).status, 200);
    }
}

#[test]
fn of_uploads_at_once_the_winners_picture_stays_and_no_other_in_memory() {
    let (gw, folder) = gateway();
    all_at_once(&[&gw], folder.path());
}

#[test]
fn of_uploads_at_once_the_winners_picture_stays_and_no_other_with_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let gw = TestGateway::with(|config| {
        in_folder(config, &folder.path().join("avatars"));
        config.sessions.snapshot = Some(Snapshot { path: folder.path().join("wxgate.db") });
        sealed(config);
    });
    all_at_once(&[&gw], &folder.path().join("avatars"));
}

#[test]
fn of_uploads_at_once_at_two_gateways_the_winners_picture_stays_and_no_other() {
    let (server, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let start = || {
        TestGateway::with(|config| {
            in_folder(config, folder.path());
            config.sessions.redis = Some(Redis { ..server.section() });
            sealed(config);
        })
    };
    all_at_once(&[&start(), &start()], folder.path());
}

#[test]
fn of_two_that_have_read_the_same_profile_each_removes_what_it_took_the_place_of() {
    let (store, folder) = (Scripted::own(), tempfile::tempdir().unwrap());
    let gw = TestGateway::on(Some(Arc::clone(&store) as Arc<dyn Store>), |config| in_folder(config, folder.path()));
    let mut both = [gw.login("oAlice"), gw.login("oAlice")];
    uploaded(&mut both[0], &png(&plain(32, GREEN)));
    let gate = store.stop_at(Point::ProfileDone);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    scope(|scope| {
        for (user, colour) in both.iter_mut().zip([RED, BLUE]) {
            scope.spawn(move || uploaded(user, &png(&plain(32, colour))));
        }
        runtime.block_on(async { (gate.reached().await, gate.reached().await) });
        gate.open();
    });
    let path = path_in(&both[0].get("/v1/profile"));
    until_only(folder.path(), &path);
}

#[test]
fn a_picture_that_is_named_no_more_is_removed_however_that_came() {
    let (gw, folder) = {
        let folder = tempfile::tempdir().unwrap();
        let gw = TestGateway::with(|config| {
            in_folder(config, folder.path());
            config.admin.token = Some(Secret::new("operators-token!"));
        });
        (gw, folder)
    };
    let mut alice = gw.login("oAlice");
    let bobs = uploaded(&mut gw.login("oBob"), &png(&plain(32, RED)));
    let ends: [fn(&TestGateway, &mut User); 4] = [
        |_, alice| assert_eq!(alice.put("/v1/profile", &json!({ "avatarUrl": null })).status, 200),
        |_, alice| assert_eq!(alice.put("/v1/profile", &json!({ "avatarUrl": "https://a.example/b.png" })).status, 200),
        |_, alice| assert_eq!(alice.request("DELETE", "/v1/profile", &[], "").status, 204),
        |gw, _| {
            let bearer = [("Authorization", "Bearer operators-token!")];
            let path = format!("/v1/users/{APP}/oAlice/profile");
            assert_eq!(gw.admin().request("DELETE", &path, &bearer, "").status, 200);
        },
    ];
    for end in ends {
        let path = uploaded(&mut alice, &png(&plain(32, BLUE)));
        assert_eq!(files(folder.path()).len(), 2);
        end(&gw, &mut alice);
        until_only(folder.path(), &bobs);
        assert_eq!(gw.client().get(&path).status, 404);
    }
}

#[test]
fn who_names_somebody_elses_picture_removes_nothing_of_it() {
    let (gw, folder) = gateway();
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    let hers = uploaded(&mut alice, &png(&plain(32, RED)));
    let reply = bob.put("/v1/profile", &json!({ "avatarUrl": format!("{PUBLIC}{hers}") }));
    assert_eq!(path_in(&reply), hers, "an address like any other");
    let his = uploaded(&mut bob, &png(&plain(32, BLUE)));
    assert_eq!(bob.request("DELETE", "/v1/profile", &[], "").status, 204);
    until_only(folder.path(), &hers);
    assert_eq!(gw.client().get(&his).status, 404);
}

#[test]
fn who_repeats_the_address_of_an_earlier_picture_keeps_the_one_there_is() {
    let (gw, folder) = gateway();
    let mut alice = gw.login("oAlice");
    let first = uploaded(&mut alice, &png(&plain(32, RED)));
    let second = uploaded(&mut alice, &png(&plain(32, BLUE)));
    // As a page does that read the profile a while ago and writes all of it back.
    let reply = alice.put("/v1/profile", &json!({ "nickName": "小明", "avatarUrl": format!("{PUBLIC}{first}") }));
    assert_eq!((reply.status, path_in(&reply)), (200, second.clone()));
    assert_eq!(reply.json()["nickName"], "小明");
    let reply = alice.put("/v1/profile", &json!({ "avatarUrl": format!("{PUBLIC}{second}") }));
    assert_eq!(path_in(&reply), second);
    until_only(folder.path(), &second);
}

#[test]
fn the_grey_head_of_wechat_takes_nobodys_picture() {
    let (gw, folder) = gateway();
    let mut alice = gw.login("oAlice");
    let path = uploaded(&mut alice, &png(&plain(32, RED)));
    let grey = "https://thirdwx.qlogo.cn/mmopen/vi_32/POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4poC6icRiccVGKSyXwibcPq4BWmiaIGuG1icwxaQX6grC9VemZoJ8rg/132";
    let reply = alice.put("/v1/profile", &json!({ "avatarUrl": grey, "nickName": "微信用户" }));
    assert_eq!(path_in(&reply), path);
    until_only(folder.path(), &path);
}

#[test]
fn a_client_that_hangs_up_behind_its_picture_has_it_all_the_same() {
    let (gw, folder) = gateway();
    let mut alice = gw.login("oAlice");
    let body = form_of(&png(&plain(32, RED)));
    alice.client.send(upload_head(&alice.token, body.len())).send(&body);
    // The picture is being kept when its sender goes.
    until("a picture", || (!files(folder.path()).is_empty()).then_some(()));
    drop(alice);
    let mut alice = gw.login("oAlice");
    let path = until("a profile", || {
        let profile = alice.get("/v1/profile");
        profile.json()["avatarUrl"].is_string().then(|| path_in(&profile))
    });
    until_only(folder.path(), &path);
}

#[test]
fn while_the_store_of_profiles_is_away_a_picture_is_not_lost_and_not_taken() {
    let (store, folder) = (Scripted::own(), tempfile::tempdir().unwrap());
    let gw = TestGateway::on(Some(Arc::clone(&store) as Arc<dyn Store>), |config| in_folder(config, folder.path()));
    let mut alice = gw.login("oAlice");
    let before = uploaded(&mut alice, &png(&plain(32, RED)));
    store.go_away();
    let reply = upload(&mut alice, &png(&plain(32, BLUE)));
    let error = "Profiles can't be looked up or kept at the moment.";
    gw.says_no(&reply, 503, "store_unavailable", error, &[("retry-after", "1")]);
    assert_eq!(gw.client().get(&before).status, 200, "to look needs no store of profiles");
    store.come_back();
    assert_eq!(path_in(&alice.get("/v1/profile")), before);
}

#[test]
fn what_a_crash_has_left_behind_goes_with_the_next_change_when_it_is_old_enough() {
    let (gw, folder) = gateway();
    let mut alice = gw.login("oAlice");
    let path = uploaded(&mut alice, &png(&plain(32, RED)));
    let file = files(folder.path()).pop().unwrap();
    let mut names = vec![path];
    // As if it had been written, and the process had died before the profile named it.
    for colour in [GREEN, BLUE] {
        let path = uploaded(&mut alice, &png(&plain(32, colour)));
        until_only(folder.path(), &path);
        names.push(path);
    }
    let place = |path: &str| file.with_file_name(path.rsplit_once('/').unwrap().1);
    let left = |path: &str, at: Duration| {
        fs::write(place(path), "left behind").unwrap();
        let file = fs::File::options().write(true).open(place(path)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + at).unwrap();
    };
    // The clock of the harness: half an hour ago, and two hours ago.
    let now = Duration::from_secs(1_790_000_000);
    left(&names[0], now.saturating_sub(Duration::from_mins(30)));
    left(&names[1], now.saturating_sub(Duration::from_hours(2)));
    let last = uploaded(&mut alice, &png(&plain(40, RED)));
    until("the old one goes", || (!place(&names[1]).exists() && !place(&names[2]).exists()).then_some(()));
    assert!(place(&names[0]).exists(), "somebody may be about to name it");
    gw.later(Duration::from_hours(1));
    assert_eq!(alice.request("DELETE", "/v1/profile", &[], "").status, 204);
    until("all are gone", || (!place(&names[0]).exists() && !place(&last).exists()).then_some(()));
}
