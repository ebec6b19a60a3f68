//! The rows of notices: written with their changes, claimed, and settled. Each happens in the transaction of the writer.

use rusqlite::{OptionalExtension, params};

use super::{changes::Change, queries::Queries, rows::millis};
use crate::{
    model::{AppId, OpenId, Timestamp, UserKey},
    store::{Claim, Claimed, Error, Fate, Notice, Posting, Waiting, Written},
};

impl Change<'_> {
    /// Puts a notice, already sealed, behind those of its user.
    pub(super) fn post(&self, user: &UserKey, sealed: &Posting) -> Result<Written, Error> {
        let Posting { notice, room, .. } = sealed;
        let app = self.number_of_app(&user.app)?;
        let [per_user, in_all] = [room.per_user, room.in_all].map(|most| i64::try_from(most).unwrap_or(i64::MAX));
        let whose = self.waiting(user)?;
        let own = match whose {
            Some(id) => self.number("SELECT count(*) FROM notices WHERE waiting = ?1", [id])?,
            None => 0,
        };
        let all = self.number("SELECT notices FROM counts", [])?;
        let is_full = own >= per_user || all >= in_all;
        if all >= in_all && own < 2 {
            return Ok(Written::Crowded);
        }
        let (openid, made) = (user.openid.as_str(), millis(notice.made));
        let id = if let Some(id) = whose {
            id
        } else {
            let new = "INSERT INTO waiting (app, openid, due) VALUES (?1, ?2, ?3)";
            self.prepared(new)?.insert(params![app, openid, made])?
        };
        let gave_way = if is_full {
            let second = "DELETE FROM notices WHERE id =
                          (SELECT id FROM notices WHERE waiting = ?1 ORDER BY id LIMIT 1 OFFSET 1)";
            self.run(second, [id])?
        } else {
            0
        };
        let add = "INSERT INTO notices (waiting, event, made, attempts, sealed) VALUES (?1, ?2, ?3, 0, ?4)";
        self.run(add, params![id, notice.id, made, notice.bytes])?;
        self.count_notices(1 - gave_way.cast_signed() as i64)?;
        Ok(if is_full { Written::Crowded } else { Written::Yes })
    }

    /// The first notices, still sealed, of users who are due, longest due first. They are this claim's for a while.
    pub(super) fn claim(&self, claim: &Claim, now: Timestamp, limit: usize) -> Result<Vec<Claimed>, Error> {
        let due = self.all(
            "SELECT waiting.id, apps.app_id, waiting.openid FROM waiting JOIN apps ON apps.id = waiting.app
             WHERE due <= ?1 ORDER BY due LIMIT ?2",
            params![millis(now), i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)),
        )?;
        let mut claimed = Vec::with_capacity(due.len());
        for (id, app, openid) in due {
            let (Ok(app), Ok(openid)) = (AppId::parse(&app), OpenId::parse(&openid)) else {
                return Err(Error::Unreadable("a user of whom something waits"));
            };
            let until = millis(now + claim.lasts);
            self.run("UPDATE waiting SET claim = ?2, due = ?3 WHERE id = ?1", params![id, claim.by, until])?;
            if let Some((notice, attempts)) = self.first(id)? {
                let made = notice.made;
                claimed.push(Claimed { user: UserKey { app, openid }, notice: Some(notice), made, attempts });
            }
        }
        Ok(claimed)
    }

    /// What became of the first notice of a user. False where the claim is over.
    pub(super) fn settle(&self, user: &UserKey, by: [u8; 16], fate: Fate, now: Timestamp) -> Result<bool, Error> {
        let Some(id) = self.waiting(user)? else { return Ok(false) };
        let first = "(SELECT min(id) FROM notices WHERE waiting = ?1)";
        let due = match fate {
            Fate::Again(at) => at,
            Fate::Over => now,
        };
        let ours = "UPDATE waiting SET claim = NULL, due = ?3 WHERE id = ?1 AND claim = ?2";
        if self.run(ours, params![id, by, millis(due)])? == 0 {
            return Ok(false);
        }
        if fate == Fate::Over {
            let gone = self.run(&format!("DELETE FROM notices WHERE id = {first}"), [id])?;
            self.count_notices(-(gone.cast_signed() as i64))?;
            let without = "DELETE FROM waiting WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM notices WHERE waiting = ?1)";
            self.run(without, [id])?;
        } else {
            self.run(&format!("UPDATE notices SET attempts = attempts + 1 WHERE id = {first}"), [id])?;
        }
        Ok(true)
    }

    fn first(&self, waiting: i64) -> Result<Option<(Notice, u32)>, Error> {
        let find = "SELECT event, made, attempts, sealed FROM notices WHERE waiting = ?1 ORDER BY id LIMIT 1";
        let row = self.prepared(find)?.query_row([waiting], |row| {
            let made = Timestamp::from_millis(u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default());
            Ok((Notice { id: row.get(0)?, made, bytes: row.get(3)? }, row.get(2)?))
        });
        Ok(row.optional()?)
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
