//! What a change does to the file, inside the transaction that the writer has open for it.

use std::cell::Cell;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row, params};

use super::rows::{digest_at, expires, millis, split};
use crate::{
    model::{AppId, Session, Timestamp, TokenDigest, UserKey},
    store::{Error, Seen},
};

/// So many expired sessions a sweep removes: about a millisecond of work, so that no login waits long behind it.
pub(super) const SWEEP: usize = 200;

/// The transaction that a group of changes shares.
#[derive(Debug)]
pub(super) struct Change<'c> {
    connection: &'c Connection,
    /// Sessions that it has added, less those that it has removed.
    pub(super) sessions: Cell<i64>,
}

/// Sessions that a change has ended.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// They were live, or have just run out.
    pub(super) named: Vec<TokenDigest>,
    /// Here they were long over. While uses can't be written down, memory may have one of them as live all the same.
    pub(super) long_over: Vec<TokenDigest>,
}

impl Ends {
    /// Both.
    pub(super) fn all(&self) -> Vec<TokenDigest> {
        [&self.named[..], &self.long_over].concat()
    }
}

impl FromIterator<(TokenDigest, bool)> for Ends {
    /// With each whether it may have been live.
    fn from_iter<I: IntoIterator<Item = (TokenDigest, bool)>>(ended: I) -> Self {
        let mut ends = Self::default();
        for (digest, may_be_live) in ended {
            if may_be_live { ends.named.push(digest) } else { ends.long_over.push(digest) }
        }
        ends
    }
}

/// A session that is in the way of something.
struct Found {
    id: i64,
    user: i64,
    live: bool,
}

impl<'c> Change<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection, sessions: Cell::new(0) }
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        self.connection
    }

    /// A new session, its user's newest, with the sealed `session_key` of its login.
    pub(super) fn begin(
        &self,
        session: &Session,
        sealed: &[u8],
        per_user: usize,
        now: Timestamp,
    ) -> Result<Ends, Error> {
        let user = self.user_at_login(&session.identity().user, sealed)?;
        let (head, tail) = split(session.digest());
        // Told twice, since the first answer was lost: it is the same session.
        let told_before = self.run("DELETE FROM sessions WHERE head = ?1 AND tail = ?2", params![head, tail])?;
        let seen = session.last_seen().since(session.created_at()).as_secs().cast_signed();
        self.run(
            "INSERT INTO sessions (head, tail, user, tag, created, seen, idle, lifetime, expires, unionid)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                head,
                tail,
                user,
                i64::from_be_bytes(*session.tag().as_bytes()),
                millis(session.created_at()),
                seen,
                session.idle().as_secs().cast_signed(),
                session.lifetime().as_secs().cast_signed(),
                millis(expires(session)),
                session.identity().unionid.as_ref().map(crate::model::UnionId::as_str),
            ],
        )?;
        self.counted(1 - told_before.cast_signed() as i64);
        if per_user == 0 { Ok(Ends::default()) } else { self.keep_newest(user, per_user, now) }
    }

    /// Ends one session, if it is this user's. True where it was live.
    pub(super) fn end(&self, user: &UserKey, digest: &TokenDigest, now: Timestamp) -> Result<bool, Error> {
        let Some(found) = self.find(user, digest, now)? else { return Ok(false) };
        self.remove(&found)?;
        self.forget_without_sessions(found.user)?;
        Ok(found.live)
    }

    /// Ends all sessions of a user.
    pub(super) fn end_user(&self, user: &UserKey, now: Timestamp) -> Result<Ends, Error> {
        let Some(user) = self.number_of(user)? else { return Ok(Ends::default()) };
        let ended = self.all(
            "SELECT head, tail, expires > ?2 FROM sessions WHERE user = ?1 ORDER BY id",
            params![user, millis(now)],
            |row| Ok((digest_at(row, 0)?, row.get(2)?)),
        )?;
        let removed = self.run("DELETE FROM sessions WHERE user = ?1", [user])?;
        self.counted(-(removed.cast_signed() as i64));
        self.run("DELETE FROM users WHERE id = ?1", [user])?;
        Ok(ended.into_iter().collect())
    }

    /// Notes uses, with the end that [`expires`] gives them. What is gone stays gone. That a use came in time is for whoever let it pass to know.
    pub(super) fn touch(&self, seen: &[Seen]) -> Result<(), Error> {
        for Seen { user, digest, at } in seen {
            let (head, tail) = split(digest);
            self.run(
                "UPDATE sessions
                 SET seen = (?3 - created) / 1000,
                     expires = min(created + ((?3 - created) / 1000 + idle) * 1000 + idle * 50 + 60000,
                                   created + lifetime * 1000)
                 WHERE head = ?1 AND tail = ?2 AND (?3 - created) / 1000 > seen
                   AND user = (SELECT users.id FROM users JOIN apps ON apps.id = users.app
                               WHERE apps.app_id = ?4 AND users.openid = ?5)",
                params![head, tail, millis(*at), user.app.as_str(), user.openid.as_str()],
            )?;
        }
        Ok(())
    }

    /// Removes what ran out, the longest ago first. True where there may be more.
    pub(super) fn sweep(&self, now: Timestamp) -> Result<bool, Error> {
        let over = self.all(
            "SELECT id, user FROM sessions WHERE expires <= ?1 ORDER BY expires LIMIT ?2",
            params![millis(now), SWEEP.cast_signed() as i64],
            |row| Ok(Found { id: row.get(0)?, user: row.get(1)?, live: false }),
        )?;
        for found in &over {
            self.remove(found)?;
        }
        for found in &over {
            self.forget_without_sessions(found.user)?;
        }
        Ok(over.len() == SWEEP)
    }

    /// A change that means nothing, but goes to the disk like any other. SQLite writes nothing where nothing changes.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.run("UPDATE counts SET checks = checks + 1", [])?;
        Ok(())
    }

    /// Writes down by how much the number of sessions has changed.
    pub(super) fn count(&self) -> Result<i64, Error> {
        if self.sessions.get() != 0 {
            self.run("UPDATE counts SET sessions = sessions + ?1", [self.sessions.get()])?;
        }
        Ok(self.prepared("SELECT sessions FROM counts")?.query_row([], |row| row.get(0))?)
    }

    /// The number of the user who has just logged in, with the key of that login.
    fn user_at_login(&self, user: &UserKey, sealed: &[u8]) -> Result<i64, Error> {
        let app = self.number_of_app(&user.app)?;
        let upsert = "INSERT INTO users (app, openid, session_key) VALUES (?1, ?2, ?3)
                      ON CONFLICT (app, openid) DO UPDATE SET session_key = excluded.session_key RETURNING id";
        let number = self.prepared(upsert)?.query_row(params![app, user.openid.as_str(), sealed], |row| row.get(0))?;
        Ok(number)
    }

    /// The number of an app, which it has from now on where it had none.
    pub(super) fn number_of_app(&self, app: &AppId) -> Result<i64, Error> {
        let find = "SELECT id FROM apps WHERE app_id = ?1";
        match self.prepared(find)?.query_row([app.as_str()], |row| row.get(0)).optional()? {
            Some(number) => Ok(number),
            None => Ok(self.prepared("INSERT INTO apps (app_id) VALUES (?1)")?.insert([app.as_str()])?),
        }
    }

    fn number_of(&self, user: &UserKey) -> Result<Option<i64>, Error> {
        let find = "SELECT users.id FROM users JOIN apps ON apps.id = users.app
                    WHERE apps.app_id = ?1 AND users.openid = ?2";
        let names = [user.app.as_str(), user.openid.as_str()];
        Ok(self.prepared(find)?.query_row(names, |row| row.get(0)).optional()?)
    }

    fn find(&self, user: &UserKey, digest: &TokenDigest, now: Timestamp) -> Result<Option<Found>, Error> {
        let Some(user) = self.number_of(user)? else { return Ok(None) };
        let (head, tail) = split(digest);
        let find = "SELECT id, created + (seen + idle) * 1000 > ?4 AND created + lifetime * 1000 > ?4
                    FROM sessions WHERE head = ?1 AND tail = ?2 AND user = ?3";
        let found = self.prepared(find)?.query_row(params![head, tail, user, millis(now)], |row| {
            Ok(Found { id: row.get(0)?, user, live: row.get(1)? })
        });
        Ok(found.optional()?)
    }

    /// Ends the user's oldest live sessions beyond `limit`, and those that look as if they had run out. Says which.
    fn keep_newest(&self, user: i64, limit: usize, now: Timestamp) -> Result<Ends, Error> {
        let live = "created + (seen + idle) * 1000 > ?2 AND created + lifetime * 1000 > ?2";
        let over = self.all(
            &format!(
                "SELECT id, head, tail, expires > ?2 FROM sessions WHERE user = ?1 AND id NOT IN
                 (SELECT id FROM sessions WHERE user = ?1 AND {live} ORDER BY id DESC LIMIT ?3) ORDER BY id"
            ),
            params![user, millis(now), i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| Ok((Found { id: row.get(0)?, user, live: row.get(3)? }, digest_at(row, 1)?)),
        )?;
        for (found, _) in &over {
            self.remove(found)?;
        }
        Ok(over.into_iter().map(|(found, digest)| (digest, found.live)).collect())
    }

    fn remove(&self, found: &Found) -> Result<(), Error> {
        let removed = self.run("DELETE FROM sessions WHERE id = ?1", [found.id])?;
        self.counted(-(removed.cast_signed() as i64));
        Ok(())
    }

    /// The last session takes its user and the `session_key` along: nobody is left to use it.
    fn forget_without_sessions(&self, user: i64) -> Result<(), Error> {
        let without = "DELETE FROM users WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM sessions WHERE user = ?1)";
        self.run(without, [user])?;
        Ok(())
    }

    fn counted(&self, more: i64) {
        self.sessions.set(self.sessions.get() + more);
    }

    pub(super) fn run(&self, sql: &str, params: impl Params) -> Result<usize, Error> {
        Ok(self.prepared(sql)?.execute(params)?)
    }

    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl Fn(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.prepared(sql)?;
        let mut rows = statement.query(params)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    pub(super) fn prepared(&self, sql: &str) -> Result<CachedStatement<'_>, Error> {
        Ok(self.connection.prepare_cached(sql)?)
    }
}
