//! A user's sessions, to look at and to end.
//!
//! A session is named by an id of its own ([`session_id`]); tokens and digests stay inside. Who ended
//! what is told in the log, with the user's hash: an openid is in the path of these requests, and their path is never logged.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{Method, Response};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::{
    answer::{self, Refusal, json},
    session_id,
};
use crate::{
    model::{AppId, Clock, OpenId, Session, Timestamp, UserKey},
    session::{Error, Sessions},
};

/// So many sessions of one user are shown. Hardly anybody has more, but `per_user` may be unlimited.
const SHOWN: usize = 1000;

pub(super) struct SessionApi {
    sessions: Arc<Sessions>,
    apps: Vec<AppId>,
    clock: Arc<dyn Clock>,
}

/// The sessions of one user.
#[derive(Serialize)]
struct Listed {
    /// The newest first.
    sessions: Vec<Shown>,
    /// All there are, also where that is more than are shown.
    total: usize,
}

/// One session, without anything that opens it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: String,
    created_at: String,
    last_seen_at: String,
    expires_in: u64,
}

#[derive(Serialize)]
struct Ended {
    ended: usize,
}

#[derive(Serialize)]
struct Count {
    sessions: u64,
}

impl SessionApi {
    pub(super) fn new(sessions: Arc<Sessions>, apps: Vec<AppId>, clock: Arc<dyn Clock>) -> Self {
        Self { sessions, apps, clock }
    }

    pub(super) async fn answer(&self, method: &Method, path: &str, id: &str) -> Result<Response<Bytes>, Refusal> {
        // Cut before it is decoded: a slash within an openid comes as %2F.
        let pieces: Vec<&str> = path.split('/').skip(1).collect();
        match pieces.as_slice() {
            ["v1", "sessions", "count"] => {
                answer::only_get(method)?;
                let sessions = self.sessions.count().await.map_err(away)?;
                json(&Count { sessions }, id)
            }
            ["v1", "users", app, openid, "sessions"] => match *method {
                Method::GET | Method::HEAD => json(&self.list(&user_of(app, openid)?).await?, id),
                Method::DELETE => json(&self.end_all(&user_of(app, openid)?, id).await?, id),
                _ => Err(Refusal::Method("GET, HEAD, DELETE")),
            },
            ["v1", "users", app, openid, "sessions", session] => match *method {
                Method::DELETE => json(&self.end_one(&user_of(app, openid)?, session, id).await?, id),
                _ => Err(Refusal::Method("DELETE")),
            },
            _ => Err(Refusal::NotFound),
        }
    }

    /// An app that is no longer configured may have sessions in the store. Where it has none, it is more likely a slip, and
    /// whoever means to log a user out must hear of that.
    fn found_nothing(&self, user: &UserKey) -> Result<(), Refusal> {
        if self.apps.contains(&user.app) { Ok(()) } else { Err(Refusal::UnknownApp) }
    }

    async fn list(&self, user: &UserKey) -> Result<Listed, Refusal> {
        let (mut sessions, now) = (self.of(user).await?, self.clock.now());
        sessions.reverse();
        let shown = sessions.iter().take(SHOWN).map(|session| show(session, now)).collect();
        Ok(Listed { sessions: shown, total: sessions.len() })
    }

    async fn end_one(&self, user: &UserKey, id: &str, request: &str) -> Result<Ended, Refusal> {
        let sessions = self.of(user).await?;
        let session = sessions.iter().find(|session| session_id::of(session.digest()) == id);
        let session = session.ok_or(Refusal::NoSession)?;
        // Somebody else may have ended it since it was found.
        let was_live = self.sessions.revoke_digest(user, session.digest()).await.map_err(away)?;
        if !was_live {
            return Err(Refusal::NoSession);
        }
        self.tell(user, 1, request);
        Ok(Ended { ended: 1 })
    }

    async fn end_all(&self, user: &UserKey, request: &str) -> Result<Ended, Refusal> {
        let ended = self.sessions.revoke_user(user).await.map_err(away)?;
        if ended == 0 {
            self.found_nothing(user)?;
        }
        self.tell(user, ended, request);
        Ok(Ended { ended })
    }

    async fn of(&self, user: &UserKey) -> Result<Vec<Arc<Session>>, Refusal> {
        let sessions = self.sessions.sessions_of(user).await.map_err(away)?;
        if sessions.is_empty() {
            self.found_nothing(user)?;
        }
        Ok(sessions)
    }

    fn tell(&self, user: &UserKey, ended: usize, request: &str) {
        let (app, user) = (user.app.as_str(), self.sessions.tag(user));
        tracing::info!(request, app, %user, ended, "an operator ended sessions of a user");
    }
}

/// The user that a path names. The app need not be configured.
pub(super) fn user_of(app: &str, openid: &str) -> Result<UserKey, Refusal> {
    let app = percent_decode_str(app).decode_utf8().map_err(|_| Refusal::UnknownApp)?;
    let app = AppId::parse(&app).map_err(|_| Refusal::UnknownApp)?;
    let openid = percent_decode_str(openid).decode_utf8().map_err(|_| Refusal::BadOpenId)?;
    Ok(UserKey { app, openid: OpenId::parse(&openid).map_err(|_| Refusal::BadOpenId)? })
}

fn show(session: &Session, now: Timestamp) -> Shown {
    Shown {
        id: session_id::of(session.digest()),
        created_at: moment(session.created_at()),
        last_seen_at: moment(session.last_seen()),
        expires_in: session.expires_in(now).as_secs(),
    }
}

fn moment(at: Timestamp) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(at.as_millis())).to_string()
}

/// An operator is told that there is no answer, never that there are no sessions.
#[expect(clippy::needless_pass_by_value, reason = "it is what an error is mapped by")]
fn away(error: Error) -> Refusal {
    match error {
        Error::StoreUnavailable(_) => Refusal::StoreUnavailable,
        Error::Entropy(_) => Refusal::Internal,
    }
}
