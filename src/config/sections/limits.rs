//! `[limits]`: how much login traffic is let through to WeChat.

use std::{num::NonZeroU32, time::Duration};

/// So many per so long, written `"30/min"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; also the burst.
    pub count: NonZeroU32,
    /// Per this long.
    pub per: Duration,
}

/// How much login traffic is let through to WeChat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Logins from one client address.
    pub verify_per_ip: Rate,
    /// Logins waiting for WeChat at once.
    pub verify_in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let thirty = NonZeroU32::MIN.saturating_add(29);
        Self { verify_per_ip: Rate { count: thirty, per: Duration::from_mins(1) }, verify_in_flight: 1000 }
    }
}
