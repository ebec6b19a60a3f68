//! `[limits]`: how much login traffic is let through to WeChat, how often a profile changes, and whose addresses count as one.

use std::{fmt, num::NonZeroU32, time::Duration};

/// So many per so long, written `"30/min"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; also the burst.
    pub count: NonZeroU32,
    /// Per this long.
    pub per: Duration,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.count, humantime::format_duration(self.per))
    }
}

/// How much login traffic is let through to WeChat, how often a profile changes, and whose addresses count as one, here and
/// for routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Logins from one client address.
    pub verify_per_ip: Rate,
    /// Logins and phone codes waiting for WeChat at once.
    pub verify_in_flight: usize,
    /// Changes of one user's profile.
    pub profile_per_user: Rate,
    /// IPv6 addresses that have so many bits in common are one client.
    pub ipv6_prefix: u8,
}

impl Default for Limits {
    fn default() -> Self {
        let thirty = Rate { count: NonZeroU32::MIN.saturating_add(29), per: Duration::from_mins(1) };
        Self { verify_per_ip: thirty, verify_in_flight: 1000, profile_per_user: thirty, ipv6_prefix: 64 }
    }
}
