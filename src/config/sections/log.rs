//! `[log]`: what is written about each request and about wxgate itself.

use crate::model::Secret;

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct Log {
    /// Of wxgate's own messages.
    pub level: LogLevel,
    /// Of every line.
    pub format: LogFormat,
    /// One line per request.
    pub access: bool,
    /// Keys the short hash that stands for a user in the log. Left out, a key is made at start, and the same user has
    /// another hash after each restart.
    pub user_key: Option<Secret>,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// `key=value` pairs.
    Text,
}

/// From which weight on wxgate's own messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Somebody must act.
    Error,
    /// Somebody should look.
    Warn,
    /// What happened.
    #[default]
    Info,
    /// Why it happened.
    Debug,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Json, access: true, user_key: None }
    }
}
