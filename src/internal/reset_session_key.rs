//! `POST /internal/v1/reset_session_key`: puts another key in the place of a user's, at WeChat and here, for when the one that was
//! may be known to others. Neither is told to anybody.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde::Serialize;

use super::{Internal, answer::Refusal, check_session::EXPECTED, decrypt::MAX_BYTES, users::Named};
use crate::web::{RequestBody, json_body, own};

#[derive(Serialize)]
struct Told {
    reset: bool,
}

pub(super) async fn answer(of: &Internal, body: RequestBody, id: &str) -> Result<Response<Bytes>, Refusal> {
    let body = json_body::read(body, MAX_BYTES).await?;
    let asked: Named = json_body::decode(&body).ok_or(Refusal::BadInput(EXPECTED))?;
    let user = asked.user(of).await?;
    let key = of.sessions.session_key(&user).await?.ok_or(Refusal::NoKey)?;
    let (wechat, whose, old) = (Arc::clone(&of.wechat), user.clone(), key.clone());
    let renewed = async move { wechat.reset_session_key(&whose, &old).await.map_err(Refusal::from) };
    let reset = of.sessions.renew_session_key(&user, key, renewed).await?;
    own::json(&Told { reset }, id).map_err(|_| Refusal::Internal)
}
