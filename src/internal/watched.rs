//! What operators see of a request of a backend: a line in the access log and a count, of which nothing is a secret, nor of a
//! backend's choice. `docs/LOGGING.md` and `docs/METRICS.md` list them.

use std::{
    cell::RefCell,
    error::Error,
    iter,
    net::IpAddr,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::answer::Refusal;
use crate::{
    model::{AppId, Clock, UserKey, UserTag},
    platform,
    session::Sessions,
    telemetry::{Counters, Json, Line, LineBuffer, Text, key},
};

/// The status that stands for "the backend went away before there was an answer". It is only ever logged.
const GONE: u16 = 499;

/// Where the lines and counts go.
pub struct Watch {
    /// Lines for the access log, where there is one.
    pub lines: Option<RefCell<LineBuffer>>,
    /// Whether they are JSON.
    pub json: bool,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What a request is for, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// In metrics.
    word: &'static str,
    /// In the log: the path without what names a user.
    template: &'static str,
}

const NOWHERE: Place = Place { word: "other", template: "-" };

impl Place {
    /// What is at this path.
    pub(super) fn of(path: &str) -> Self {
        let (word, template) = match path.split('/').collect::<Vec<_>>().as_slice() {
            ["", "internal", "v1", "decrypt"] => ("decrypt", "/internal/v1/decrypt"),
            ["", "internal", "v1", "check_session"] => ("check_session", "/internal/v1/check_session"),
            ["", "internal", "v1", "reset_session_key"] => ("reset_session_key", "/internal/v1/reset_session_key"),
            ["", "internal", "v1", "access_token"] => ("access_token", "/internal/v1/access_token"),
            ["", "internal", "v1", "users", _, _, "profile"] => {
                ("profile", "/internal/v1/users/{app}/{openid}/profile")
            }
            _ => return NOWHERE,
        };
        Self { word, template }
    }
}

/// What is known of a request. The line is written and the request counted when this is dropped, so also where the backend
/// has gone away.
pub(super) struct About<'w> {
    watch: &'w Watch,
    id: &'w str,
    client: IpAddr,
    method: Method,
    place: Place,
    app: Option<AppId>,
    user: Option<UserTag>,
    answer: Option<(StatusCode, Option<&'static str>)>,
    cause: Option<String>,
    started: Instant,
}

impl<'w> About<'w> {
    pub(super) fn new(watch: &'w Watch, id: &'w str, client: IpAddr, method: Method, path: &str) -> Self {
        Self {
            watch,
            id,
            client,
            method,
            place: Place::of(path),
            app: None,
            user: None,
            answer: None,
            cause: None,
            started: Instant::now(),
        }
    }

    /// It is about this app.
    pub(super) fn app(&mut self, app: &AppId) {
        self.app = Some(app.clone());
    }

    /// It is about this user.
    pub(super) fn user(&mut self, sessions: &Sessions, user: &UserKey) {
        self.app(&user.app);
        self.user = Some(sessions.tag(user));
    }

    /// What it was answered with.
    pub(super) fn answered(&mut self, status: StatusCode, code: Option<&'static str>) {
        self.answer = Some((status, code));
    }

    /// Keeps the chain of causes of a failure, none of which holds a secret.
    pub(super) fn blame<E: Error + Into<Refusal>>(&mut self, error: E) -> Refusal {
        let all = iter::successors(Some(&error as &dyn Error), |&error| error.source());
        self.cause = Some(all.map(ToString::to_string).collect::<Vec<_>>().join(": "));
        error.into()
    }

    /// The same of a call of WeChat's, with what is to be mended where nobody else can help.
    pub(super) fn blame_wechat(&mut self, error: platform::Error) -> Refusal {
        if let platform::Error::Misconfigured { mend, .. } = &error {
            let (request, app) = (self.id, self.app.as_ref().map_or("", AppId::as_str));
            tracing::error!(request, app, advice = mend, "a call of the platform failed because of the set-up");
        }
        self.blame(error)
    }

    fn fields<const JSON: bool>(&self, mut line: Line<'_, JSON>) {
        let now = self.watch.clock.now();
        let second = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(now.as_secs())).to_string();
        line.moment(key!("ts"), second.trim_end_matches('Z'), now.as_millis() % 1000);
        line.text(key!("kind"), "internal");
        line.text(key!("id"), self.id);
        line.address(key!("client"), self.client);
        line.text(key!("method"), self.method.as_str());
        line.text(key!("path"), self.place.template);
        if let Some(app) = &self.app {
            line.text(key!("app"), app.as_str());
        }
        if let Some(user) = &self.user {
            line.hex(key!("user"), user.as_bytes());
        }
        line.integer(key!("status"), self.answer.map_or(GONE, |(status, _)| status.as_u16()).into());
        if let Some(code) = self.answer.and_then(|(_, code)| code) {
            line.text(key!("code"), code);
        }
        if let Some(cause) = &self.cause {
            line.text(key!("cause"), cause);
        }
        line.millis(key!("ms"), self.started.elapsed());
        line.end();
    }
}

impl Drop for About<'_> {
    fn drop(&mut self) {
        let code = self.answer.map_or("gone", |(_, code)| code.unwrap_or("ok"));
        self.watch.counters.internal.count(self.place.word, code);
        let Some(lines) = &self.watch.lines else { return };
        lines.borrow_mut().push(|out| {
            if self.watch.json {
                self.fields(Json::begin(out));
            } else {
                self.fields(Text::begin(out));
            }
        });
    }
}

impl Watch {
    /// Counts what never became a request. Nothing is known of it that a line could say.
    pub(super) fn malformed(&self) {
        self.counters.internal.count(NOWHERE.word, "malformed");
    }

    /// Hands over the lines that were written so far.
    pub(super) fn flush(&self) {
        if let Some(lines) = &self.lines {
            lines.borrow_mut().flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_documented_path_has_its_place_and_nothing_else_has() {
        let rows = include_str!("../../docs/INTERNAL.md").lines().filter_map(|row| row.strip_prefix("| `/"));
        let paths: Vec<String> = rows.filter_map(|row| Some(format!("/{}", row.split(['`', '?']).next()?))).collect();
        assert!(paths.len() > 3, "{paths:?}");
        let templates: Vec<&str> = paths.iter().map(|path| Place::of(path).template).collect();
        assert_eq!(templates, paths);
        let counts = Counters::default();
        for path in &paths {
            counts.internal.count(Place::of(path).word, "ok");
        }
        let other = counts.internal.requests().into_iter().find(|(path, ..)| *path == "other");
        assert_eq!(other, Some(("other", "ok", 0)), "each has its own count");
        for path in ["/", "/internal/v1/decrypt/", "/internal/v1/users/a/b/c/profile", "/decrypt"] {
            assert_eq!(Place::of(path), NOWHERE, "{path}");
        }
    }
}
