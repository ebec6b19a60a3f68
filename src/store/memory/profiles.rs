//! Profiles by (app, openid). They come and go apart from the sessions, so they have tables and locks of their own.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    model::UserKey,
    store::{ProfileRecord, Removed, Written},
};

/// So many tables with a lock each, so that one that grows holds up few.
const SHARDS: usize = 64;

type Table = HashMap<UserKey, ProfileRecord>;

pub(super) struct Profiles {
    shards: Box<[Mutex<Table>]>,
    hasher: RandomState,
}

impl Profiles {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    pub(super) fn get(&self, user: &UserKey) -> Option<ProfileRecord> {
        self.shard(user).get(user).cloned()
    }

    /// `post` is what happens in the same step.
    pub(super) fn put(
        &self,
        user: &UserKey,
        before: Option<u64>,
        profile: &ProfileRecord,
        post: impl FnOnce() -> Written,
    ) -> Written {
        let mut shard = self.shard(user);
        match (shard.entry(user.clone()), before) {
            (Entry::Occupied(mut held), Some(before)) if held.get().version == before => {
                held.insert(profile.clone());
                post()
            }
            (Entry::Vacant(free), None) => {
                free.insert(profile.clone());
                post()
            }
            _ => Written::No,
        }
    }

    pub(super) fn remove(&self, user: &UserKey, post: impl FnOnce() -> Written) -> Option<Removed> {
        let mut shard = self.shard(user);
        let profile = shard.remove(user)?;
        Some(Removed { profile, crowded: post() == Written::Crowded })
    }

    /// No method leaves a table half changed, so what a panicking thread held is still good.
    fn shard(&self, user: &UserKey) -> MutexGuard<'_, Table> {
        let [low, ..] = self.hasher.hash_one(user).to_le_bytes();
        self.shards[usize::from(low) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
