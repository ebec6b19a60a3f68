//! `/v1/phone`: the code of the phone button becomes the caller's phone number. Whose it is follows from the session.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    auth::Access,
    model::{PhoneCode, UserKey},
    web::RequestBody,
};

use super::{Api, Error, input, json};

/// The longest code that is passed on to WeChat. Real ones have 64 bytes.
const MAX_CODE: usize = 512;

const EXPECTED: &str = "The body must be a JSON object with code, a string of 1 to 512 bytes.";

#[derive(Deserialize)]
struct Asked {
    code: Zeroizing<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    phone_number: &'a str,
    pure_phone_number: &'a str,
    country_code: &'a str,
}

pub(super) async fn answer(
    api: &Api,
    request: Request<RequestBody>,
    access: &Access,
) -> Result<Response<Bytes>, Error> {
    let user = &access.session().ok_or(Error::NoSession)?.identity().user;
    // One budget for all that changes a profile.
    api.limits.profiles.enter(user).map_err(|limited| Error::ProfileLimited { retry_after: limited.retry_after })?;
    if request.method() == Method::DELETE {
        forget(api, user).await
    } else {
        tell(api, user, request.into_body()).await
    }
}

async fn tell(api: &Api, user: &UserKey, body: RequestBody) -> Result<Response<Bytes>, Error> {
    let body = input::read(body).await?;
    let asked: Asked = input::decode(&body, EXPECTED)?;
    if asked.code.is_empty() || asked.code.len() > MAX_CODE {
        return Err(Error::BadInput(EXPECTED));
    }
    let place = api.limits.logins.wait().map_err(|limited| Error::PhoneLimited { retry_after: limited.retry_after })?;
    let place = Arc::new(place);
    let code = PhoneCode::new(asked.code.as_str());
    let number =
        api.phones.exchange(user, &code, Arc::clone(&place)).await.map_err(|error| Error::phone(&user.app, error))?;
    json(&Told { phone_number: number.whole(), pure_phone_number: number.pure(), country_code: number.country() })
}

async fn forget(api: &Api, user: &UserKey) -> Result<Response<Bytes>, Error> {
    api.phones.forget(user).await.map_err(|error| Error::phone(&user.app, error))?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
