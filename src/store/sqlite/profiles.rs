//! The rows of profiles: what a change does to them, and how one is read.

use rusqlite::{OptionalExtension, params};

use super::{changes::Change, queries::Queries};
use crate::{
    model::UserKey,
    store::{Error, Posting, ProfileRecord, Removed, Written},
};

impl Change<'_> {
    /// Puts a profile, already sealed, in the place of the one of version `before`, or where there is none.
    pub(super) fn put_profile(
        &self,
        user: &UserKey,
        before: Option<u64>,
        sealed: &ProfileRecord,
        posting: Option<&Posting>,
    ) -> Result<Written, Error> {
        let app = self.number_of_app(&user.app)?;
        let (openid, version) = (user.openid.as_str(), column(sealed.version));
        let put = match before {
            Some(before) => self.run(
                "UPDATE profiles SET version = ?3, sealed = ?4 WHERE app = ?1 AND openid = ?2 AND version = ?5",
                params![app, openid, version, sealed.bytes, column(before)],
            ),
            None => self.run(
                "INSERT INTO profiles (app, openid, version, sealed) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (app, openid) DO NOTHING",
                params![app, openid, version, sealed.bytes],
            ),
        };
        if put? == 1 { self.with(user, posting) } else { Ok(Written::No) }
    }

    /// Removes a user's profile and says what it was, sealed. One of a version that is none is removed too.
    pub(super) fn forget_profile(&self, user: &UserKey, posting: Option<&Posting>) -> Result<Option<Removed>, Error> {
        let forget = "DELETE FROM profiles WHERE app = (SELECT id FROM apps WHERE app_id = ?1) AND openid = ?2
                      RETURNING version, sealed";
        let row = self.prepared(forget)?.query_row(params![user.app.as_str(), user.openid.as_str()], |row| {
            Ok((row.get::<_, i64>(0).unwrap_or_default(), row.get(1).unwrap_or_default()))
        });
        let Some((version, bytes)) = row.optional()? else { return Ok(None) };
        let profile = ProfileRecord { version: u64::try_from(version).unwrap_or_default(), bytes };
        Ok(Some(Removed { profile, crowded: self.with(user, posting)? == Written::Crowded }))
    }

    fn with(&self, user: &UserKey, posting: Option<&Posting>) -> Result<Written, Error> {
        posting.map_or(Ok(Written::Yes), |posting| self.post(user, posting))
    }
}

impl Queries {
    /// A user's profile, sealed.
    pub(super) fn profile(&self, user: &UserKey) -> Result<Option<ProfileRecord>, Error> {
        let find = "SELECT version, sealed FROM profiles
                    WHERE app = (SELECT id FROM apps WHERE app_id = ?1) AND openid = ?2";
        let row = self.prepared(find)?.query_row(params![user.app.as_str(), user.openid.as_str()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get(1)?))
        });
        let Some((version, bytes)) = row.optional()? else { return Ok(None) };
        let version = u64::try_from(version).map_err(|_| Error::Unreadable("a profile with a version that is none"))?;
        Ok(Some(ProfileRecord { version, bytes }))
    }
}

fn column(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}
