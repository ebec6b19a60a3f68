//! What wxgate says of itself: log lines and counters, never a secret.

mod avatars;
mod calls;
mod counters;
mod histogram;
mod http2;
mod internal;
mod line;
mod line_writer;
mod logs;
mod proxy_headers;
mod redact;
mod reloads;
mod tls;
mod traffic;
mod tunnels;
mod webhook;

pub use avatars::{AVATAR_REMOVALS, AVATAR_UPLOADS, AvatarRemovals, AvatarUploads};
pub use calls::{Operation, PlatformCalls, StoreCalls, WeChatApi};
pub use counters::{Counter, Counters, SpreadCounter};
pub use histogram::{Histogram, Reading};
pub use http2::{HTTP2_BROKEN, Http2Broken};
pub use internal::InternalCounts;
pub(crate) use line::key;
pub use line::{Field, Json, Key, Line, Text};
pub use line_writer::{LineBuffer, LineWriter};
pub use logs::{AlreadyInitialised, LogLevelSwitch, init as init_logs};
pub use proxy_headers::{PROXY_HEADERS, ProxyHeaders};
pub use redact::UserTagger;
pub use reloads::ConfigState;
pub use tls::{CertificateReloads, HANDSHAKES, TlsHandshakes};
pub use traffic::{Counted, OpenConnection, OpenTunnel, Place, Traffic, WorkerTraffic};
pub use tunnels::{TUNNEL_ENDS, TunnelCounts};
pub use webhook::WebhookCounts;
