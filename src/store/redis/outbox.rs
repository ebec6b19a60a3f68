//! Notices as Redis keeps them: how they are written, claimed and settled.
//!
//! ```text
//! format 1 | attempts 4 | made 8 | id 16 | sealed
//! ```
//!
//! Numbers are big-endian. `scripts/settle.lua` counts the attempts and reads when one was made.

use std::sync::atomic::Ordering;

use redis::{Cmd, Value};

use super::{
    Cause, RedisStore,
    keys::{Keys, Shard},
    link::chain,
    millis,
    servers::{Each, Servers},
};
use crate::{
    model::{Timestamp, UserKey},
    store::{
        Answer, Claim, Claimed, Fate, Notice, Posting, SealError, Sealer, Waiting, Written, outbox::LONGEST_DELAY,
    },
};

const FORMAT: u8 = 1;
const SEALED_AT: usize = 29;

/// A user of whom something is told, for a script.
pub(super) struct Outgoing(Vec<u8>, u64, [usize; 2], bool);

impl Outgoing {
    /// The notice sealed, or none.
    pub(super) fn seal(sealer: &Sealer, user: &UserKey, posting: Option<&Posting>) -> Result<Self, SealError> {
        let Some(Posting { notice, room, supersedes }) = posting else { return Ok(Self(Vec::new(), 0, [0, 0], false)) };
        let mut record = vec![FORMAT, 0, 0, 0, 0];
        record.extend(notice.made.as_millis().to_be_bytes());
        record.extend(notice.id);
        record.extend(sealer.seal_notice(user, &notice.bytes)?);
        let in_shard = room.in_all.div_ceil(usize::from(Shard::COUNT));
        Ok(Self(record, notice.made.as_millis(), [room.per_user, in_shard], *supersedes))
    }

    /// Adds what the scripts take of it.
    pub(super) fn add_to(self, script: &mut Cmd, user: &UserKey) {
        let Self(record, made, [per_user, in_shard], supersedes) = self;
        script.arg(record).arg(Keys::member(user)).arg(made).arg(per_user).arg(in_shard).arg(u8::from(supersedes));
    }
}

/// What a script says of a change.
pub(super) fn written(answer: &Value) -> Written {
    match answer {
        Value::Int(1) => Written::Yes,
        Value::Int(2) => Written::Crowded,
        _ => Written::No,
    }
}

impl RedisStore {
    /// Asks all shards who is due, and then claims of as many of these as are wanted.
    pub(super) fn claim<'a>(&self, claim: Claim, now: Timestamp, limit: usize) -> Answer<'a, Vec<Claimed>> {
        let (servers, sealer) = (self.servers.clone(), self.sealer.clone());
        self.run(async move {
            let keys = &servers.keys;
            let beyond = (now + LONGEST_DELAY).as_millis();
            let due = |shard| {
                let find = |from: String, to: String| {
                    let mut find = redis::cmd("ZRANGEBYSCORE");
                    find.arg(keys.waiting(shard)).arg(from).arg(to).arg("LIMIT").arg(0).arg(limit);
                    (shard, find)
                };
                [find("-inf".to_owned(), now.as_millis().to_string()), find(format!("({beyond}"), "+inf".to_owned())]
            };
            // Not always from the same one on, or under a full load the last would never have their turn.
            let from = usize::from(claim.by[0] % Shard::COUNT);
            let shards: Vec<_> = Shard::all().cycle().skip(from).take(Shard::COUNT.into()).collect();
            let due = servers.call_each(&shards.iter().copied().flat_map(due).collect::<Vec<_>>()).await;
            let mut left = limit;
            let scripts = shards.iter().zip(due.answers.chunks(2)).filter_map(|(shard, due)| {
                let members = due.iter().flatten().filter_map(Value::as_sequence).map(<[Value]>::len);
                let wanted = members.sum::<usize>().min(left);
                left -= wanted;
                let mut script =
                    servers.scripts.claim.on(&[&keys.waiting(*shard), &keys.ages(*shard), &keys.notices(*shard)]);
                script.arg(now.as_millis()).arg(wanted).arg(&claim.by).arg(millis(claim.lasts));
                script.arg(keys.queues_in(*shard)).arg(keys.claims_in(*shard)).arg(beyond);
                (wanted > 0).then_some((*shard, script))
            });
            let scripts: Vec<_> = scripts.collect();
            let found = servers.call_each(&scripts).await;
            let pairs = found.answers.iter().flatten().filter_map(Value::as_sequence);
            let claimed: Vec<_> =
                pairs.flat_map(|found| found.chunks_exact(2)).filter_map(|pair| one(&sealer, pair)).collect();
            let why = due.why.or(found.why);
            note(&servers, why.as_ref());
            match why {
                // What was claimed is nobody else's for a while, so it is told of.
                Some(why) if claimed.is_empty() => Err(why.into_error()),
                _ => Ok(claimed),
            }
        })
    }

    pub(super) fn settle<'a>(&self, user: &UserKey, by: [u8; 16], fate: Fate, now: Timestamp) -> Answer<'a, bool> {
        let (servers, shard) = (self.servers.clone(), Shard::of_user(user));
        let keys = &servers.keys;
        let names = [keys.waiting(shard), keys.ages(shard), keys.notices(shard), keys.queue(user), keys.claim(user)];
        let mut script = servers.scripts.settle.on(&names.each_ref().map(String::as_str));
        let (is_over, due) = match fate {
            Fate::Over => (1, now),
            Fate::Again(at) => (0, at),
        };
        script.arg(&by).arg(Keys::member(user)).arg(is_over).arg(due.as_millis()).arg(now.as_millis());
        let wait = self.wait();
        self.run(async move { Ok(Self::change(&servers, shard, script, wait).await? == Value::Int(1)) })
    }

    /// Of the shards that answer, if any does.
    pub(super) fn waiting<'a>(&self) -> Answer<'a, Waiting> {
        let servers = self.servers.clone();
        self.run(async move {
            let ask = |shard| {
                let count = redis::cmd("GET").arg(servers.keys.notices(shard)).take();
                let oldest = redis::cmd("ZRANGE").arg(servers.keys.ages(shard)).arg(0).arg(0).arg("WITHSCORES").take();
                [(shard, count), (shard, oldest)]
            };
            let Each { answers, why } = servers.call_each(&Shard::all().flat_map(ask).collect::<Vec<_>>()).await;
            match why {
                Some(why) if answers.iter().all(Option::is_none) => Err(why.into_error()),
                _ => Ok(answers.chunks(2).fold(Waiting::default(), and)),
            }
        })
    }
}

/// With what two answers say of one shard.
fn and(all: Waiting, shard: &[Option<Value>]) -> Waiting {
    let [count, oldest] = shard else { return all };
    let count: Option<i64> = count.clone().and_then(|value| redis::from_redis_value(value).ok()).flatten();
    let oldest: Option<Vec<(Value, f64)>> = oldest.clone().and_then(|value| redis::from_redis_value(value).ok());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was whole milliseconds")]
    let oldest = oldest.unwrap_or_default().first().map(|(_, made)| Timestamp::from_millis(*made as u64));
    let notices = count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
    Waiting { notices: all.notices + notices, oldest: [all.oldest, oldest].into_iter().flatten().min() }
}

/// That some don't answer is worth a line in the log once, and not with every claim.
fn note(servers: &Servers, why: Option<&Cause>) {
    let was_mute = servers.mute.swap(why.is_some(), Ordering::Relaxed);
    match why {
        Some(why) if !was_mute => {
            let why = chain(why);
            tracing::warn!(why, "changes of some users or of all are not told until Redis gives them out again");
        }
        None if was_mute => tracing::info!("Redis gives out the changes of all users again"),
        _ => {}
    }
}

/// One that can't be read is there all the same: whoever has claimed it gives it up, or it would be in the way for ever.
fn one(sealer: &Sealer, pair: &[Value]) -> Option<Claimed> {
    let [Value::BulkString(member), Value::BulkString(record)] = pair else { return None };
    let user = Keys::user_of(member)?;
    let Some((attempts, rests)) = decode(record) else {
        // Of a later version, perhaps. When it was made stands where it always has.
        let made = record.get(5..13).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
        return Some(Claimed { user, notice: None, made: Timestamp::from_millis(made), attempts: 0 });
    };
    let made = rests.made;
    let notice = sealer.open_notice(&user, &rests.bytes).ok().map(|bytes| Notice { bytes, ..rests });
    Some(Claimed { user, notice, made, attempts })
}

/// What a record says in the clear, with the notice as it was sealed.
fn decode(record: &[u8]) -> Option<(u32, Notice)> {
    let (head, sealed) = record.split_at_checked(SEALED_AT)?;
    let rest = head.strip_prefix(&[FORMAT])?;
    let (attempts, rest) = rest.split_first_chunk()?;
    let (made, rest) = rest.split_first_chunk()?;
    let (id, made) = (rest.try_into().ok()?, Timestamp::from_millis(u64::from_be_bytes(*made)));
    Some((u32::from_be_bytes(*attempts), Notice { id, made, bytes: sealed.to_vec() }))
}
