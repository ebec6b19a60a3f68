//! `POST /internal/v1/reset_session_key`: puts another key in the place of a user's, at WeChat and here, for when the one that was
//! may be known to others. Neither is told to anybody.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde::Serialize;

use super::{Internal, answer::Refusal, users, watched::About};
use crate::{
    platform, session,
    web::{RequestBody, own},
};

#[derive(Serialize)]
struct Told {
    reset: bool,
}

/// Who has not answered.
enum Failed {
    WeChat(platform::Error),
    Store(session::Error),
}

impl From<session::Error> for Failed {
    fn from(error: session::Error) -> Self {
        Self::Store(error)
    }
}

pub(super) async fn answer(
    of: &Internal,
    body: RequestBody,
    id: &str,
    about: &mut About<'_>,
) -> Result<Response<Bytes>, Refusal> {
    let (user, key) = users::with_key(of, body, about).await?;
    let (wechat, whose, old) = (Arc::clone(&of.wechat), user.clone(), key.clone());
    let renewed = async move { wechat.reset_session_key(&whose, &old).await.map_err(Failed::WeChat) };
    let reset = of.sessions.renew_session_key(&user, key, renewed).await.map_err(|failed| match failed {
        Failed::WeChat(error) => about.blame_wechat(error),
        Failed::Store(error) => about.blame(error),
    })?;
    own::json(&Told { reset }, id).map_err(|_| Refusal::Internal)
}
