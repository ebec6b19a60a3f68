//! An operator removes what is known of a user.

use serde_json::json;
use wxgate::model::Secret;

use crate::support::{APP, OTHER_APP, Reply, TestGateway, messages};

use super::{get, put};

const BEARER: (&str, &str) = ("Authorization", "Bearer operators-token!");

fn gateway() -> TestGateway {
    TestGateway::with(|config| config.admin.token = Some(Secret::new("operators-token!")))
}

fn remove(gw: &TestGateway, app: &str, openid: &str) -> Reply {
    gw.admin().request("DELETE", &format!("/v1/users/{app}/{openid}/profile"), &[BEARER], "")
}

#[test]
fn an_operator_removes_the_profile_of_one_user_and_the_log_does_not_say_whose() {
    let messages = messages();
    let gw = gateway();
    let (mut alice, mut bob) = (gw.login("oRemoved"), gw.login("oBob"));
    for user in [&mut alice, &mut bob] {
        put(user, &json!({ "nickName": "小明" }));
    }
    assert_eq!(remove(&gw, OTHER_APP, "oRemoved").json(), json!({ "removed": false }));
    let reply = remove(&gw, APP, "oRemoved");
    assert_eq!((reply.status, reply.json()), (200, json!({ "removed": true })));
    let line = messages.line(reply.header("x-request-id").unwrap());
    assert!(line.contains("an operator removed the profile of a user") && !line.contains("oRemoved"), "{line}");
    assert_eq!(get(&mut alice)["version"], 0);
    assert_eq!(get(&mut bob)["nickName"], "小明");
    assert_eq!(remove(&gw, APP, "oRemoved").json(), json!({ "removed": false }));
}

#[test]
fn nobody_else_removes_one_and_nobody_looks_at_one() {
    let gw = gateway();
    let mut alice = gw.login("oAlice");
    put(&mut alice, &json!({ "nickName": "小明" }));
    let path = format!("/v1/users/{APP}/oAlice/profile");
    let token = format!("Bearer {}", alice.token);
    for headers in [&[][..], &[("Authorization", token.as_str())]] {
        assert_eq!(gw.admin().request("DELETE", &path, headers, "").status, 401);
    }
    for method in ["GET", "HEAD", "PUT", "POST"] {
        let reply = gw.admin().request(method, &path, &[BEARER], "");
        assert_eq!((reply.status, reply.header("allow")), (405, Some("DELETE")), "{method}");
    }
    assert_eq!(remove(&gw, "wxNobodys", "oAlice").code(), "unknown_app");
    assert_eq!(remove(&gw, APP, "o%20x").code(), "bad_request");
    assert_eq!(get(&mut alice)["nickName"], "小明");
}
