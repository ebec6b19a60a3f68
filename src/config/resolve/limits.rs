//! `[limits]`: how much login traffic is let through to WeChat, how often a profile changes, and whose addresses count as one.

use std::ops::RangeInclusive;

use crate::config::{fields::Fields, sections::Limits, units};

/// As many logins as are remembered, so that a code that is sent again finds its own login.
const MOST_IN_FLIGHT: usize = 10_000;

/// Shorter than any prefix that a provider is given; fewer bits would make strangers one client.
const PREFIXES: RangeInclusive<usize> = 16..=128;

pub(super) fn limits(mut fields: Fields<'_, '_>) -> Limits {
    let default = Limits::default();
    let ipv6_prefix = fields.whole("ipv6_prefix", default.ipv6_prefix.into(), PREFIXES);
    let limits = Limits {
        verify_per_ip: fields.parsed("verify_per_ip", default.verify_per_ip, units::rate),
        verify_in_flight: fields.whole("verify_in_flight", default.verify_in_flight, 1..=MOST_IN_FLIGHT),
        profile_per_user: fields.parsed("profile_per_user", default.profile_per_user, units::rate),
        ipv6_prefix: u8::try_from(ipv6_prefix).unwrap_or(default.ipv6_prefix),
    };
    fields.finish();
    limits
}
