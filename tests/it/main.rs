//! The stories wxgate has to tell right, on real sockets: one harness, a file per feature.

#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]
#![expect(unreachable_pub, reason = "the harness is a library to the stories, and reads like one")]
#![expect(clippy::format_push_string, clippy::format_collect, reason = "put together for reading, not for speed")]
#![expect(clippy::too_many_lines, clippy::type_complexity, reason = "a table of cases is long and wide")]
#![expect(clippy::float_cmp, reason = "counts in a metrics page are whole numbers")]

mod support;

mod access_log;
mod admin;
mod answers;
mod apps;
mod assertion;
mod authorize;
mod avatars;
mod behind;
mod carriers;
mod connections;
mod disk;
mod drain;
mod errors;
mod forward;
mod forwarded;
mod framing;
mod http2;
mod http2_upstreams;
mod identity_header;
mod internal;
mod leaks;
mod limits;
mod listeners;
mod login;
mod near_cache;
mod paths;
mod phone;
mod pitfalls;
mod profile;
mod proxy_protocol;
mod redis;
mod reload;
mod restart;
mod route_limits;
mod sessions;
mod smoke;
mod sqlite_file;
mod store_away;
mod stores;
mod strangers;
mod streaming;
mod stress;
mod systemd;
mod tls;
mod turns;
mod two_parsers;
mod two_servers;
mod upstreams;
mod webhook;
mod websocket;
