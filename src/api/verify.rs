//! `POST /v1/verify`: a login code becomes a token.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::Response;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    model::{AppId, LoginCode},
    web::RequestBody,
};

use super::{Api, Error, input, json};

/// The longest code that is passed on to WeChat. Real ones have 32 bytes.
const MAX_CODE: usize = 512;

const EXPECTED: &str = "The body must be a JSON object with jsCode, a string of 1 to 512 bytes, and appId, a string.";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    js_code: Zeroizing<String>,
    app_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    token: &'a str,
    expires_in: u64,
}

pub(super) async fn answer(api: &Api, body: RequestBody, ip: IpAddr) -> Result<Response<Bytes>, Error> {
    let body = input::read(body).await?;
    let asked: Asked = input::decode(&body, EXPECTED)?;
    if asked.js_code.is_empty() || asked.js_code.len() > MAX_CODE {
        return Err(Error::BadInput(EXPECTED));
    }
    let app = app(&api.apps, asked.app_id.as_deref()).ok_or(Error::UnknownApp)?;
    let place = api.limits.logins.enter(ip).map_err(|limited| {
        api.counters.logins_limited.inc();
        Error::Limited { retry_after: limited.retry_after }
    })?;
    // Ours, and that of the exchange, which may go on without us, or be another's that we follow.
    let place = Arc::new(place);
    let code = LoginCode::new(asked.js_code.as_str());
    let issued = api.login.exchange(app, &code, Arc::clone(&place)).await.map_err(|error| Error::login(app, error))?;
    json(&Told { token: issued.token.expose(), expires_in: issued.expires_in.as_secs() })
}

/// The configured app that is meant. Left out, it is the only one there is.
fn app<'a>(apps: &'a [AppId], asked: Option<&str>) -> Option<&'a AppId> {
    match (asked, apps) {
        (None, [only]) => Some(only),
        (None, _) => None,
        (Some(asked), apps) => apps.iter().find(|app| app.as_str() == asked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_may_be_left_out_when_there_is_one() {
        let one = [AppId::parse("wxa").unwrap()];
        let two = [AppId::parse("wxa").unwrap(), AppId::parse("wxb").unwrap()];
        assert_eq!(app(&one, None), Some(&one[0]));
        assert_eq!(app(&two, None), None);
        assert_eq!(app(&two, Some("wxb")), Some(&two[1]));
        assert_eq!(app(&two, Some("WXB")), None);
        assert_eq!(app(&two, Some("")), None);
    }
}
