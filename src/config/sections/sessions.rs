//! `[sessions]`: how long sessions live and how many are kept.

use std::{path::PathBuf, time::Duration};

use super::Redis;
use crate::model::SealKey;

/// How long sessions live and how many are kept.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// A session ends when unused this long.
    pub idle: Duration,
    /// A session ends this long after its login, used or not.
    pub lifetime: Duration,
    /// Sessions kept in memory.
    pub capacity: u64,
    /// The newest so many sessions of a user in an app stay; 0 is no limit.
    pub per_user: usize,
    /// `[sessions.snapshot]`: where they rest when this gateway alone has them.
    pub snapshot: Option<Snapshot>,
    /// `[sessions.redis]`: where they rest when several instances share them.
    pub redis: Option<Redis>,
    /// `[sessions.seal]`: there wherever they rest anywhere.
    pub seal: Option<Seal>,
}

/// The file in which sessions outlive the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its path, from where wxgate runs.
    pub path: PathBuf,
}

/// With what a `session_key` is sealed where it rests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Seals and opens.
    pub key: NewestSealKey,
    /// These only open what was sealed before.
    pub old_keys: Vec<SealKey>,
}

/// The key that seals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewestSealKey {
    /// It is at hand.
    Given(SealKey),
    /// It is to be made at the first start, as this file.
    ToBeMade(PathBuf),
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            idle: Duration::from_hours(24),
            lifetime: Duration::from_hours(7 * 24),
            capacity: 1_000_000,
            per_user: 0,
            snapshot: None,
            redis: None,
            seal: None,
        }
    }
}
