//! `POST /internal/v1/decrypt`: opens what WeChat has encrypted for a user, whatever it is: the group that a page was shared
//! to, steps that were walked, a phone number of the old kind. The key stays here.

use bytes::Bytes;
use http::Response;
use serde::Deserialize;

use super::{
    Internal,
    answer::Refusal,
    users::{self, Named},
    watched::About,
};
use crate::{
    web::{RequestBody, json_body, own},
    wechat::UserData,
};

/// Steps of a month, the longest that is known, have a quarter of that.
pub(super) const MAX_BYTES: u64 = 16 * 1024;

const EXPECTED: &str = "The body must be a JSON object with encryptedData and iv, and app and openid, or token.";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    #[serde(flatten)]
    user: Named,
    encrypted_data: String,
    iv: String,
}

pub(super) async fn answer(
    of: &Internal,
    body: RequestBody,
    id: &str,
    about: &mut About<'_>,
) -> Result<Response<Bytes>, Refusal> {
    let body = json_body::read(body, MAX_BYTES).await?;
    let asked: Asked = json_body::decode(&body).ok_or(Refusal::BadInput(EXPECTED))?;
    let user = asked.user.user(of, about).await?;
    let key = users::key_of(of, &user, about).await?.ok_or(Refusal::NoKey)?;
    let encrypted = (asked.encrypted_data.as_str(), asked.iv.as_str());
    // One answer to whatever is wrong: which step failed would tell a client how to read what is not his.
    let opened = UserData::decrypt(encrypted, &key, &user, of.clock.now(), of.data_max_age);
    let opened = opened.map_err(|_| Refusal::Stale)?;
    Ok(own::json_text(format!("{{\"data\":{}}}", opened.as_json().trim()), id))
}
