//! `[sessions]` and `[wechat]`: how long things are remembered, and how long is waited.

use std::time::Duration;

use super::rest;
use crate::config::{
    fields::Fields,
    sections::{Sessions, WeChat},
};

/// What the fixed-size tables behind these limits can still hold on a large machine.
pub(super) const MOST_SESSIONS: usize = 1_000_000_000;

/// A client has given up long before, and a login under way is remembered for no longer.
const LONGEST_LOGIN: Duration = Duration::from_secs(30);

pub(super) fn sessions(mut fields: Fields<'_, '_>) -> Sessions {
    let default = Sessions::default();
    let capacity = usize::try_from(default.capacity).unwrap_or(usize::MAX);
    let rest::Places { snapshot, redis, seal } = rest::places(&mut fields);
    let sessions = Sessions {
        idle: fields.duration("idle", default.idle),
        lifetime: fields.duration("lifetime", default.lifetime),
        capacity: u64::try_from(fields.whole("capacity", capacity, 1..=MOST_SESSIONS)).unwrap_or(u64::MAX),
        per_user: fields.whole("per_user", default.per_user, 0..=MOST_SESSIONS),
        snapshot,
        redis,
        seal,
    };
    if sessions.lifetime < sessions.idle {
        let line = fields.line_of("lifetime").or(fields.line_of("idle")).unwrap_or(fields.line);
        fields.warn(line, "lifetime", "is shorter than sessions.idle, which so never ends a session");
    }
    fields.finish();
    sessions
}

pub(super) fn wechat(mut fields: Fields<'_, '_>) -> WeChat {
    let default = WeChat::default();
    let wechat = WeChat {
        timeout: fields.duration_up_to("timeout", default.timeout, LONGEST_LOGIN),
        replay_window: fields.duration_or_zero("replay_window", default.replay_window),
    };
    fields.finish();
    wechat
}
