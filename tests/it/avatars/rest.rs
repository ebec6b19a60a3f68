//! Where pictures rest: over a restart, over a change of the key, and while there is no place for them.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use wxgate::{
    config::sections::{AvatarStorage, NewestSealKey, Seal, Snapshot},
    model::{SealKey, Secret},
};

use super::{files, in_folder, look, path_in, until_only, upload, uploaded};
use crate::support::{
    TestGateway,
    pictures::{BLUE, RED, plain, png},
};

fn on_a_file(folder: &Path, keys: &[&str]) -> TestGateway {
    let mut keys = keys.iter().map(|digits| SealKey::parse(&Secret::new(digits.repeat(32))).unwrap());
    let key = NewestSealKey::Given(keys.next().unwrap());
    TestGateway::with(|config| {
        in_folder(config, &folder.join("avatars"));
        config.sessions.snapshot = Some(Snapshot { path: folder.join("wxgate.db") });
        config.sessions.seal = Some(Seal { key, old_keys: keys.collect() });
    })
}

#[test]
fn a_picture_outlives_the_process_and_a_change_of_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let gw = on_a_file(folder.path(), &["01"]);
    let before = uploaded(&mut gw.login("oAlice"), &png(&plain(32, RED)));
    gw.stop();
    let gw = on_a_file(folder.path(), &["01"]);
    assert_eq!(path_in(&gw.login("oAlice").get("/v1/profile")), before);
    look(&gw, &before).shows(32, [RED; 4]);
    gw.stop();
    let gw = on_a_file(folder.path(), &["02", "01"]);
    look(&gw, &before).shows(32, [RED; 4]);
    let mut alice = gw.login("oAlice");
    assert_eq!(uploaded(&mut alice, &png(&plain(32, RED))), before, "the same picture is still the same");
    let after = uploaded(&mut alice, &png(&plain(32, BLUE)));
    until_only(&folder.path().join("avatars"), &after);
    assert_eq!(gw.client().get(&before).status, 404);
}

#[test]
fn the_folder_is_made_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let gw = on_a_file(folder.path(), &["01"]);
    uploaded(&mut gw.login("oAlice"), &png(&plain(32, RED)));
    let mode = fs::metadata(folder.path().join("avatars")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
}

#[test]
fn a_folder_that_can_not_be_made_is_a_start_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "in the way").unwrap();
    let started = TestGateway::try_in(wxgate::app::World::default(), |config| {
        in_folder(config, &folder.path().join("file/avatars"));
    });
    let error = started.err().expect("it does not start");
    assert_eq!(error.to_string(), "no place for avatars");
}

#[test]
fn while_there_is_no_place_nothing_is_taken_and_nothing_is_said_to_be_gone() {
    let folder = tempfile::tempdir().unwrap();
    let avatars = folder.path().join("avatars");
    let gw = TestGateway::with(|config| in_folder(config, &avatars));
    let mut alice = gw.login("oAlice");
    let path = uploaded(&mut alice, &png(&plain(32, RED)));
    // What was a folder is a file: nobody can say whether there is such a picture.
    fs::rename(&avatars, folder.path().join("elsewhere")).unwrap();
    fs::write(&avatars, "in the way").unwrap();
    let error = "Pictures can't be read or kept at the moment.";
    for reply in [upload(&mut alice, &png(&plain(32, BLUE))), gw.client().get(&path)] {
        gw.says_no(&reply, 503, "store_unavailable", error, &[("retry-after", "1")]);
    }
    fs::remove_file(&avatars).unwrap();
    fs::rename(folder.path().join("elsewhere"), &avatars).unwrap();
    look(&gw, &path).shows(32, [RED; 4]);
    assert_eq!(path_in(&alice.get("/v1/profile")), path);
    assert_eq!(files(&avatars).len(), 1);
}

#[test]
fn another_place_for_pictures_waits_for_a_restart_and_another_prefix_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut gw = TestGateway::with(|config| in_folder(config, folder.path()));
    let change = gw.reload(|config| {
        let avatars = config.avatars.as_mut().unwrap();
        avatars.storage = AvatarStorage::Folder("/nowhere".into());
        config.api.prefix = "/api".to_owned();
    });
    let keys = |list: &[wxgate::config::Difference]| list.iter().map(|one| one.key.clone()).collect::<Vec<_>>();
    assert_eq!(
        (keys(&change.applied), keys(&change.waiting)),
        (vec!["api.prefix".to_owned()], vec!["avatars".to_owned()])
    );
}
