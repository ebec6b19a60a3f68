//! `[log]`: what is written, and how.

use super::server::LEAST_KEY_BYTES;
use crate::config::{
    fields::{At, Fields},
    sections::{Log, LogFormat, LogLevel},
};

const LEVELS: [(&str, LogLevel); 4] =
    [("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info), ("debug", LogLevel::Debug)];
const FORMATS: [(&str, LogFormat); 2] = [("json", LogFormat::Json), ("text", LogFormat::Text)];

pub(super) fn log(mut fields: Fields<'_, '_>) -> Log {
    let default = Log::default();
    let user_key = fields.secret("user_key");
    if let Some(At { line, value }) = &user_key
        && value.expose().len() < LEAST_KEY_BYTES
    {
        fields.error(*line, "user_key", format!("the secret is shorter than {LEAST_KEY_BYTES} bytes"));
    }
    let log = Log {
        level: fields.choice("level", default.level, &LEVELS),
        format: fields.choice("format", default.format, &FORMATS),
        access: fields.boolean("access", default.access),
        user_key: user_key.map(|key| key.value),
    };
    fields.finish();
    log
}
