//! `GET /v1/session`: how the caller's session stands.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::Response;
use serde::Serialize;

use crate::auth::Access;

use super::{Api, Error, json};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    app_id: &'a str,
    expires_in: u64,
    created_at: String,
}

pub(super) fn answer(api: &Api, access: &Access) -> Result<Response<Bytes>, Error> {
    let session = access.session().ok_or(Error::NoSession)?;
    let created = UNIX_EPOCH + Duration::from_millis(session.created_at().as_millis());
    json(&Told {
        app_id: session.identity().user.app.as_str(),
        expires_in: session.expires_in(api.clock.now()).as_secs(),
        created_at: humantime::format_rfc3339_seconds(created).to_string(),
    })
}
