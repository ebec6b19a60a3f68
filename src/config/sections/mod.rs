//! The sections of `gateway.toml` as plain values, one file each. No section knows the component it configures: the
//! component takes its section as an argument.

mod admin;
mod api;
mod apps;
mod assertion;
mod avatars;
mod http2;
mod identity;
mod internal;
mod limits;
mod listen;
mod log;
mod redis;
mod routes;
mod server;
mod sessions;
mod tls;
mod upstreams;
mod webhook;
mod wechat;

pub use admin::Admin;
pub use api::Api;
pub use apps::{App, PlatformKind};
pub use assertion::Assertion;
pub use avatars::{AvatarStorage, Avatars, S3};
pub use http2::Http2;
pub use identity::IdentityHeaders;
pub use internal::{Internal, InternalTls};
pub use limits::{Limits, Rate};
pub use listen::{ListenAt, Listener, Speaks};
pub use log::{Log, LogFormat, LogLevel};
pub use redis::{Redis, RedisLogin, RedisSentinels, RedisServers};
pub use routes::{AuthRule, HostPattern, Route};
pub use server::{Server, UnderscoreHeaders};
pub use sessions::{NewestSealKey, Seal, Sessions, Snapshot};
pub use tls::{CertificateFiles, Tls, TlsVersion};
pub use upstreams::{
    Balance, ClientCertificate, Ejection, Endpoint, HealthChecks, Retry, ServerAddress, StatusPattern, Upstream,
    UpstreamServer, UpstreamTls,
};
pub use webhook::Webhook;
pub use wechat::WeChat;
