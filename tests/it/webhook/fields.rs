//! Phone numbers and pictures are fields like others: they are told when they come, when they go, and from a reload on.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{body, change, receiver, telling};
use crate::{
    avatars::{in_folder, uploaded},
    support::{
        APP, Recorder, TestGateway, User,
        pictures::{BLUE, RED, plain, png},
        until,
    },
};

const NUMBER: &str = "13900112233";

/// A gateway that keeps pictures and, where there is a receiver, tells it.
fn gateway(receiver: Option<&Recorder>) -> (TestGateway, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let gw = TestGateway::with(|config| {
        in_folder(config, folder.path());
        if let Some(receiver) = receiver {
            telling(config, receiver);
        }
    });
    (gw, folder)
}

fn tell_number(gw: &TestGateway, user: &mut User) {
    let code = gw.wechat.make_phone_code(APP, "86", NUMBER).expect("a code");
    let reply = user.post("/v1/phone", &json!({ "code": code }).to_string());
    assert_eq!(reply.status, 200, "{reply:?}");
}

fn picture() -> Vec<u8> {
    png(&plain(8, RED))
}

/// What was told with the notice of this number, counted from 1.
fn data(receiver: &Recorder, notice: usize) -> Value {
    body(&receiver.wait_for(notice)[notice - 1])["data"].clone()
}

#[test]
fn a_phone_number_and_a_picture_are_told_like_any_other_field() {
    let receiver = receiver();
    let (gw, _folder) = gateway(Some(&receiver));
    let mut alice = gw.login("oAlice");
    let phone = json!(["phoneNumber", "purePhoneNumber", "countryCode"]);
    tell_number(&gw, &mut alice);
    let told = data(&receiver, 1);
    assert_eq!((&told["changed"], &told["profile"]["phoneNumber"]), (&phone, &json!(NUMBER)));
    uploaded(&mut alice, &picture());
    let told = data(&receiver, 2);
    assert_eq!(told["changed"], json!(["avatarUrl"]));
    assert_eq!(told["profile"], alice.get("/v1/profile").json());
    assert_eq!(alice.request("DELETE", "/v1/phone", &[], "").status, 204);
    let told = data(&receiver, 3);
    assert_eq!((&told["changed"], &told["profile"]["phoneNumber"]), (&phone, &Value::Null));
}

#[test]
fn a_removal_is_told_and_takes_the_picture_along() {
    let receiver = receiver();
    let (gw, _folder) = gateway(Some(&receiver));
    let mut alice = gw.login("oAlice");
    let path = uploaded(&mut alice, &picture());
    assert_eq!(gw.client().get(&path).status, 200);
    let version = data(&receiver, 1)["profile"]["version"].as_u64().unwrap();
    assert_eq!(alice.request("DELETE", "/v1/profile", &[], "").status, 204);
    assert_eq!(data(&receiver, 2), json!({ "app": APP, "openid": "oAlice", "version": version + 1 }));
    until("the picture to go", || (gw.client().get(&path).status == 404).then_some(()));
}

#[test]
fn a_reload_turns_it_on_for_phone_numbers_and_pictures_too() {
    let receiver = receiver();
    let (mut gw, _folder) = gateway(None);
    let mut alice = gw.login("oAlice");
    // Whoever keeps these has the profiles since the start.
    tell_number(&gw, &mut alice);
    uploaded(&mut alice, &picture());
    gw.reload(|config| {
        telling(config, &receiver);
    });
    assert_eq!(alice.request("DELETE", "/v1/phone", &[], "").status, 204);
    let told = data(&receiver, 1);
    assert_eq!(told["changed"], json!(["phoneNumber", "purePhoneNumber", "countryCode"]));
    tell_number(&gw, &mut alice);
    uploaded(&mut alice, &png(&plain(9, BLUE)));
    assert_eq!(data(&receiver, 3)["changed"], json!(["avatarUrl"]));
    change(&mut alice, &json!({ "nickName": "小明" }));
    assert_eq!(data(&receiver, 4)["changed"], json!(["nickName"]));
}
