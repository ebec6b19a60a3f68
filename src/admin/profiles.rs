//! A user's profile, to be removed: whoever asks to be forgotten need not be able to log in.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response};
use serde::Serialize;

use super::{
    answer::{Refusal, json},
    sessions::user_of,
};
use crate::{
    model::{AppId, UserKey},
    profile::Profiles,
    session::Sessions,
};

pub(super) struct ProfileApi {
    profiles: Arc<Profiles>,
    sessions: Arc<Sessions>,
    apps: Vec<AppId>,
}

#[derive(Serialize)]
struct Removed {
    removed: bool,
}

/// Whose profile is at this path, if one is.
pub(super) fn whose(path: &str) -> Option<Result<UserKey, Refusal>> {
    // Cut before it is decoded: a slash within an openid comes as %2F.
    let pieces: Vec<&str> = path.split('/').skip(1).collect();
    match pieces.as_slice() {
        ["v1", "users", app, openid, "profile"] => Some(user_of(app, openid)),
        _ => None,
    }
}

impl ProfileApi {
    pub(super) fn new(profiles: Arc<Profiles>, sessions: Arc<Sessions>, apps: Vec<AppId>) -> Self {
        Self { profiles, sessions, apps }
    }

    pub(super) async fn answer(&self, method: &Method, user: &UserKey, id: &str) -> Result<Response<Bytes>, Refusal> {
        if *method != Method::DELETE {
            return Err(Refusal::Method("DELETE"));
        }
        let removed = self.profiles.forget(user).await.map_err(|_| Refusal::StoreUnavailable)?;
        // As with sessions: in an app that is not configured, a profile that is not there is more likely a slip.
        if !removed && !self.apps.contains(&user.app) {
            return Err(Refusal::UnknownApp);
        }
        let (app, user) = (user.app.as_str(), self.sessions.tag(user));
        tracing::info!(request = id, app, %user, removed, "an operator removed the profile of a user");
        json(&Removed { removed }, id)
    }
}
