//! `[sessions]`: how long sessions live and how many are kept.

use std::time::Duration;

use super::Redis;

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
    /// `[sessions.redis]`: where they rest when several instances share them.
    pub redis: Option<Redis>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            idle: Duration::from_hours(24),
            lifetime: Duration::from_hours(7 * 24),
            capacity: 1_000_000,
            per_user: 0,
            redis: None,
        }
    }
}
