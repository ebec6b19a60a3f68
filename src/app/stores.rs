//! Which store the sessions rest in, and with what key it seals.

use std::{sync::Arc, time::Duration};

use tokio::runtime;

use super::Error;
use crate::{
    config::sections::{self, NewestSealKey},
    model::Entropy,
    store::{Memory, RedisStore, Sealer, Sqlite, Store, make_key_file},
};

/// How long a start waits for Redis. Without it, requests and `/readyz` say that it is away, and it may come later.
const FOR_REDIS: Duration = Duration::from_secs(3);

/// Where sessions rest, as the configuration says.
pub(super) fn open_store(
    sessions: &sections::Sessions,
    entropy: &Arc<dyn Entropy>,
    control: &runtime::Handle,
) -> Result<Arc<dyn Store>, Error> {
    if let Some(snapshot) = &sessions.snapshot {
        return Ok(Arc::new(Sqlite::open(&snapshot.path, sealer(sessions, entropy)?)?));
    }
    let Some(redis) = &sessions.redis else { return Ok(Arc::new(Memory::new())) };
    let store = RedisStore::open(redis, sealer(sessions, entropy)?, Arc::clone(entropy), control)?;
    if !store.wait_until_linked(FOR_REDIS) {
        tracing::warn!("starting without Redis: no session can be begun or looked up until it answers");
    }
    Ok(Arc::new(store))
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
