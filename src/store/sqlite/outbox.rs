//! The rows of notices: written with their changes, claimed, and settled. Each happens in the transaction of the writer.

use rusqlite::{OptionalExtension, Row, params};

use super::{changes::Change, queries::Queries, rows::millis};
use crate::{
    model::{AppId, OpenId, Timestamp, UserKey},
    store::{
        Claim, Claimed, Error, Fate, Notice, Posting, Waiting, Written,
        outbox::{Before, LONGEST_DELAY, Place, SUPERSEDED},
    },
};

/// A row of `waiting`, and whose it is; nobody's if that can't be read.
struct Due {
    id: i64,
    user: Option<UserKey>,
}

impl Change<'_> {
    /// Puts a notice, already sealed, behind those of its user.
    pub(super) fn post(&self, user: &UserKey, sealed: &Posting) -> Result<Written, Error> {
        let notice = &sealed.notice;
        let app = self.number_of_app(&user.app)?;
        let made = millis(notice.made);
        let whose = self.waiting(user)?;
        let (own, is_claimed) = match whose {
            // A claim that has run out holds nothing, even if nobody else has come yet.
            Some(id) => self
                .prepared(
                    "SELECT (SELECT count(*) FROM notices WHERE waiting = ?1), claim IS NOT NULL AND due > ?2
                 FROM waiting WHERE id = ?1",
                )?
                .query_row([id, made], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))?,
            None => (0, false),
        };
        let all = self.number("SELECT notices FROM counts", [])?;
        let [own, all] = [own, all].map(|count| usize::try_from(count).unwrap_or_default());
        let place = Place::of(sealed, Before { own, all, is_claimed: is_claimed && own > 0 });
        let Place::Last { gone: (from, to), crowded } = place else { return Ok(Written::Crowded) };
        let id = if let Some(id) = whose {
            id
        } else {
            let new = "INSERT INTO waiting (app, openid, due) VALUES (?1, ?2, ?3)";
            self.prepared(new)?.insert(params![app, user.openid.as_str(), made])?
        };
        let mut more = 1;
        if from < to {
            let [from, count] = [from, to - from].map(column);
            let gone = "DELETE FROM notices WHERE id IN
                        (SELECT id FROM notices WHERE waiting = ?1 ORDER BY id LIMIT ?3 OFFSET ?2)";
            more -= self.run(gone, [id, from, count])?.cast_signed() as i64;
        }
        if from == 0 && to == own {
            // It is the first, and whoever had claimed the one before has nothing to say of it.
            self.run("UPDATE waiting SET claim = NULL, due = ?2 WHERE id = ?1", [id, made])?;
        }
        if sealed.supersedes && from == 1 {
            let first = "UPDATE notices SET attempts = ?2 WHERE id = (SELECT min(id) FROM notices WHERE waiting = ?1)";
            self.run(first, [id, SUPERSEDED.into()])?;
        }
        let add = "INSERT INTO notices (waiting, event, made, attempts, sealed) VALUES (?1, ?2, ?3, 0, ?4)";
        self.run(add, params![id, notice.id, made, notice.bytes])?;
        self.count_notices(more)?;
        Ok(if crowded { Written::Crowded } else { Written::Yes })
    }

    /// The first notices, still sealed, of users who are due, longest due first. They are this claim's for a while.
    ///
    /// One row that can't be read is no reason to tell nobody anything: each is taken for itself, and an error is the answer only
    /// where that is all there is.
    pub(super) fn claim(&self, claim: &Claim, now: Timestamp, limit: usize) -> Result<Vec<Claimed>, Error> {
        let (mut claimed, mut unreadable) = (Vec::new(), None);
        for due in self.due(now, limit)? {
            match self.claim_one(&due, claim, now) {
                Ok(one) => claimed.extend(one),
                Err(error @ Error::Unreadable(_)) => unreadable = Some(error),
                Err(error) => return Err(error),
            }
        }
        match unreadable {
            Some(error) if claimed.is_empty() => Err(error),
            _ => Ok(claimed),
        }
    }

    /// What became of the first notice of a user. False where the claim is over.
    pub(super) fn settle(&self, user: &UserKey, by: [u8; 16], fate: Fate, now: Timestamp) -> Result<bool, Error> {
        let Some(id) = self.waiting(user)? else { return Ok(false) };
        let first = "(SELECT min(id) FROM notices WHERE waiting = ?1)";
        let tried = format!("SELECT ifnull((SELECT CAST(attempts AS INTEGER) FROM notices WHERE id = {first}), 0)");
        let due = match fate {
            Fate::Again(at) if self.number(&tried, [id])? != i64::from(SUPERSEDED) => Some(at),
            _ => None,
        };
        let ours = "UPDATE waiting SET claim = NULL, due = ?3 WHERE id = ?1 AND claim = ?2";
        if self.run(ours, params![id, by, millis(due.unwrap_or(now))])? == 0 {
            return Ok(false);
        }
        if due.is_none() {
            let gone = self.run(&format!("DELETE FROM notices WHERE id = {first}"), [id])?;
            self.count_notices(-(gone.cast_signed() as i64))?;
            self.forget_without_notices(id)?;
        } else {
            let tried = "UPDATE notices SET attempts = max(0, min(attempts + 1, 4294967294)) WHERE id =";
            self.run(&format!("{tried} {first}"), [id])?;
        }
        Ok(true)
    }

    fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Due>, Error> {
        let find = |which| {
            format!(
                "SELECT waiting.id, apps.app_id, waiting.openid FROM waiting LEFT JOIN apps ON apps.id = waiting.app
                 WHERE {which} ORDER BY due LIMIT ?2"
            )
        };
        let read = |row: &Row<'_>| {
            let text = |at| row.get_ref(at).ok()?.as_str().ok().map(str::to_owned);
            let app = text(1).and_then(|app| AppId::parse(&app).ok());
            let openid = text(2).and_then(|openid| OpenId::parse(&openid).ok());
            let user = app.zip(openid).map(|(app, openid)| UserKey { app, openid });
            Ok(Due { id: row.get(0)?, user })
        };
        let mut due = self.all(&find("due <= ?1"), [millis(now), column(limit)], read)?;
        let left = column(limit.saturating_sub(due.len()));
        due.extend(self.all(&find("due > ?1"), [millis(now + LONGEST_DELAY), left], read)?);
        Ok(due)
    }

    /// None where there is nothing that anybody could be told: then nothing is left of it.
    fn claim_one(&self, due: &Due, claim: &Claim, now: Timestamp) -> Result<Option<Claimed>, Error> {
        let Due { id, user } = due;
        let Some(user) = user else {
            let notices = self.run("DELETE FROM notices WHERE waiting = ?1", [id])?;
            self.count_notices(-(notices.cast_signed() as i64))?;
            self.run("DELETE FROM waiting WHERE id = ?1", [id])?;
            tracing::error!(
                notices,
                "changes are told to nobody: the session file does not say any more whose they are"
            );
            return Ok(None);
        };
        let until = millis(now + claim.lasts);
        self.run("UPDATE waiting SET claim = ?2, due = ?3 WHERE id = ?1", params![id, claim.by, until])?;
        let first = self.first(*id, user)?;
        if first.is_none() {
            self.forget_without_notices(*id)?;
        }
        Ok(first)
    }

    /// The first notice of a user. What is no notice is none that can be read; that it is there is told all the same, or it would
    /// be in the way for ever.
    fn first(&self, waiting: i64, user: &UserKey) -> Result<Option<Claimed>, Error> {
        let find = "SELECT event, made, attempts, sealed FROM notices WHERE waiting = ?1 ORDER BY id LIMIT 1";
        let row = self.prepared(find)?.query_row([waiting], |row| {
            let made = row.get::<_, i64>(1).ok().and_then(|made| u64::try_from(made).ok());
            let made = Timestamp::from_millis(made.unwrap_or_default());
            let notice = row.get(0).and_then(|id| Ok(Notice { id, made, bytes: row.get(3)? })).ok();
            let attempts = row.get(2).unwrap_or_default();
            Ok(Claimed { user: user.clone(), notice, made, attempts })
        });
        Ok(row.optional()?)
    }

    fn forget_without_notices(&self, waiting: i64) -> Result<(), Error> {
        let without = "DELETE FROM waiting WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM notices WHERE waiting = ?1)";
        self.run(without, [waiting]).map(drop)
    }

    fn waiting(&self, user: &UserKey) -> Result<Option<i64>, Error> {
        let find = "SELECT id FROM waiting WHERE app = (SELECT id FROM apps WHERE app_id = ?1) AND openid = ?2";
        let names = [user.app.as_str(), user.openid.as_str()];
        Ok(self.prepared(find)?.query_row(names, |row| row.get(0)).optional()?)
    }

    fn number(&self, sql: &str, params: impl rusqlite::Params) -> Result<i64, Error> {
        Ok(self.prepared(sql)?.query_row(params, |row| row.get(0))?)
    }

    fn count_notices(&self, more: i64) -> Result<(), Error> {
        self.run("UPDATE counts SET notices = notices + ?1", [more]).map(drop)
    }
}

impl Queries {
    /// How much waits.
    pub(super) fn waiting(&self) -> Result<Waiting, Error> {
        let notices: i64 = self.prepared("SELECT notices FROM counts")?.query_row([], |row| row.get(0))?;
        let oldest = "SELECT made FROM notices ORDER BY id LIMIT 1";
        let oldest: Option<i64> = self.prepared(oldest)?.query_row([], |row| row.get(0)).optional()?;
        let oldest = oldest.map(|made| Timestamp::from_millis(u64::try_from(made).unwrap_or_default()));
        Ok(Waiting { notices: u64::try_from(notices).unwrap_or_default(), oldest })
    }
}

fn column(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
