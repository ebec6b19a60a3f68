//! `[limits]`: how much login traffic is let through to WeChat.

use crate::config::{fields::Fields, sections::Limits, units};

/// As many logins as are remembered, so that a code that is sent again finds its own login.
const MOST_IN_FLIGHT: usize = 10_000;

pub(super) fn limits(mut fields: Fields<'_, '_>) -> Limits {
    let default = Limits::default();
    let limits = Limits {
        verify_per_ip: fields.parsed("verify_per_ip", default.verify_per_ip, units::rate),
        verify_in_flight: fields.whole("verify_in_flight", default.verify_in_flight, 1..=MOST_IN_FLIGHT),
    };
    fields.finish();
    limits
}
