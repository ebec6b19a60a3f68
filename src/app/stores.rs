//! Which store the sessions rest in, and with what key it seals.

use std::{path::Path, sync::Arc, thread, time::Duration};

use tokio::runtime;

use super::Error;
use crate::{
    config::sections::{self, NewestSealKey},
    model::Entropy,
    server::handover::Predecessor,
    store::{Memory, OpenError, RedisStore, Sealer, Sqlite, Store, make_key_file},
};

/// How long a start waits for Redis. Without it, requests and `/readyz` say that it is away, and it may come later.
const FOR_REDIS: Duration = Duration::from_secs(3);

/// How often a file is tried that another process still has.
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// What it may take to give it up when it is not in use any more.
const GIVING_UP: Duration = Duration::from_secs(10);

/// Who had the file of sessions before.
#[derive(Clone, Copy, Debug)]
pub(super) enum Before<'a> {
    /// Nobody who is still here.
    Nobody,
    /// The process that this one follows, perhaps.
    Another(&'a Predecessor),
    /// This process, which has just given it up.
    Ourselves,
}

/// Where sessions rest, as the configuration says.
pub(super) fn open_store(
    sessions: &mut sections::Sessions,
    entropy: &Arc<dyn Entropy>,
    before: Before<'_>,
    control: &runtime::Handle,
) -> Result<Arc<dyn Store>, Error> {
    if sessions.snapshot.is_none() && sessions.redis.is_none() {
        return Ok(Arc::new(Memory::new()));
    }
    let sealer = sealer(sessions, entropy)?;
    if let Some(snapshot) = &sessions.snapshot {
        let store = match before {
            Before::Nobody => Sqlite::open(&snapshot.path, sealer)?,
            Before::Another(predecessor) => open_after(predecessor, &snapshot.path, &sealer)?,
            Before::Ourselves => open_in_time(&snapshot.path, &sealer)?,
        };
        return Ok(Arc::new(store));
    }
    let Some(redis) = &sessions.redis else { return Ok(Arc::new(Memory::new())) };
    let store = RedisStore::open(redis, sealer, Arc::clone(entropy), control)?;
    if !store.wait_until_linked(FOR_REDIS) {
        tracing::warn!("starting without Redis: no session can be begun or looked up until it answers");
    }
    Ok(Arc::new(store))
}

/// Opens the file, which the process before this one may have. Then that one is asked for it, unless what is in it can't be
/// used here. It gives it up when nothing is under way in it, and waits: where the file can't be opened here, it goes on. Who
/// comes meanwhile waits at the sockets.
fn open_after(before: &Predecessor, path: &Path, sealer: &Arc<Sealer>) -> Result<Sqlite, Error> {
    match Sqlite::open(path, Arc::clone(sealer)) {
        Err(OpenError::Taken { .. }) => {}
        opened => return Ok(opened?),
    }
    Sqlite::look(path)?;
    before.wait_for_sessions().map_err(Error::Predecessor)?;
    open_in_time(path, sealer)
}

/// Opens a file that somebody is about to give up.
fn open_in_time(path: &Path, sealer: &Arc<Sealer>) -> Result<Sqlite, Error> {
    for _ in 0..GIVING_UP.as_millis() / BETWEEN_TRIES.as_millis() {
        match Sqlite::open(path, Arc::clone(sealer)) {
            Err(OpenError::Taken { .. }) => thread::sleep(BETWEEN_TRIES),
            opened => return Ok(opened?),
        }
    }
    Ok(Sqlite::open(path, Arc::clone(sealer))?)
}

/// What seals the `session_key`s that rest there. A key that is to be made is made here, and is one that was given from then
/// on. Only a file's own can be: one for Redis is not ours alone.
fn sealer(sessions: &mut sections::Sessions, entropy: &Arc<dyn Entropy>) -> Result<Arc<Sealer>, Error> {
    let seal = sessions.seal.as_mut().ok_or(Error::NoSealKey)?;
    let key = match (&seal.key, &sessions.snapshot) {
        (NewestSealKey::Given(key), _) => key.clone(),
        (NewestSealKey::ToBeMade(path), Some(snapshot)) => {
            let key = make_key_file(path, &snapshot.path, &**entropy)?;
            tracing::info!(path = %path.display(), "made a key to seal session_keys with; keep it apart from copies of the sessions");
            key
        }
        (NewestSealKey::ToBeMade(_), None) => return Err(Error::NoSealKey),
    };
    seal.key = NewestSealKey::Given(key.clone());
    Ok(Arc::new(Sealer::new(&key, &seal.old_keys, Arc::clone(entropy))))
}
