//! How a user's `session_key` in Redis is read, and gives way to another. A login brings its own: `scripts/begin.lua`.
//!
//! A script can't open what is sealed, and two seals of one key are never alike. So what is kept is read and opened here, and the
//! script puts the new one in its place if not a byte of it has changed since.

use redis::Value;

use super::{Cause, Error, RedisStore, keys::Shard, servers::Servers};
use crate::{
    model::{SessionKey, Timestamp, UserKey},
    store::Answer,
};

impl RedisStore {
    pub(super) fn read_session_key<'a>(&self, user: &UserKey, now: Timestamp) -> Answer<'a, Option<SessionKey>> {
        let (servers, sealer, user) = (self.servers.clone(), self.sealer.clone(), user.clone());
        self.run(async move {
            let Some(kept) = sealed(&servers, &user, now).await? else { return Ok(None) };
            Ok(Some(sealer.open_session_key(&user, &kept)?))
        })
    }

    pub(super) fn put_session_key<'a>(
        &self,
        user: &UserKey,
        old: &SessionKey,
        new: &SessionKey,
        now: Timestamp,
    ) -> Answer<'a, bool> {
        let (servers, sealer, user) = (self.servers.clone(), self.sealer.clone(), user.clone());
        let (old, new, wait) = (old.clone(), new.clone(), self.wait());
        self.run(async move {
            let put = sealer.seal_session_key(&user, &new)?;
            // It goes around again only where somebody else has changed it meanwhile.
            loop {
                let Some(held) = sealed(&servers, &user, now).await? else { return Ok(false) };
                let kept = sealer.open_session_key(&user, &held)?;
                // What is there already is written once more: it may be on too few servers yet.
                if kept != old && kept != new {
                    return Ok(false);
                }
                let mut script = servers.scripts.replace_session_key.on(&[&servers.keys.session_key(&user)]);
                script.arg(&held).arg(&put);
                if Self::change(&servers, Shard::of_user(&user), script, wait).await? == Value::Int(1) {
                    return Ok(true);
                }
            }
        })
    }
}

/// The sealed key, while one of the user's sessions is live. Only the master knows.
async fn sealed(servers: &Servers, user: &UserKey, now: Timestamp) -> Result<Option<Vec<u8>>, Error> {
    let (keys, shard) = (&servers.keys, Shard::of_user(user));
    let mut script = servers.scripts.session_key.on(&[&keys.user(user), &keys.session_key(user)]);
    script.arg(now.as_millis()).arg(keys.sessions_in(shard));
    match servers.call_master(shard, script).await.map_err(Cause::into_error)? {
        Value::Nil => Ok(None),
        Value::BulkString(kept) => Ok(Some(kept)),
        _ => Err(Error::Unreadable("a session_key")),
    }
}
