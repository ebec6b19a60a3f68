//! Notices as Redis keeps them: how they are written, claimed and settled.
//!
//! ```text
//! format 1 | attempts 4 | made 8 | id 16 | sealed
//! ```
//!
//! Numbers are big-endian. `scripts/settle.lua` counts the attempts and reads when one was made.

use redis::{Cmd, Value};

use super::{Cause, Error, Manner, RedisStore, first, keys::Keys, keys::Shard, millis, servers::Servers};
use crate::{
    model::{Timestamp, UserKey},
    store::{Answer, Claim, Claimed, Fate, Notice, Posting, SealError, Sealer, Waiting, Written},
};

const FORMAT: u8 = 1;
const SEALED_AT: usize = 29;

/// A user of whom something is told, for a script.
pub(super) struct Outgoing(Vec<u8>, u64, [usize; 2]);

impl Outgoing {
    /// The notice sealed, or none.
    pub(super) fn seal(sealer: &Sealer, user: &UserKey, posting: Option<&Posting>) -> Result<Self, SealError> {
        let Some(Posting { notice, room, .. }) = posting else { return Ok(Self(Vec::new(), 0, [0, 0])) };
        let mut record = vec![FORMAT, 0, 0, 0, 0];
        record.extend(notice.made.as_millis().to_be_bytes());
        record.extend(notice.id);
        record.extend(sealer.seal_notice(user, &notice.bytes)?);
        let in_shard = room.in_all.div_ceil(usize::from(Shard::COUNT));
        Ok(Self(record, notice.made.as_millis(), [room.per_user, in_shard]))
    }

    /// Adds what the scripts take of it.
    pub(super) fn add_to(self, script: &mut Cmd, user: &UserKey) {
        let Self(record, made, [per_user, in_shard]) = self;
        script.arg(record).arg(Keys::member(user)).arg(made).arg(per_user).arg(in_shard);
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
    pub(super) fn claim<'a>(&self, claim: Claim, now: Timestamp, limit: usize) -> Answer<'a, Vec<Claimed>> {
        let (servers, sealer) = (self.servers.clone(), self.sealer.clone());
        self.run(async move {
            let mut claimed = Vec::new();
            // Not always from the same one on, or under a full load the last would never have their turn.
            let from = usize::from(claim.by[0] % Shard::COUNT);
            for shard in Shard::all().cycle().skip(from).take(Shard::COUNT.into()) {
                let left = limit.saturating_sub(claimed.len());
                if left == 0 {
                    break;
                }
                let keys = &servers.keys;
                let mut script = servers.scripts.claim.on(&[&keys.waiting(shard)]);
                script.arg(now.as_millis()).arg(left).arg(&claim.by).arg(millis(claim.lasts));
                script.arg(keys.queues_in(shard)).arg(keys.claims_in(shard));
                let answers = servers.call(shard, &[script.take()], Manner::Plain).await.map_err(Cause::into_error)?;
                let found = first(answers)?;
                let found = found.as_sequence().ok_or(UNREADABLE)?.chunks_exact(2);
                claimed.extend(found.filter_map(|pair| one(&sealer, pair)));
            }
            Ok(claimed)
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
        script.arg(&by).arg(Keys::member(user)).arg(is_over).arg(due.as_millis());
        let wait = self.wait();
        self.run(async move { Ok(Self::change(&servers, shard, script, wait).await? == Value::Int(1)) })
    }

    pub(super) fn waiting<'a>(&self) -> Answer<'a, Waiting> {
        let servers = self.servers.clone();
        self.run(async move {
            let mut all = Waiting::default();
            for shard in Shard::all() {
                let part = part_of(&servers, shard).await?;
                all.notices += part.notices;
                all.oldest = [all.oldest, part.oldest].into_iter().flatten().min();
            }
            Ok(all)
        })
    }
}

async fn part_of(servers: &Servers, shard: Shard) -> Result<Waiting, Error> {
    let count = redis::cmd("GET").arg(servers.keys.notices(shard)).take();
    let oldest = redis::cmd("ZRANGE").arg(servers.keys.ages(shard)).arg(0).arg(0).arg("WITHSCORES").take();
    let answers = servers.call(shard, &[count, oldest], Manner::Plain).await.map_err(Cause::into_error)?;
    let mut answers = answers.into_iter();
    let notices: Option<u64> = answers.next().and_then(|value| redis::from_redis_value(value).ok()).flatten();
    let oldest: Vec<(Value, f64)> =
        answers.next().and_then(|value| redis::from_redis_value(value).ok()).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was whole milliseconds")]
    let oldest = oldest.first().map(|(_, made)| Timestamp::from_millis(*made as u64));
    Ok(Waiting { notices: notices.unwrap_or_default(), oldest })
}

/// One that can't be read is there all the same: whoever has claimed it gives it up, or it would be in the way for ever.
fn one(sealer: &Sealer, pair: &[Value]) -> Option<Claimed> {
    let [Value::BulkString(member), Value::BulkString(record)] = pair else { return None };
    let user = Keys::user_of(member)?;
    let Some((attempts, sealed)) = decode(record) else {
        return Some(Claimed { user, notice: None, made: Timestamp::from_millis(0), attempts: 0 });
    };
    let made = sealed.made;
    let notice = sealer.open_notice(&user, &sealed.bytes).ok().map(|bytes| Notice { bytes, ..sealed });
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

const UNREADABLE: Error = Error::Unreadable("notices");
