//! How a user's `session_key` in the file gives way to another. A login brings its own: see [`begin`](Change::begin).

use rusqlite::{OptionalExtension, params};

use super::{changes::Change, rows::millis};
use crate::{
    model::{SessionKey, Timestamp, UserKey},
    store::{Error, Sealer},
};

impl Change<'_> {
    /// Puts `new`, which rests as this, in the place of `old` while one of the user's sessions is live. Whether it is there now.
    /// Seals of one key are never alike, so what is kept is opened here, where nobody can change it meanwhile.
    pub(super) fn replace_session_key(
        &self,
        user: &UserKey,
        old: &SessionKey,
        (new, rests_as): (&SessionKey, &[u8]),
        sealer: &Sealer,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let find = "SELECT users.id, users.session_key FROM users JOIN apps ON apps.id = users.app
                    WHERE apps.app_id = ?1 AND users.openid = ?2
                      AND EXISTS (SELECT 1 FROM sessions WHERE sessions.user = users.id
                                  AND created + (seen + idle) * 1000 > ?3 AND created + lifetime * 1000 > ?3)";
        let params = params![user.app.as_str(), user.openid.as_str(), millis(now)];
        let found = self.prepared(find)?.query_row(params, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((id, kept)): Option<(i64, Vec<u8>)> = found else { return Ok(false) };
        let kept = sealer.open_session_key(user, &kept)?;
        if kept == *old {
            self.run("UPDATE users SET session_key = ?2 WHERE id = ?1", params![id, rests_as])?;
        }
        Ok(kept == *old || kept == *new)
    }
}
