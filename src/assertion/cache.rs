//! What was signed within the last minute, for one worker.
//!
//! Two tables: what is signed goes into the young one, and once a minute, or when it is full, that becomes the old one and
//! what was in the old one goes. So nothing has to be looked through to find out what is too old, and however many
//! sessions come by, no more is kept than two full tables.

use std::{collections::HashMap, mem, time::Duration};

use http::HeaderValue;

use crate::model::{Timestamp, TokenDigest};

/// Tokens in one table. Together they take some 20 MB, and only where so many sessions are active within a minute.
const ROOM: usize = 16_384;

/// The longest time for which a token is kept in one table.
const TURN: Duration = Duration::from_mins(1);

/// A session and the place of an upstream.
pub(super) type Key = (TokenDigest, usize);

pub(super) struct Cache {
    young: HashMap<Key, Signed>,
    old: HashMap<Key, Signed>,
    /// When the young table was begun.
    since: Timestamp,
}

struct Signed {
    token: HeaderValue,
    at: Timestamp,
    renew_at: Timestamp,
}

impl Cache {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), since: now }
    }

    /// The token, unless it is to be signed anew. After the clock has stepped back it is, since verifiers refuse what was
    /// signed in their future.
    pub(super) fn get(&self, key: &Key, now: Timestamp) -> Option<HeaderValue> {
        let signed = self.young.get(key).or_else(|| self.old.get(key))?;
        (signed.at..signed.renew_at).contains(&now).then(|| signed.token.clone())
    }

    pub(super) fn insert(&mut self, key: Key, token: HeaderValue, renew_at: Timestamp, now: Timestamp) {
        if self.young.len() >= ROOM {
            self.turn(now);
        }
        self.young.insert(key, Signed { token, at: now, renew_at });
    }

    pub(super) fn sweep(&mut self, now: Timestamp) {
        let due = now.since(self.since) >= TURN || now < self.since;
        if due && !(self.young.is_empty() && self.old.is_empty()) {
            self.turn(now);
        }
    }

    fn turn(&mut self, now: Timestamp) {
        self.old = mem::take(&mut self.young);
        self.since = now;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
