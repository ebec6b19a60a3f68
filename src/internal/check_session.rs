//! `POST /internal/v1/check_session`: whether the key that wxgate has of a user still is WeChat's. A client can ask that of its last
//! login only; the truth is here.

use bytes::Bytes;
use http::Response;
use serde::Serialize;

use super::{Internal, answer::Refusal, decrypt::MAX_BYTES, users::Named};
use crate::web::{RequestBody, json_body, own};

pub(super) const EXPECTED: &str = "The body must be a JSON object with app and openid, or token.";

#[derive(Serialize)]
struct Told {
    valid: bool,
}

pub(super) async fn answer(of: &Internal, body: RequestBody, id: &str) -> Result<Response<Bytes>, Refusal> {
    let body = json_body::read(body, MAX_BYTES).await?;
    let asked: Named = json_body::decode(&body).ok_or(Refusal::BadInput(EXPECTED))?;
    let user = asked.user(of).await?;
    let key = of.sessions.session_key(&user).await?.ok_or(Refusal::NoKey)?;
    let valid = of.wechat.check_session(&user, &key).await?;
    own::json(&Told { valid }, id).map_err(|_| Refusal::Internal)
}
