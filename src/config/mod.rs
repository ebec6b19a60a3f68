//! `gateway.toml` as a value: a list of sections, nothing else.

mod change;
mod error;
mod fields;
mod load;
mod outside;
mod paths;
mod resolve;
pub mod sections;
mod suggest;
mod units;

pub use change::{Change, Difference, How};
pub use error::{ConfigError, ConfigErrors, Finding, UnusableFile};
pub use load::{
    FileStamps, Loaded, Stamp, known_keys, load, own_command_line, parse, reread, secret_of, stamp, stamps,
};

use sections::{
    Admin, Api, App, Assertion, Avatars, IdentityHeaders, Internal, Limits, Log, Route, Server, Sessions, Upstream,
    WeChat, Webhook,
};

/// Everything the file says, checked, with defaults filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[admin]`
    pub admin: Admin,
    /// `[internal]`, where backends are listened to.
    pub internal: Option<Internal>,
    /// `[webhook]`, where somebody is told of changes.
    pub webhook: Option<Webhook>,
    /// `[api]`
    pub api: Api,
    /// `[[apps]]`, at least one, no AppID twice.
    pub apps: Vec<App>,
    /// `[wechat]`
    pub wechat: WeChat,
    /// `[sessions]`
    pub sessions: Sessions,
    /// `[identity]`
    pub identity: IdentityHeaders,
    /// `[identity.assertion]`, where identity is signed too.
    pub assertion: Option<Assertion>,
    /// `[limits]`
    pub limits: Limits,
    /// `[avatars]`, where users may upload pictures.
    pub avatars: Option<Avatars>,
    /// `[log]`
    pub log: Log,
    /// `[[upstreams]]`, no name twice.
    pub upstreams: Vec<Upstream>,
    /// `[[routes]]`, each naming an upstream of the list above; no two alike.
    pub routes: Vec<Route>,
}
