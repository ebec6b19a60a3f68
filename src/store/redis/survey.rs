//! What can be said of all sessions without going through all of them.

use std::{cmp::Reverse, sync::Arc};

use redis::{FromRedisValue, Value};

use super::{
    cause::Cause,
    keys::Shard,
    node::{Manner, Node},
    records,
    servers::Servers,
};
use crate::{
    model::{Session, Timestamp, TokenDigest},
    store::Error,
};

/// Looks at each master, and keys looked at with each. A server is kept from others for less than a millisecond by one.
const STEPS: usize = 10;
const STEP: usize = 1000;

/// Some keys of one master.
struct Sample {
    sessions: Vec<TokenDigest>,
    /// Keys of every kind.
    keys: usize,
    whole: bool,
}

/// About how many sessions there are: in a large store the keys looked at stand for all of them.
pub(super) async fn count(servers: &Servers) -> Result<u64, Error> {
    let mut sum = 0;
    for node in servers.all_masters().map_err(Cause::into_error)? {
        let sample = sample(servers, &node).await?;
        let mut sessions = sample.sessions.len() as u64;
        if !sample.whole && sample.keys > 0 {
            let all: u64 = read(ask(servers, &node, &redis::cmd("DBSIZE")).await?)?;
            sessions = sessions.saturating_mul(all) / sample.keys as u64;
        }
        sum += sessions;
    }
    Ok(sum)
}

/// The most recently used of those that were looked at.
pub(super) async fn recent(servers: &Servers, limit: usize, now: Timestamp) -> Result<Vec<Arc<Session>>, Error> {
    let mut found = Vec::new();
    for node in servers.all_masters().map_err(Cause::into_error)? {
        // Those of a shard stand together, and are asked for together.
        let sample = sample(servers, &node).await?;
        for some in sample.sessions.chunk_by(|one, next| Shard::of_session(one) == Shard::of_session(next)) {
            let gets: Vec<_> =
                some.iter().map(|digest| redis::cmd("GET").arg(servers.keys.session(digest)).take()).collect();
            let records = servers.call(Shard::of_session(&some[0]), &gets, Manner::Plain).await;
            for (digest, record) in some.iter().zip(records.map_err(Cause::into_error)?) {
                // One that is gone meanwhile, or can't be read, is not worth having at start.
                if let Value::BulkString(record) = record {
                    found.extend(records::decode(digest, &record).filter(|session| session.is_live(now)));
                }
            }
        }
    }
    found.sort_by_key(|session| Reverse((session.last_seen(), session.created_at())));
    found.truncate(limit);
    Ok(found)
}

async fn sample(servers: &Servers, node: &Node) -> Result<Sample, Error> {
    let mut sample = Sample { sessions: Vec::new(), keys: 0, whole: false };
    let mut cursor = 0_u64;
    for _ in 0..STEPS {
        let scan = redis::cmd("SCAN").arg(cursor).arg("COUNT").arg(STEP).take();
        let (next, keys): (u64, Vec<Vec<u8>>) = read(ask(servers, node, &scan).await?)?;
        sample.keys += keys.len();
        sample.sessions.extend(keys.iter().filter_map(|key| servers.keys.digest_in(key)));
        cursor = next;
        if cursor == 0 {
            sample.whole = true;
            break;
        }
    }
    // A server may tell of a key twice.
    sample.sessions.sort_unstable_by_key(|digest| (Shard::of_session(digest).0, *digest.as_bytes()));
    sample.sessions.dedup();
    Ok(sample)
}

async fn ask(servers: &Servers, node: &Node, cmd: &redis::Cmd) -> Result<Value, Error> {
    servers.ask_one(node, cmd.clone()).await.map_err(Cause::into_error)
}

fn read<T: FromRedisValue>(answer: Value) -> Result<T, Error> {
    redis::from_redis_value(answer).map_err(|_| Error::Unreadable("the answer to SCAN"))
}
