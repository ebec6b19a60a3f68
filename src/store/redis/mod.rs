//! Sessions and profiles in Redis or Valkey, for several instances at once.
//!
//! ```text
//! RedisStore ─ servers ─ node, one for each master ─ lane, a few connections for calls
//!                 │
//!                 └ watch ─ topology: which servers are the masters, as its guides have it
//!                         └ link: whether changes are heard of, by one ear on each master
//! ```
//!
//! [`keys`] names what is kept, [`records`], [`profiles`] and [`outbox`] are what is in it; each change is one of the [`scripts`]. Everything runs on
//! the runtime that is given, so an answer may be awaited on any thread, and what has begun is finished when the one
//! who waits for it goes away.
//!
//! **What it promises beyond the contract.** Redis answers before its file and its replicas have a change. What it has
//! answered and then loses, by a crash or a fail-over, is lost here too: a login, which is then unknown, and a log-out,
//! whose session then is back. `wait_replicas` narrows that to the loss of so many machines at once.

mod backoff;
mod cause;
mod connect;
mod ear;
mod guides;
mod keys;
mod lane;
mod link;
mod map;
mod node;
mod outbox;
mod profiles;
mod records;
mod scripts;
mod servers;
mod session_keys;
mod survey;
mod task;
mod topology;

use std::{fmt, sync::Arc, time::Duration};

use redis::{Cmd, Value};
use tokio::runtime::Handle;

use self::{
    cause::Cause,
    connect::Connector,
    keys::{Keys, Shard},
    node::{Manner, Materials},
    outbox::Outgoing,
    servers::Servers,
    task::Task,
    topology::Topology,
};
use super::{
    Answer, Claim, Claimed, Error, Fate, Posting, ProfileRecord, Removed, Sealer, Seen, Store, Waiting, Watcher,
    Written,
};
use crate::{
    config::sections,
    model::{Entropy, Session, SessionKey, Timestamp, TokenDigest, UserKey},
};

/// Calls that one connection takes at once; one more is refused. At a tenth of a millisecond each they are answered well
/// within any timeout, and with two connections there is room for as many logins as may wait for WeChat.
const IN_FLIGHT: usize = 512;

/// Uses written down with one question.
const TOUCHES_AT_ONCE: usize = 256;

/// Why a Redis store can't even begin. That no server answers is not among it.
#[derive(Debug, thiserror::Error)]
#[error("[sessions.redis] can't be used")]
pub struct RedisError(#[source] Cause);

/// Sessions in Redis.
pub struct RedisStore {
    servers: Arc<Servers>,
    sealer: Arc<Sealer>,
    runtime: Handle,
    stale_for: Duration,
    wait_replicas: usize,
    timeout: Duration,
    _watch: Task,
}

impl RedisStore {
    /// Begins to connect, on `runtime`.
    pub fn open(
        section: &sections::Redis,
        sealer: Arc<Sealer>,
        entropy: Arc<dyn Entropy>,
        runtime: &Handle,
    ) -> Result<Self, RedisError> {
        let connector = Arc::new(Connector::new(section, IN_FLIGHT));
        connector.check().map_err(RedisError)?;
        let topology = Topology::new(section.servers.clone(), Arc::clone(&connector));
        let waiting = section.wait_replicas > 0;
        let materials =
            Materials { connector, entropy, runtime: runtime.clone(), connections: section.connections, waiting };
        let servers = Arc::new(Servers::new(Keys::new(&section.key_prefix), materials));
        let watch = Task::spawn(runtime, Arc::clone(&servers).watch(topology));
        Ok(Self {
            servers,
            sealer,
            runtime: runtime.clone(),
            stale_for: section.stale_for,
            wait_replicas: section.wait_replicas,
            timeout: section.timeout,
            _watch: watch,
        })
    }

    /// Waits on this thread until every master is listened to, and says whether they are.
    pub fn wait_until_linked(&self, patience: Duration) -> bool {
        self.servers.link.wait_until_up(patience)
    }

    /// Runs a call to its end, whoever still waits for it.
    fn run<'a, T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Answer<'a, T> {
        let runtime = self.runtime.clone();
        Box::pin(async move { runtime.spawn(call).await.unwrap_or_else(|_| Err(Cause::Stopping.into_error())) })
    }

    /// One script that changes something, and then as many replicas as are asked for.
    async fn change(servers: &Servers, shard: Shard, script: Cmd, wait: Option<Wait>) -> Result<Value, Error> {
        let Some(wait) = wait else {
            let answers = servers.call(shard, &[script], Manner::Plain).await.map_err(Cause::into_error)?;
            return first(answers);
        };
        let cmds = [script, redis::cmd("WAIT").arg(wait.replicas).arg(wait.millis).take()];
        let answers = servers.call(shard, &cmds, Manner::Waiting).await.map_err(Cause::into_error)?;
        match answers.get(1) {
            Some(Value::Int(got)) if usize::try_from(*got).is_ok_and(|got| got >= wait.replicas) => first(answers),
            Some(Value::Int(got)) => Err(Cause::Replicas { got: *got, wanted: wait.replicas }.into_error()),
            _ => Err(Cause::Odd("WAIT").into_error()),
        }
    }

    fn wait(&self) -> Option<Wait> {
        // Half the time of a call: the answer that too few have it must still get here.
        let millis = u64::try_from(self.timeout.as_millis() / 2).unwrap_or(u64::MAX).max(1);
        (self.wait_replicas > 0).then_some(Wait { replicas: self.wait_replicas, millis })
    }
}

/// How many replicas to wait for, and how long.
#[derive(Clone, Copy)]
struct Wait {
    replicas: usize,
    millis: u64,
}

impl Store for RedisStore {
    fn begin<'a>(
        &'a self,
        session: &'a Arc<Session>,
        key: &'a SessionKey,
        per_user: usize,
        now: Timestamp,
    ) -> Answer<'a, Vec<TokenDigest>> {
        let user = &session.identity().user;
        let sealed = match self.sealer.seal_session_key(user, key) {
            Ok(sealed) => sealed,
            Err(error) => return Box::pin(async { Err(error.into()) }),
        };
        let (servers, shard) = (Arc::clone(&self.servers), Shard::of_user(user));
        let keys = &servers.keys;
        let names = [&keys.session(session.digest()), &keys.user(user), &keys.session_key(user)];
        let mut script = servers.scripts.begin.on(&names.map(String::as_str));
        script
            .arg(records::encode(session))
            .arg(millis(records::kept_for(session, now)))
            .arg(millis(session.lifetime()));
        script.arg(sealed).arg(session.digest().as_bytes()).arg(per_user).arg(now.as_millis());
        script.arg(keys.sessions_in(shard));
        let wait = self.wait();
        self.run(async move { digests(&Self::change(&servers, shard, script, wait).await?) })
    }

    fn load<'a>(&'a self, digest: &'a TokenDigest, now: Timestamp) -> Answer<'a, Option<Arc<Session>>> {
        let (servers, digest) = (Arc::clone(&self.servers), *digest);
        self.run(async move {
            let shard = Shard::of_session(&digest);
            let get = redis::cmd("GET").arg(servers.keys.session(&digest)).take();
            let answers = servers.call(shard, std::slice::from_ref(&get), Manner::Plain).await;
            let mut record = first(answers.map_err(Cause::into_error)?)?;
            if record == Value::Nil {
                // Whoever says that there is none has to be the one who knows.
                record = servers.call_master(shard, get).await.map_err(Cause::into_error)?;
            }
            match record {
                Value::Nil => Ok(None),
                record => Ok(Some(session(&digest, &record)?).filter(|session| session.is_live(now))),
            }
        })
    }

    fn end<'a>(&'a self, user: &'a UserKey, digest: &'a TokenDigest, now: Timestamp) -> Answer<'a, bool> {
        let (servers, shard) = (Arc::clone(&self.servers), Shard::of_user(user));
        if shard != Shard::of_session(digest) {
            return Box::pin(async { Ok(false) }); // It is somebody else's.
        }
        let keys = &servers.keys;
        let names = [&keys.session(digest), &keys.user(user), &keys.session_key(user)];
        let mut script = servers.scripts.end.on(&names.map(String::as_str));
        script.arg(digest.as_bytes()).arg(now.as_millis()).arg(records::owner(user));
        let wait = self.wait();
        self.run(async move { Ok(Self::change(&servers, shard, script, wait).await? == Value::Int(1)) })
    }

    fn end_user<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Vec<TokenDigest>> {
        let servers = Arc::clone(&self.servers);
        let (keys, shard) = (&servers.keys, Shard::of_user(user));
        let mut script = servers.scripts.end_user.on(&[&keys.user(user), &keys.session_key(user)]);
        script.arg(now.as_millis()).arg(keys.sessions_in(shard));
        let wait = self.wait();
        self.run(async move { digests(&Self::change(&servers, shard, script, wait).await?) })
    }

    fn sessions_of<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Vec<Arc<Session>>> {
        let servers = Arc::clone(&self.servers);
        let (keys, shard) = (&servers.keys, Shard::of_user(user));
        let mut script = servers.scripts.sessions_of.on(&[&keys.user(user)]);
        script.arg(now.as_millis()).arg(keys.sessions_in(shard));
        self.run(async move {
            let found = servers.call_master(shard, script).await.map_err(Cause::into_error)?;
            let pairs = found.as_sequence().ok_or(Error::Unreadable("the sessions of a user"))?.chunks_exact(2);
            pairs.map(|pair| session(&digest(&pair[0])?, &pair[1])).collect()
        })
    }

    fn session_key<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Option<SessionKey>> {
        self.read_session_key(user, now)
    }

    fn replace_session_key<'a>(
        &'a self,
        user: &'a UserKey,
        old: &'a SessionKey,
        new: &'a SessionKey,
        now: Timestamp,
    ) -> Answer<'a, bool> {
        self.put_session_key(user, old, new, now)
    }

    fn profile<'a>(&'a self, user: &'a UserKey) -> Answer<'a, Option<ProfileRecord>> {
        let (servers, sealer, user) = (Arc::clone(&self.servers), Arc::clone(&self.sealer), user.clone());
        self.run(async move {
            let get = redis::cmd("GET").arg(servers.keys.profile(&user)).take();
            let record = servers.call_master(Shard::of_user(&user), get).await.map_err(Cause::into_error)?;
            let Some(kept) = profiles::decode(&record)? else { return Ok(None) };
            Ok(Some(ProfileRecord { bytes: sealer.open_profile(&user, &kept.bytes)?, ..kept }))
        })
    }

    fn put_profile<'a>(
        &'a self,
        user: &'a UserKey,
        before: Option<u64>,
        profile: &'a ProfileRecord,
        posting: Option<&'a Posting>,
    ) -> Answer<'a, Written> {
        let bytes = match self.sealer.seal_profile(user, &profile.bytes) {
            Ok(bytes) => bytes,
            Err(error) => return Box::pin(async { Err(error.into()) }),
        };
        let (servers, shard) = (Arc::clone(&self.servers), Shard::of_user(user));
        let outgoing = match Outgoing::seal(&self.sealer, user, posting) {
            Ok(outgoing) => outgoing,
            Err(error) => return Box::pin(async { Err(error.into()) }),
        };
        let names = names(&servers, user);
        // Only keys that are wanted: in a Cluster one that moves stops whatever names it.
        let wanted = if posting.is_some() { &names[..] } else { &names[..1] };
        let mut script = servers.scripts.put_profile.on(&wanted.iter().map(String::as_str).collect::<Vec<_>>());
        script.arg(profiles::version(before)).arg(profiles::encode(&ProfileRecord { bytes, ..*profile }));
        outgoing.add_to(&mut script, user);
        let wait = self.wait();
        self.run(async move { Ok(outbox::written(&Self::change(&servers, shard, script, wait).await?)) })
    }

    fn forget_profile<'a>(&'a self, user: &'a UserKey, posting: Option<&'a Posting>) -> Answer<'a, Option<Removed>> {
        let (servers, sealer, user) = (Arc::clone(&self.servers), Arc::clone(&self.sealer), user.clone());
        let outgoing = match Outgoing::seal(&self.sealer, &user, posting) {
            Ok(outgoing) => outgoing,
            Err(error) => return Box::pin(async { Err(error.into()) }),
        };
        let mut script = servers.scripts.forget_profile.on(&names(&servers, &user).each_ref().map(String::as_str));
        outgoing.add_to(&mut script, &user);
        let wait = self.wait();
        self.run(async move {
            let answer = Self::change(&servers, Shard::of_user(&user), script, wait).await?;
            let removed = profiles::removed(&answer)?;
            Ok(removed.map(|removed| removed.opened(|sealed| sealer.open_profile(&user, sealed))))
        })
    }

    fn claim_notices(&self, claim: Claim, now: Timestamp, limit: usize) -> Answer<'_, Vec<Claimed>> {
        self.claim(claim, now, limit)
    }

    fn settle_notice<'a>(&'a self, user: &'a UserKey, by: [u8; 16], fate: Fate, now: Timestamp) -> Answer<'a, bool> {
        self.settle(user, by, fate, now)
    }

    fn waiting_notices(&self) -> Answer<'_, Waiting> {
        self.waiting()
    }

    fn touch(&self, seen: Vec<Seen>) -> Answer<'_, ()> {
        let servers = Arc::clone(&self.servers);
        self.run(async move {
            let mut by_shard: Vec<Vec<Cmd>> = vec![Vec::new(); Shard::COUNT.into()];
            for Seen { digest, at, .. } in seen {
                let script = servers.scripts.touch.on(&[&servers.keys.session(&digest)]).arg(at.as_millis()).take();
                by_shard[usize::from(Shard::of_session(&digest).0)].push(script);
            }
            for (shard, scripts) in Shard::all().zip(by_shard) {
                for some in scripts.chunks(TOUCHES_AT_ONCE) {
                    servers.call(shard, some, Manner::Plain).await.map_err(Cause::into_error)?;
                }
            }
            Ok(())
        })
    }

    /// Of ten thousand keys on each master, where there are more: what several instances share is not read through by each
    /// of them that starts.
    fn recent(&self, limit: usize, now: Timestamp) -> Answer<'_, Vec<Arc<Session>>> {
        let servers = Arc::clone(&self.servers);
        self.run(async move { survey::recent(&servers, limit, now).await })
    }

    /// Exact up to ten thousand keys on each master. Beyond, so many are looked at, and the others taken to be like them.
    fn count(&self) -> Answer<'_, u64> {
        let servers = Arc::clone(&self.servers);
        self.run(async move { survey::count(&servers).await })
    }

    /// Nothing: Redis removes by itself what has run out.
    fn sweep(&self, _now: Timestamp) -> Answer<'_, bool> {
        Box::pin(async { Ok(false) })
    }

    fn check(&self) -> Answer<'_, ()> {
        let servers = Arc::clone(&self.servers);
        self.run(async move { servers.check().await.map_err(Cause::into_error) })
    }

    fn shard_of(&self, user: &UserKey) -> Option<u8> {
        Some(Shard::of_user(user).0)
    }

    fn follow(&self, watcher: Arc<dyn Watcher>) {
        self.servers.link.follow(watcher);
    }

    fn stale_for(&self) -> Duration {
        self.stale_for
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("link", &self.servers.link).finish_non_exhaustive()
    }
}

/// Whole milliseconds, and never none: Redis takes that for a mistake.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The keys of a change of a profile, with those of the notice of it.
fn names(servers: &Servers, user: &UserKey) -> [String; 6] {
    let (keys, shard) = (&servers.keys, Shard::of_user(user));
    let own = (keys.queue(user), keys.claim(user));
    [keys.profile(user), keys.waiting(shard), keys.ages(shard), keys.notices(shard), own.0, own.1]
}

fn first(answers: Vec<Value>) -> Result<Value, Error> {
    answers.into_iter().next().ok_or(Error::Unreadable("an empty answer"))
}

fn session(digest: &TokenDigest, record: &Value) -> Result<Arc<Session>, Error> {
    let Value::BulkString(record) = record else { return Err(Error::Unreadable("a session")) };
    records::decode(digest, record).ok_or(Error::Unreadable("a session"))
}

fn digest(value: &Value) -> Result<TokenDigest, Error> {
    let Value::BulkString(bytes) = value else { return Err(Error::Unreadable("the digest of a session")) };
    let bytes = bytes.as_slice().try_into().map_err(|_| Error::Unreadable("the digest of a session"))?;
    Ok(TokenDigest::new(bytes))
}

fn digests(value: &Value) -> Result<Vec<TokenDigest>, Error> {
    value.as_sequence().ok_or(Error::Unreadable("digests of sessions"))?.iter().map(digest).collect()
}
