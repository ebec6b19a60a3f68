//! What is to be told outlives the process: after a stop, and after a kill.

use std::fs;

use serde_json::{Value, json};
use wxgate::{
    config::sections::{NewestSealKey, Seal, Snapshot},
    model::{SealKey, Secret},
    simulator::{Options, Simulator},
};

use super::{BUSY, SECRET, TAKEN, body, change, is_signed, receiver, telling};
use crate::support::{APP, SECRET as APP_SECRET, TestGateway, binary::Binary};

#[test]
fn a_stop_loses_nothing_and_it_lies_sealed_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wxgate.db");
    let receiver = receiver();
    receiver.answers(BUSY);
    let gateway = || {
        TestGateway::with(|config| {
            let key = SealKey::parse(&Secret::new("5e".repeat(32))).unwrap();
            config.sessions.snapshot = Some(Snapshot { path: path.clone() });
            config.sessions.seal = Some(Seal { key: NewestSealKey::Given(key), old_keys: Vec::new() });
            telling(config, &receiver);
        })
    };
    let gw = gateway();
    let mut alice = gw.login("oAlice");
    change(&mut alice, &json!({ "nickName": "nickname-on-trial" }));
    change(&mut alice, &json!({ "nickName": "the-next" }));
    receiver.wait_for(1);
    gw.stop();
    let bytes = fs::read(&path).unwrap();
    assert!(!bytes.windows(8).any(|some| some == b"nickname" || some == b"the-next"));
    receiver.answers(TAKEN);
    let before = receiver.count();
    let gw = gateway();
    gw.later(std::time::Duration::from_mins(1));
    let told: Vec<_> = receiver.wait_for(before + 2)[before..]
        .iter()
        .map(|seen| body(seen)["data"]["profile"]["nickName"].clone())
        .collect();
    assert_eq!(told, ["nickname-on-trial", "the-next"]);
}

/// The change was answered, and its telling was under way.
#[test]
fn a_process_that_is_killed_before_it_was_heard_tells_it_after_the_next_start() {
    let name = "webhook_killed";
    let data = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).join("data");
    if data.exists() {
        fs::remove_dir_all(&data).unwrap();
    }
    let wechat = Simulator::start(Options::on_free_port().with_app(APP, APP_SECRET)).unwrap();
    let receiver = receiver();
    receiver.does(|_, out| {
        let _ = std::io::Read::read(out, &mut [0; 1]);
        crate::support::upstream::Then::Close
    });
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[apps]]\napp_id = \"{APP}\"\nsecret = \"{APP_SECRET}\"\napi_base = \"{}\"\n\
         [sessions.snapshot]\npath = \"data/wxgate.db\"\n[webhook]\nurl = \"http://{}/\"\nsecret = \"{SECRET}\"\n\
         [[upstreams]]\nname = \"app\"\nservers = [\"http://127.0.0.1:9\"]\n[[routes]]\npath = \"/\"\nupstream = \"app\"\n",
        wechat.api_base(),
        receiver.addr()
    );
    let gateway = Binary::serve(name, &config, &[]);
    let login = json!({ "jsCode": wechat.make_code(APP, "oAlice").unwrap(), "appId": APP }).to_string();
    let token = gateway.client().post("/v1/verify", &login).json()["token"].as_str().unwrap().to_owned();
    let bearer = ("Authorization", &*format!("Bearer {token}"));
    let reply = gateway.client().request("PUT", "/v1/profile", &[bearer], r#"{"nickName":"小明"}"#);
    assert_eq!(reply.status, 200, "{reply:?}");
    let first = receiver.wait_for(1).remove(0);
    drop(gateway);
    receiver.answers(TAKEN);
    let _gateway = Binary::serve(name, &config, &[]);
    let again = receiver.wait_for(2).remove(1);
    assert_eq!(again.header("webhook-id"), first.header("webhook-id"), "a receiver can see that it is the same");
    assert_eq!(again.body, first.body);
    assert!(is_signed(&again, SECRET));
    assert_eq!(body(&again)["data"]["profile"]["nickName"], Value::from("小明"));
}
