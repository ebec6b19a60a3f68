//! Between a row and what it says. Whatever can't be what we wrote is an error, and never "no such row".

use std::{sync::Arc, time::Duration};

use rusqlite::Row;

use crate::{
    model::{AppId, Identity, OpenId, Session, Terms, Timestamp, TokenDigest, UnionId, UserKey, UserTag},
    store::Error,
};

/// The columns that [`restore`] reads, in its order, for a query over `sessions` and the `users` that it joins.
pub(super) const SESSION: &str = "sessions.head, sessions.tail, sessions.tag, sessions.created, sessions.seen, \
     sessions.idle, sessions.lifetime, sessions.unionid, users.app, users.openid";

/// Where [`SESSION`] comes from. A session whose user is missing is damage, so it must not vanish in the join.
pub(super) const FROM: &str = "FROM sessions LEFT JOIN users ON users.id = sessions.user";

/// A digest as the two columns that hold it.
pub(super) fn split(digest: &TokenDigest) -> (i64, &[u8]) {
    let (head, tail) = digest.as_bytes().split_at(8);
    (i64::from_be_bytes(head.first_chunk().copied().unwrap_or_default()), tail)
}

/// The digest that two columns hold.
pub(super) fn digest(head: i64, tail: &[u8]) -> Result<TokenDigest, Error> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&head.to_be_bytes());
    let rest: &[u8; 24] = tail.try_into().map_err(|_| Error::Unreadable("a digest of another length"))?;
    bytes[8..].copy_from_slice(rest);
    Ok(TokenDigest::new(bytes))
}

/// The digest in the columns `head` and `tail` of a row, which are its columns `at` and the next.
pub(super) fn digest_at(row: &Row<'_>, at: usize) -> Result<TokenDigest, Error> {
    let tail = row.get_ref(at + 1)?.as_blob().map_err(|_| Error::Unreadable("a digest of another kind"))?;
    digest(row.get(at)?, tail)
}

/// A moment as a column holds it.
pub(super) fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// How much longer a row stays than its columns call the session live.
///
/// Not every use is written down, so a gateway may rightly hold a session live that looks unused for too long here: by a
/// twentieth of the idle time, and by as long as a use is on its way. While the row is there, the next use finds it, and
/// whoever logs the user out finds it too.
pub(super) fn grace(idle: Duration) -> Duration {
    idle / 20 + Duration::from_mins(1)
}

/// When a session's row may go if it is not used again.
pub(super) fn expires(session: &Session) -> Timestamp {
    let unused = session.last_seen() + session.idle() + grace(session.idle());
    unused.min(session.created_at() + session.lifetime())
}

/// The session of a row with the columns [`SESSION`]; `app` names an app by its number.
pub(super) fn restore(row: &Row<'_>, app: impl FnOnce(i64) -> Result<AppId, Error>) -> Result<Arc<Session>, Error> {
    let text = |at: usize| row.get_ref(at)?.as_str_or_null().map_err(|_| Error::Unreadable("an id that is no text"));
    let openid = text(9)?.and_then(|text| OpenId::parse(text).ok());
    let openid = openid.ok_or(Error::Unreadable("a session without its user"))?;
    let unionid = text(7)?.map(UnionId::parse).transpose().map_err(|_| Error::Unreadable("a unionid that is none"))?;
    let user = UserKey { app: app(row.get(8)?)?, openid };
    let [idle, lifetime, seen] = [row.get(5)?, row.get(6)?, row.get(4)?].map(seconds);
    let created = u64::try_from(row.get::<_, i64>(3)?).map_err(|_| Error::Unreadable("a time before 1970"))?;
    let created = Timestamp::from_millis(created);
    Ok(Arc::new(Session::restore(
        Identity { user, unionid },
        digest_at(row, 0)?,
        UserTag::new(row.get::<_, i64>(2)?.to_be_bytes()),
        Terms { idle: idle?, lifetime: lifetime? },
        created,
        created + seen?,
    )))
}

fn seconds(column: i64) -> Result<Duration, Error> {
    let secs = u32::try_from(column).map_err(|_| Error::Unreadable("a duration that is none"))?;
    Ok(Duration::from_secs(secs.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_comes_back_from_its_two_columns() {
        for fill in [0x00, 0x7f, 0x80, 0xff] {
            let whole = TokenDigest::new([fill; 32]);
            let (head, tail) = split(&whole);
            assert_eq!(digest(head, tail).unwrap(), whole);
        }
        assert!(matches!(digest(1, &[0; 23]), Err(Error::Unreadable(_))));
    }

    #[test]
    fn a_time_beyond_what_a_column_holds_is_for_ever() {
        assert_eq!(millis(Timestamp::from_millis(u64::MAX)), i64::MAX);
    }
}
