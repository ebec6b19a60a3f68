//! What is asked of the file without changing it, on a connection that can only read.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, params};

use super::rows::{FROM, SESSION, millis, restore, split};
use crate::{
    model::{AppId, Session, Timestamp, TokenDigest, UserKey},
    store::Error,
};

/// A reader's connection, and what it need not ask twice.
pub(super) struct Queries {
    connection: Connection,
    /// Apps by their number. They are never renamed or removed, and all sessions of an app share its name in memory.
    apps: RefCell<HashMap<i64, AppId>>,
    load: String,
    sessions_of: String,
    recent: String,
}

impl Queries {
    pub(super) fn new(connection: Connection) -> Self {
        let find = "head = ?1 AND tail = ?2 AND expires > ?3";
        let of_user = "SELECT users.id FROM users JOIN apps ON apps.id = users.app
                       WHERE apps.app_id = ?1 AND users.openid = ?2";
        Self {
            connection,
            apps: RefCell::default(),
            load: format!("SELECT {SESSION} {FROM} WHERE {find}"),
            sessions_of: format!(
                "SELECT {SESSION} {FROM} WHERE sessions.user = ({of_user}) AND expires > ?3 ORDER BY sessions.id"
            ),
            recent: format!("SELECT {SESSION} {FROM} WHERE expires > ?1 ORDER BY expires DESC LIMIT ?2"),
        }
    }

    /// The live session of this digest.
    pub(super) fn load(&self, digest: &TokenDigest, now: Timestamp) -> Result<Option<Arc<Session>>, Error> {
        let (head, tail) = split(digest);
        let found = self.sessions(&self.load, params![head, tail, millis(now)])?.pop();
        Ok(found.filter(|session| session.is_live(now)))
    }

    /// The sessions of a user that may be live, oldest first.
    pub(super) fn sessions_of(&self, user: &UserKey, now: Timestamp) -> Result<Vec<Arc<Session>>, Error> {
        self.sessions(&self.sessions_of, params![user.app.as_str(), user.openid.as_str(), millis(now)])
    }

    /// The most recently used live sessions: those that run out last. Where sessions of several `idle` times are about,
    /// or `lifetime` is what ends them, that is not quite the same, and good enough for what it is asked for.
    pub(super) fn recent(&self, limit: usize, now: Timestamp) -> Result<Vec<Arc<Session>>, Error> {
        let mut recent = self.sessions(&self.recent, params![millis(now), i64::try_from(limit).unwrap_or(i64::MAX)])?;
        recent.retain(|session| session.is_live(now));
        Ok(recent)
    }

    /// The sealed `session_key` of a user, as long as one of the user's sessions is live.
    pub(super) fn session_key(&self, user: &UserKey, now: Timestamp) -> Result<Option<Vec<u8>>, Error> {
        let find = "SELECT users.session_key FROM users JOIN apps ON apps.id = users.app
                    WHERE apps.app_id = ?1 AND users.openid = ?2
                      AND EXISTS (SELECT 1 FROM sessions WHERE sessions.user = users.id
                                  AND created + (seen + idle) * 1000 > ?3 AND created + lifetime * 1000 > ?3)";
        let params = params![user.app.as_str(), user.openid.as_str(), millis(now)];
        Ok(self.prepared(find)?.query_row(params, |row| row.get(0)).optional()?)
    }

    fn sessions(&self, sql: &str, params: impl Params) -> Result<Vec<Arc<Session>>, Error> {
        let mut statement = self.prepared(sql)?;
        let mut rows = statement.query(params)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(restore(row, |app| self.app(app))?);
        }
        Ok(found)
    }

    fn app(&self, number: i64) -> Result<AppId, Error> {
        if let Some(known) = self.apps.borrow().get(&number) {
            return Ok(known.clone());
        }
        let find = "SELECT app_id FROM apps WHERE id = ?1";
        let name: Option<String> = self.prepared(find)?.query_row([number], |row| row.get(0)).optional()?;
        let app = name.and_then(|name| AppId::parse(&name).ok()).ok_or(Error::Unreadable("a user without an app"))?;
        self.apps.borrow_mut().insert(number, app.clone());
        Ok(app)
    }

    pub(super) fn prepared(&self, sql: &str) -> Result<CachedStatement<'_>, Error> {
        Ok(self.connection.prepare_cached(sql)?)
    }
}
