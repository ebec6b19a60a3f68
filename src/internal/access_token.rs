//! `GET /internal/v1/access_token?app=…`: an access token of an app, for a backend that calls WeChat by itself. With one who asks for
//! all, nobody ends the token of anybody else.

use std::borrow::Cow;

use bytes::Bytes;
use http::Response;
use serde::Serialize;
use url::form_urlencoded;

use super::{Internal, answer::Refusal, users, watched::About};
use crate::web::own;

const EXPECTED: &str = "Name the app, once: ?app= and its AppID; and at most one serial: &refused= and a number.";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    access_token: &'a str,
    /// In seconds.
    expires_in: u64,
    /// What the token is called where WeChat refuses it: itself it has no place in a query.
    serial: u64,
}

/// What a query says.
#[derive(Default)]
struct Asked<'a> {
    app: Option<Cow<'a, str>>,
    refused: Option<u64>,
}

impl<'a> Asked<'a> {
    fn parse(query: &'a str) -> Option<Self> {
        let mut asked = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let twice = match &*name {
                "app" => asked.app.replace(value).is_some(),
                "refused" => asked.refused.replace(value.parse().ok()?).is_some(),
                _ => false,
            };
            if twice {
                return None;
            }
        }
        Some(asked)
    }
}

pub(super) async fn answer(
    of: &Internal,
    query: &str,
    id: &str,
    about: &mut About<'_>,
) -> Result<Response<Bytes>, Refusal> {
    let Some(Asked { app: Some(app), refused }) = Asked::parse(query) else {
        return Err(Refusal::BadInput(EXPECTED));
    };
    let app = users::app(of, &app)?;
    about.app(&app);
    let lent = of.wechat.access_token(&app, refused).await.map_err(|error| about.blame_wechat(error))?;
    let told = Told { access_token: lent.token.expose(), expires_in: lent.expires_in.as_secs(), serial: lent.serial };
    own::json(&told, id).map_err(|_| Refusal::Internal)
}
