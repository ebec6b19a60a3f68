//! `POST /v1/logout`: ends this session, or all sessions of its user in its app.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;

use crate::{auth::Access, web::RequestBody};

use super::{Api, Error, input};

const EXPECTED: &str = "The body must be empty or a JSON object; everywhere, if given, must be true or false.";

#[derive(Deserialize, Default)]
struct Asked {
    #[serde(default)]
    everywhere: bool,
}

pub(super) async fn answer(api: &Api, body: RequestBody, access: &Access) -> Result<Response<Bytes>, Error> {
    let session = access.session().ok_or(Error::NoSession)?;
    let body = input::read(body).await?;
    let asked = if body.is_empty() { Asked::default() } else { input::decode(&body, EXPECTED)? };
    if asked.everywhere {
        api.sessions.revoke_user(&session.identity().user).await.map_err(Error::Session)?;
    } else {
        api.sessions.revoke(session).await.map_err(Error::Session)?;
    }
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
