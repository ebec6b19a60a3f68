//! From `[sessions]` to the store that it asks for.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::Error;
use crate::{
    config::sections::{self, NewestSealKey, Seal},
    model::{Entropy, SealKey},
    store::{Memory, RedisStore, Sealer, Sqlite, Store, make_key_file},
};

/// How long a start waits for Redis. Without it, requests and `/readyz` say that it is away, and it may come later.
const FOR_REDIS: Duration = Duration::from_secs(3);

/// Where sessions rest, as the configuration says.
pub(super) fn open(
    section: &sections::Sessions,
    entropy: &Arc<dyn Entropy>,
    control: &Handle,
) -> Result<Arc<dyn Store>, Error> {
    let (Some(seal), true) = (&section.seal, section.snapshot.is_some() || section.redis.is_some()) else {
        return Ok(Arc::new(Memory::new()));
    };
    let key = key(section, seal, &**entropy)?;
    let sealer = Arc::new(Sealer::new(&key, &seal.old_keys, Arc::clone(entropy)));
    if let Some(redis) = &section.redis {
        let store = RedisStore::open(redis, sealer, Arc::clone(entropy), control).map_err(Error::Redis)?;
        if !store.wait_until_linked(FOR_REDIS) {
            tracing::warn!("starting without Redis: no session can be begun or looked up until it answers");
        }
        return Ok(Arc::new(store));
    }
    match &section.snapshot {
        Some(snapshot) => Ok(Arc::new(Sqlite::open(&snapshot.path, sealer).map_err(Error::SessionFile)?)),
        None => Ok(Arc::new(Memory::new())),
    }
}

fn key(section: &sections::Sessions, seal: &Seal, entropy: &dyn Entropy) -> Result<SealKey, Error> {
    match (&seal.key, &section.snapshot) {
        (NewestSealKey::ToBeMade(path), Some(snapshot)) => {
            make_key_file(path, &snapshot.path, entropy).map_err(Error::SealKey)
        }
        (NewestSealKey::ToBeMade(_), None) => Err(Error::NoSealKey),
        (NewestSealKey::Given(key), _) => Ok(key.clone()),
    }
}
