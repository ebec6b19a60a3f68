//! `GET /internal/v1/users/{app}/{openid}/profile`: what a user has told. One who has told nothing has a profile of version 0.

use bytes::Bytes;
use http::{HeaderValue, Response, header};

use super::{Internal, answer::Refusal};
use crate::{model::UserKey, web::own};

pub(super) async fn answer(of: &Internal, user: &UserKey, id: &str) -> Result<Response<Bytes>, Refusal> {
    let profile = of.profiles.of(user).await?;
    let mut response = own::json(&profile, id).map_err(|_| Refusal::Internal)?;
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", profile.version())) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}
