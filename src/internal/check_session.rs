//! `POST /internal/v1/check_session`: whether the key that wxgate has of a user still is WeChat's. A client can ask that of its last
//! login only; the truth is here.

use bytes::Bytes;
use http::Response;
use serde::Serialize;

use super::{Internal, answer::Refusal, users, watched::About};
use crate::web::{RequestBody, own};

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
    let (user, key) = users::with_key(of, body, about).await?;
    let mut valid = of.wechat.check_session(&user, &key).await.map_err(|error| about.blame_wechat(error))?;
    if !valid {
        // A login that came meanwhile has brought another key, and that is the one that was asked about.
        let newest = users::key_of(of, &user, about).await?.filter(|newest| *newest != key);
        if let Some(newest) = newest {
            valid = of.wechat.check_session(&user, &newest).await.map_err(|error| about.blame_wechat(error))?;
        }
    }
    own::json(&Told { valid }, id).map_err(|_| Refusal::Internal)
}
