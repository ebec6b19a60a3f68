//! wxgate's own messages, those of every test in one heap: a process has one place for them. Look for ids and names that
//! are one test's own.

use std::sync::OnceLock;

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::LogSink;

/// Everything that wxgate has said since this was called first, down to the last detail.
pub fn messages() -> &'static LogSink {
    static MESSAGES: OnceLock<LogSink> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let sink = LogSink::default();
        let writer = sink.clone();
        let targets = Targets::new().with_default(Level::WARN).with_target("wxgate", LevelFilter::TRACE);
        let lines = fmt::layer().json().flatten_event(true).with_writer(move || writer.clone());
        tracing_subscriber::registry().with(lines).with(targets).init();
        sink
    })
}
