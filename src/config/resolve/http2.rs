//! `[server.http2]`: whether it is spoken, and windows that fit each other.

use crate::config::{fields::Fields, sections::Http2};

/// What every client may send before it has read our settings (RFC 9113, 6.9.2).
const LEAST_WINDOW: u64 = 65_535;
const LARGEST_WINDOW: u64 = 16 << 20;

pub(super) fn http2(mut fields: Fields<'_, '_>) -> Http2 {
    let default = Http2::default();
    let max_streams = fields.whole("max_streams", count(default.max_streams), 1..=1000);
    let http2 = Http2 {
        enabled: fields.boolean("enabled", default.enabled),
        prior_knowledge: fields.boolean("prior_knowledge", default.prior_knowledge),
        max_streams: u32::try_from(max_streams).unwrap_or(default.max_streams),
        stream_window: window(&mut fields, "stream_window", default.stream_window),
        connection_window: window(&mut fields, "connection_window", default.connection_window),
    };
    if http2.prior_knowledge && !http2.enabled {
        let line = fields.line_of("prior_knowledge").unwrap_or(fields.line);
        fields.error(line, "prior_knowledge", "is of no use with server.http2.enabled = false");
    }
    if http2.stream_window > http2.connection_window {
        let line = fields.line_of("stream_window").unwrap_or(fields.line);
        fields.error(line, "stream_window", "is more than server.http2.connection_window, which is for all streams");
    }
    fields.finish();
    http2
}

fn window(fields: &mut Fields<'_, '_>, key: &'static str, default: u32) -> u32 {
    let size = fields.size(key, default.into(), LEAST_WINDOW..=LARGEST_WINDOW, "between 65535 bytes and 16MiB");
    u32::try_from(size).unwrap_or(default)
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
