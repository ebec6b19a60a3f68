//! Many apps behind one gateway: secrets that change, times of their own, other platforms, and nothing of one in the other.

mod apart;
mod dialects;
mod douyin;
mod rotation;
mod times;

use serde_json::{Value, json};
use wxgate::simulator::UserData;

use crate::support::{Reply, TestGateway, User};

/// Asks for a login of `openid` to this app with a new code.
fn try_login(gw: &TestGateway, app: &str, openid: &str) -> Reply {
    let code = gw.wechat.make_code(app, openid).unwrap();
    gw.verify(&json!({ "jsCode": code, "appId": app }))
}

/// Status and machine word of an answer.
fn outcome(reply: &Reply) -> (u16, String) {
    let code = if reply.status == 200 { String::new() } else { reply.code() };
    (reply.status, code)
}

/// How often a platform was asked meanwhile.
fn calls(gw: &TestGateway, meanwhile: impl FnOnce()) -> u64 {
    let before = gw.wechat.total_calls();
    meanwhile();
    gw.wechat.total_calls() - before
}

/// What the backend learns of a user: openid, AppID, unionid and where from.
fn known_as(gw: &TestGateway, user: &mut User) -> [Option<String>; 4] {
    assert_eq!(user.get("/orders").status, 200);
    let seen = gw.upstream.last();
    ["x-wx-openid", "x-wx-appid", "x-wx-unionid", "x-wx-source"].map(|name| seen.header(name).map(str::to_owned))
}

fn some(texts: [&str; 4]) -> [Option<String>; 4] {
    texts.map(|text| (!text.is_empty()).then(|| text.to_owned()))
}

fn signed(data: &UserData) -> Value {
    json!({ "rawData": data.raw_data, "signature": data.signature })
}

fn encrypted(data: &UserData) -> Value {
    json!({ "encryptedData": data.encrypted_data, "iv": data.iv })
}
