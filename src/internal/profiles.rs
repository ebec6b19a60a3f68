//! `GET /internal/v1/users/{app}/{openid}/profile`: what a user has told. One who has told nothing has a profile of version 0.

use bytes::Bytes;
use http::{HeaderValue, Response, header};

use super::{Internal, answer::Refusal, watched::About};
use crate::{model::UserKey, web::own};

pub(super) async fn answer(
    of: &Internal,
    user: &UserKey,
    id: &str,
    about: &mut About<'_>,
) -> Result<Response<Bytes>, Refusal> {
    about.user(&of.sessions, user);
    let profile = of.profiles.of(user).await.map_err(|error| about.blame(error))?;
    let mut response = own::json(&profile, id).map_err(|_| Refusal::Internal)?;
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", profile.version())) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}
