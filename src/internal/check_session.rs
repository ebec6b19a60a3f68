//! `POST /internal/v1/check_session`: whether the key that wxgate has of a user still is WeChat's. A client can ask that of its last
//! login only; the truth is here.

use bytes::Bytes;
use http::Response;
use serde::Serialize;

use super::{Internal, answer::Refusal, decrypt::MAX_BYTES, users::Named, watched::About};
use crate::{
    model::{SessionKey, UserKey},
    web::{RequestBody, json_body, own},
};

pub(super) const EXPECTED: &str = "The body must be a JSON object with app and openid, or token.";

#[derive(Serialize)]
struct Told {
    valid: bool,
}

pub(super) async fn answer(
    of: &Internal,
    body: RequestBody,
    id: &str,
    about: &mut About<'_>,
) -> Result<Response<Bytes>, Refusal> {
    let body = json_body::read(body, MAX_BYTES).await?;
    let asked: Named = json_body::decode(&body).ok_or(Refusal::BadInput(EXPECTED))?;
    let user = asked.user(of, about).await?;
    let key = key_of(of, &user, about).await?.ok_or(Refusal::NoKey)?;
    let mut valid = of.wechat.check_session(&user, &key).await.map_err(|error| about.blame_wechat(error))?;
    if !valid {
        // A login that came meanwhile has brought another key, and that is the one that was asked about.
        let newest = key_of(of, &user, about).await?.filter(|newest| *newest != key);
        if let Some(newest) = newest {
            valid = of.wechat.check_session(&user, &newest).await.map_err(|error| about.blame_wechat(error))?;
        }
    }
    own::json(&Told { valid }, id).map_err(|_| Refusal::Internal)
}

async fn key_of(of: &Internal, user: &UserKey, about: &mut About<'_>) -> Result<Option<SessionKey>, Refusal> {
    of.sessions.session_key(user).await.map_err(|error| about.blame(error))
}
