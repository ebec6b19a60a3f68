//! The endpoints under `/_sim/`: make a code, tell of a user, order a fault, block a user, read the counts. The real WeChat has none of these.
//!
//! | endpoint | does |
//! |---|---|
//! | `POST /_sim/codes` `{"appId", "openid", "unionid"?, "code"?}` | what `wx.login` does: 200 `{"code"}` |
//! | `POST /_sim/phone_codes` `{"appId", "purePhoneNumber", "countryCode"?, "code"?}` | what a tap on the phone button does: 200 `{"code"}` |
//! | `DELETE /_sim/tokens` `{"appId"}` | ends the app's access tokens |
//! | `POST /_sim/user_data` `{"appId", "openid", "userInfo"?}` | what `wx.getUserInfo` gives: 200 `{"rawData", "signature", "encryptedData", "iv"}`; 404 before a login |
//! | `POST /_sim/faults` `{"fault", …, "times"?, "burnsCode"?, "on"?}` | spoils the next calls; see [`Fault`](super::Fault) |
//! | `DELETE /_sim/faults` | calls the faults off that are still to come |
//! | `POST /_sim/release` | lets calls go on that hang |
//! | `POST /_sim/users` `{"openid", "blocked"}` | blocks a user or lets them in again |
//! | `GET /_sim/calls` | 200 `{"endpoints": {…}, "codes": {…}, "hanging"}` |
//! | `POST /_sim/reset` | as if just started |
//!
//! Where nothing else is said the answer is 204; what can't be understood is a 400 with `{"error"}`.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    phone_codes::Number,
    reply::Reply,
    scenario::Order,
    stand_in::{StandIn, Tally},
    user_data,
    wechat::User,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewCode {
    app_id: String,
    openid: String,
    unionid: Option<String>,
    code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewPhoneCode {
    app_id: String,
    pure_phone_number: String,
    country_code: Option<String>,
    code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WhoseTokens {
    app_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserState {
    openid: String,
    blocked: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AskedUser {
    app_id: String,
    openid: String,
    user_info: Option<Map<String, Value>>,
}

#[derive(Serialize)]
struct Calls {
    #[serde(flatten)]
    tally: Tally,
    hanging: usize,
}

/// Answers a control request; `what` is its path after `/_sim/`.
pub(super) fn handle(stand_in: &StandIn, what: &str, request: &Request<Bytes>) -> Reply {
    let body = request.body();
    match (request.method(), what) {
        (&Method::POST, "codes") => return make_code(stand_in, body),
        (&Method::POST, "phone_codes") => return make_phone_code(stand_in, body),
        (&Method::DELETE, "tokens") => match serde_json::from_slice::<WhoseTokens>(body) {
            Ok(whose) => stand_in.wechat.replace_tokens(&whose.app_id),
            Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
        },
        (&Method::POST, "user_data") => return tell_of_a_user(stand_in, body),
        (&Method::GET, "calls") => return count_calls(stand_in),
        (&Method::POST, "faults") => match Order::parse(body) {
            Ok(order) => stand_in.script.append(order),
            Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
        },
        (&Method::POST, "users") => match serde_json::from_slice::<UserState>(body) {
            Ok(user) => stand_in.wechat.block(&user.openid, user.blocked),
            Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
        },
        (&Method::DELETE, "faults") => stand_in.script.clear(),
        (&Method::POST, "release") => stand_in.release(),
        (&Method::POST, "reset") => stand_in.reset(),
        _ => {
            return refuse(
                StatusCode::NOT_FOUND,
                &"no such control; there are codes, phone_codes, tokens, user_data, faults, users, release, reset, calls",
            );
        }
    }
    Reply::status(StatusCode::NO_CONTENT)
}

fn make_code(stand_in: &StandIn, body: &[u8]) -> Reply {
    let new: NewCode = match serde_json::from_slice(body) {
        Ok(new) => new,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
    };
    let code = match new.code.map_or_else(|| stand_in.wechat.new_code(), Ok) {
        Ok(code) => code,
        Err(error) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, &error),
    };
    stand_in.wechat.learn(&code, User { app: new.app_id, openid: new.openid, unionid: new.unionid });
    Reply::json(StatusCode::OK, &json!({ "code": code }))
}

fn make_phone_code(stand_in: &StandIn, body: &[u8]) -> Reply {
    let new: NewPhoneCode = match serde_json::from_slice(body) {
        Ok(new) => new,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
    };
    let code = match new.code.map_or_else(|| stand_in.wechat.new_phone_code(), Ok) {
        Ok(code) => code,
        Err(error) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, &error),
    };
    let country = new.country_code.unwrap_or_else(|| "86".to_owned());
    stand_in.wechat.learn_phone(&code, &new.app_id, Number { pure: new.pure_phone_number, country });
    Reply::json(StatusCode::OK, &json!({ "code": code }))
}

fn tell_of_a_user(stand_in: &StandIn, body: &[u8]) -> Reply {
    let asked: AskedUser = match serde_json::from_slice(body) {
        Ok(asked) => asked,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
    };
    let info = asked.user_info.map_or_else(user_data::nobody, Value::Object);
    match stand_in.wechat.user_data(&asked.app_id, &asked.openid, &info) {
        Some(data) => Reply::json(StatusCode::OK, &data),
        None => refuse(StatusCode::NOT_FOUND, &"this user has not logged in to this app"),
    }
}

fn count_calls(stand_in: &StandIn) -> Reply {
    let hanging = *stand_in.hanging().borrow();
    Reply::json(StatusCode::OK, &Calls { tally: stand_in.calls(), hanging })
}

fn refuse(status: StatusCode, why: &dyn std::fmt::Display) -> Reply {
    Reply::json(status, &json!({ "error": why.to_string() }))
}
