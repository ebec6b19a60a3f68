//! `[limits]`: how much login traffic is let through to WeChat.

use crate::config::{fields::Fields, sections::Limits, units};

pub(super) fn limits(mut fields: Fields<'_, '_>) -> Limits {
    let default = Limits::default();
    let limits = Limits {
        verify_per_ip: fields.parsed("verify_per_ip", default.verify_per_ip, units::rate),
        verify_in_flight: fields.whole("verify_in_flight", default.verify_in_flight, 1..=1_000_000),
    };
    fields.finish();
    limits
}
