//! `GET /internal/v1/access_token?app=…`: an access token of an app, for a backend that calls WeChat by itself. With one who asks for
//! all, nobody ends the token of anybody else.

use bytes::Bytes;
use http::Response;
use serde::Serialize;
use url::form_urlencoded;

use super::{Internal, answer::Refusal, users, watched::About};
use crate::web::own;

const EXPECTED: &str = "Name the app, once: ?app= and its AppID.";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    access_token: &'a str,
    /// In seconds.
    expires_in: u64,
}

pub(super) async fn answer(
    of: &Internal,
    query: &str,
    id: &str,
    about: &mut About<'_>,
) -> Result<Response<Bytes>, Refusal> {
    let mut apps = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "app").map(|(_, app)| app);
    let (Some(app), None) = (apps.next(), apps.next()) else { return Err(Refusal::BadInput(EXPECTED)) };
    let app = users::app(of, &app)?;
    about.app(&app);
    let granted = of.wechat.access_token(&app).await.map_err(|error| about.blame_wechat(error))?;
    let told = Told { access_token: granted.token.expose(), expires_in: granted.expires_in.as_secs() };
    own::json(&told, id).map_err(|_| Refusal::Internal)
}
