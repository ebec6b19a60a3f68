//! Sessions by the digest of their token. A slot is one pointer: the digest it is found by stands in the session itself.

use std::{
    cmp::Reverse,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use hashbrown::HashTable;

use crate::model::{Session, Timestamp, TokenDigest};

/// So many tables with a lock each, so that one that grows holds up few.
const SHARDS: usize = 1024;

pub(super) struct Digests {
    shards: Box<[Mutex<HashTable<Arc<Session>>>]>,
    /// Sessions in all shards.
    len: AtomicU64,
}

impl Digests {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), len: AtomicU64::new(0) }
    }

    pub(super) fn len(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    pub(super) fn find(&self, digest: &TokenDigest) -> Option<Arc<Session>> {
        self.shard(digest).find(hash(digest), |held| held.digest() == digest).cloned()
    }

    /// Takes it in. One of the same digest must not be there.
    pub(super) fn insert(&self, session: &Arc<Session>) {
        let digest = session.digest();
        self.shard(digest).insert_unique(hash(digest), Arc::clone(session), |held| hash(held.digest()));
        self.len.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, digest: &TokenDigest) {
        let mut shard = self.shard(digest);
        if let Ok(entry) = shard.find_entry(hash(digest), |held| held.digest() == digest) {
            entry.remove();
            self.len.fetch_sub(1, Ordering::Relaxed);
            // What a crowd once took is given back when it has gone.
            if shard.len() < shard.capacity() / 4 {
                let twice = shard.len() * 2;
                shard.shrink_to(twice, |held| hash(held.digest()));
            }
        }
    }

    /// The live ones that were used last, at most `limit`.
    pub(super) fn recent(&self, limit: usize, now: Timestamp) -> Vec<Arc<Session>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            found.extend(lock(shard).iter().filter(|session| session.is_live(now)).cloned());
        }
        found.sort_by_cached_key(|session| Reverse(session.last_seen()));
        found.truncate(limit);
        found
    }

    fn shard(&self, digest: &TokenDigest) -> MutexGuard<'_, HashTable<Arc<Session>>> {
        let [.., high, low] = *digest.as_bytes();
        lock(&self.shards[usize::from(u16::from_be_bytes([high, low])) % SHARDS])
    }
}

/// The digest's own first bytes: as evenly spread as any hash of them. The shard is chosen by the last ones.
fn hash(digest: &TokenDigest) -> u64 {
    u64::from_le_bytes(digest.as_bytes().first_chunk().copied().unwrap_or_default())
}

/// No method leaves a table half changed, so what a panicking thread held is still good.
fn lock(shard: &Mutex<HashTable<Arc<Session>>>) -> MutexGuard<'_, HashTable<Arc<Session>>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
