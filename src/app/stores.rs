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

/// What a process may take to end when nothing is under way in it any more.
const AFTER_A_DRAIN: Duration = Duration::from_secs(10);

/// Where sessions rest, as the configuration says.
pub(super) fn open_store(
    sessions: &sections::Sessions,
    entropy: &Arc<dyn Entropy>,
    predecessor: Option<(&Predecessor, Duration)>,
    control: &runtime::Handle,
) -> Result<Arc<dyn Store>, Error> {
    if let Some(snapshot) = &sessions.snapshot {
        let sealer = sealer(sessions, entropy)?;
        let store = match predecessor {
            Some((predecessor, drain)) => open_after(predecessor, drain, &snapshot.path, &sealer)?,
            None => Sqlite::open(&snapshot.path, sealer)?,
        };
        return Ok(Arc::new(store));
    }
    let Some(redis) = &sessions.redis else { return Ok(Arc::new(Memory::new())) };
    let store = RedisStore::open(redis, sealer(sessions, entropy)?, Arc::clone(entropy), control)?;
    if !store.wait_until_linked(FOR_REDIS) {
        tracing::warn!("starting without Redis: no session can be begun or looked up until it answers");
    }
    Ok(Arc::new(store))
}

/// Opens the file that the process before this one has. That one goes before this one answers anybody: who comes meanwhile
/// waits at the sockets.
fn open_after(before: &Predecessor, drain: Duration, path: &Path, sealer: &Arc<Sealer>) -> Result<Sqlite, Error> {
    before.may_go().map_err(Error::Predecessor)?;
    let tries = (drain + AFTER_A_DRAIN).as_millis() / BETWEEN_TRIES.as_millis();
    for _ in 0..tries {
        match Sqlite::open(path, Arc::clone(sealer)) {
            Err(OpenError::Taken { .. }) => thread::sleep(BETWEEN_TRIES),
            opened => return Ok(opened?),
        }
    }
    Ok(Sqlite::open(path, Arc::clone(sealer))?)
}

/// What seals the `session_key`s that rest there. Only a file's own key can be made here: one for Redis is not ours alone.
fn sealer(sessions: &sections::Sessions, entropy: &Arc<dyn Entropy>) -> Result<Arc<Sealer>, Error> {
    let seal = sessions.seal.as_ref().ok_or(Error::NoSealKey)?;
    let key = match (&seal.key, &sessions.snapshot) {
        (NewestSealKey::Given(key), _) => key.clone(),
        (NewestSealKey::ToBeMade(path), Some(snapshot)) => {
            let key = make_key_file(path, &snapshot.path, &**entropy)?;
            tracing::info!(path = %path.display(), "made a key to seal session_keys with; keep it apart from copies of the sessions");
            key
        }
        (NewestSealKey::ToBeMade(_), None) => return Err(Error::NoSealKey),
    };
    Ok(Arc::new(Sealer::new(&key, &seal.old_keys, Arc::clone(entropy))))
}
