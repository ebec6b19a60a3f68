//! A session as the bytes that Redis keeps of it.
//!
//! ```text
//! version 1 | created 8 | seen 4 | idle 4 | lifetime 4 | tag 8 | app | openid | unionid
//! ```
//!
//! Numbers are big-endian: `created` in milliseconds since the epoch, `seen` in seconds after it, the other two in
//! seconds. Each id has its length in one byte before it; a unionid of length 0 is none. The scripts read and write the
//! numbers at these places as well, so `scripts/live.lua` changes with them. What a later version adds gets another
//! version number, and is then unreadable to this one, which is an error and not the end of a session.

use std::{sync::Arc, time::Duration};

use crate::model::{AppId, Identity, OpenId, Session, Terms, Timestamp, TokenDigest, UnionId, UserKey, UserTag};

/// The first byte of what this version writes.
const VERSION: u8 = 1;

/// The record of a session as it stands.
pub(super) fn encode(session: &Session) -> Vec<u8> {
    let Identity { user, unionid } = session.identity();
    let mut record = Vec::with_capacity(96);
    record.push(VERSION);
    record.extend(session.created_at().as_millis().to_be_bytes());
    for duration in [session.last_seen().since(session.created_at()), session.idle(), session.lifetime()] {
        record.extend(u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).to_be_bytes());
    }
    record.extend(session.tag().as_bytes());
    record.extend(owner(user));
    put_id(&mut record, unionid.as_ref().map_or(&[], |id| id.as_bytes()));
    record
}

/// How long a record is kept if its session is not used again: for longer than that lasts, since not every use is written
/// down. `grace` in `scripts/live.lua` is the same.
pub(super) fn kept_for(session: &Session, now: Timestamp) -> Duration {
    let grace = session.idle() / 20 + Duration::from_mins(1);
    let unused = (session.idle() + grace).saturating_sub(now.since(session.last_seen()));
    unused.min(session.lifetime().saturating_sub(now.since(session.created_at())))
}

/// The part of a record that says whose the session is.
pub(super) fn owner(user: &UserKey) -> Vec<u8> {
    let mut part = Vec::with_capacity(64);
    put_id(&mut part, user.app.as_str().as_bytes());
    put_id(&mut part, user.openid.as_bytes());
    part
}

fn put_id(record: &mut Vec<u8>, id: &[u8]) {
    // Ids are at most 128 bytes long; one that was not would be unreadable, and never another id.
    record.push(u8::try_from(id.len()).unwrap_or(u8::MAX));
    record.extend(id);
}

/// The session that [`encode`] made this of. None for anything else.
pub(super) fn decode(digest: &TokenDigest, record: &[u8]) -> Option<Arc<Session>> {
    let mut rest = record.strip_prefix(&[VERSION])?;
    let created_at = Timestamp::from_millis(u64::from_be_bytes(take(&mut rest)?));
    let [seen, idle, lifetime] = [secs(&mut rest)?, secs(&mut rest)?, secs(&mut rest)?];
    let tag = UserTag::new(take(&mut rest)?);
    let [app, openid, unionid] = [id(&mut rest)?, id(&mut rest)?, id(&mut rest)?];
    if !rest.is_empty() {
        return None;
    }
    let user = UserKey { app: AppId::parse(app).ok()?, openid: OpenId::parse(openid).ok()? };
    let unionid = if unionid.is_empty() { None } else { Some(UnionId::parse(unionid).ok()?) };
    let identity = Identity { user, unionid };
    let terms = Terms { idle, lifetime };
    Some(Arc::new(Session::restore(identity, *digest, tag, terms, created_at, created_at + seen)))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

fn secs(rest: &mut &[u8]) -> Option<Duration> {
    Some(Duration::from_secs(u32::from_be_bytes(take(rest)?).into()))
}

fn id<'r>(rest: &mut &'r [u8]) -> Option<&'r str> {
    let [len] = take(rest)?;
    let (id, tail) = rest.split_at_checked(len.into())?;
    *rest = tail;
    std::str::from_utf8(id).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_790_000_000_123);
    const DIGEST: TokenDigest = TokenDigest::new([7; 32]);

    fn session(unionid: Option<&str>) -> Session {
        let user = UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse("oAlice").unwrap() };
        let identity = Identity { user, unionid: unionid.map(|id| UnionId::parse(id).unwrap()) };
        let terms = Terms { idle: Duration::from_hours(24), lifetime: Duration::from_hours(168) };
        Session::begin(identity, DIGEST, UserTag::new(*b"tag-tag!"), terms, START)
    }

    #[test]
    fn a_session_comes_back_as_it_was() {
        for unionid in [None, Some("u1")] {
            let session = session(unionid);
            session.touch(START + Duration::from_secs(90));
            let back = decode(&DIGEST, &encode(&session)).unwrap();
            assert_eq!(back.identity(), session.identity());
            assert_eq!((back.created_at(), back.last_seen()), (START, START + Duration::from_secs(90)));
            assert_eq!((back.idle(), back.lifetime()), (session.idle(), session.lifetime()));
            assert_eq!(back.tag(), session.tag());
            assert!(back.digest() == &DIGEST);
        }
    }

    #[test]
    fn the_record_of_a_session_never_changes() {
        // Another instance, of yesterday's version, reads it.
        let expected = [
            &[1][..],
            &[0, 0, 1, 0xa0, 0xc4, 0x50, 0x6c, 0x7b],
            &[0; 4],
            &[0, 1, 0x51, 0x80],
            &[0, 9, 0x3a, 0x80],
            b"tag-tag!\x03wx1\x06oAlice\x02u1",
        ];
        assert_eq!(encode(&session(Some("u1"))), expected.concat());
    }

    #[test]
    fn what_is_cut_or_longer_or_of_another_version_is_no_session() {
        let record = encode(&session(Some("u1")));
        for len in 0..record.len() {
            assert!(decode(&DIGEST, &record[..len]).is_none(), "{len} bytes of it");
        }
        assert!(decode(&DIGEST, &[&record[..], b"x"].concat()).is_none());
        assert!(decode(&DIGEST, &[&[2], &record[1..]].concat()).is_none());
    }

    #[test]
    fn an_id_that_could_not_have_been_written_is_no_session() {
        let record = encode(&session(None));
        let odd = String::from_utf8_lossy(&record).contains("oAlice");
        assert!(odd, "the openid stands in it as it is");
        let at = record.windows(6).position(|six| six == b"oAlice").unwrap();
        let mut broken = record.clone();
        broken[at] = b'\n';
        assert!(decode(&DIGEST, &broken).is_none());
    }

    proptest! {
        #[test]
        fn garbage_makes_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = decode(&DIGEST, &bytes);
        }
    }
}
