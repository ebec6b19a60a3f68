//! wxgate's own messages: where they go, how they look, and which are written.
//!
//! Only our own crate speaks at the configured level. The libraries are heard when something is wrong and never
//! below, because at their finer levels they print URLs, and the URL of a call to WeChat contains the secret of an app.

use std::io;

use tracing::{Level, Subscriber};
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, Targets, filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry::Registry,
    reload,
    util::{SubscriberInitExt, TryInitError},
};

use crate::config::sections::{Log, LogFormat, LogLevel};

/// Messages go somewhere already. They are set up once per process.
#[derive(Debug, thiserror::Error)]
#[error("logging is set up already")]
pub struct AlreadyInitialised(#[source] TryInitError);

/// Makes the messages of the process louder or quieter while it runs.
#[derive(Clone, Debug)]
pub struct LogLevelSwitch(reload::Handle<Targets, Registry>);

impl LogLevelSwitch {
    /// From here on messages are written from this level on.
    pub fn set(&self, level: LogLevel) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::warn!(%error, "the level of messages stays as it was");
        }
    }
}

/// Sends the messages of the whole process to standard error as `section` says. Works once.
pub fn init(section: &Log) -> Result<LogLevelSwitch, AlreadyInitialised> {
    let (subscriber, switch) = subscriber(section, io::stderr);
    subscriber.try_init().map_err(AlreadyInitialised)?;
    Ok(switch)
}

fn subscriber<W>(section: &Log, writer: W) -> (impl Subscriber + Send + Sync + use<W>, LogLevelSwitch)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer);
    let lines = match section.format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    // Spans stay out of the lines: a library may put a URL into one.
    let events = filter_fn(|line| !line.is_span());
    let (level, switch) = reload::Layer::new(filter(section.level));
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(level.and(events)));
    (subscriber, LogLevelSwitch(switch))
}

fn filter(level: LogLevel) -> Targets {
    let ours = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    // tracing orders levels by how much they let through: the smaller of two is the quieter one.
    Targets::new().with_default(ours.min(Level::WARN)).with_target(env!("CARGO_CRATE_NAME"), ours)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of `events` under `level` and `format`.
    fn written(level: LogLevel, format: LogFormat, events: impl FnOnce()) -> String {
        let lines = Lines::default();
        let section = Log { level, format, ..Log::default() };
        let writer = lines.clone();
        tracing::subscriber::with_default(subscriber(&section, move || writer.clone()).0, events);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_has_its_fields_at_the_top() {
        let line = written(LogLevel::Info, LogFormat::Json, || tracing::info!(workers = 2, "listening"));
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["level"], "INFO");
        assert_eq!(json["message"], "listening");
        assert_eq!(json["workers"], 2);
        assert!(json["timestamp"].is_string(), "{line}");
    }

    #[test]
    fn a_text_line_has_no_colours() {
        let line = written(LogLevel::Info, LogFormat::Text, || tracing::info!(workers = 2, "listening"));
        assert!(line.ends_with("listening workers=2\n"), "{line:?}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }

    #[test]
    fn the_level_is_ours_alone() {
        let text = written(LogLevel::Debug, LogFormat::Text, || {
            tracing::debug!("ours");
            tracing::debug!(target: "reqwest::connect", "theirs: https://host/?secret=hunter2");
            tracing::info!(target: "hyper", "theirs: informative");
            tracing::warn!(target: "hyper", "theirs: a warning");
        });
        assert!(text.contains("ours"), "{text}");
        assert!(text.contains("a warning"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("informative"), "{text}");
    }

    #[test]
    fn the_level_can_be_changed_while_it_runs() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, switch) = subscriber(&Log::default(), move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            for level in [LogLevel::Debug, LogLevel::Error, LogLevel::Info] {
                tracing::debug!("before {level:?}");
                switch.set(level);
            }
            tracing::info!("the end");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let said: Vec<&str> =
            text.lines().filter_map(|line| line.split_once("\"message\":\"")?.1.split('"').next()).collect();
        assert_eq!(said, ["before Error", "the end"]);
    }

    #[test]
    fn the_level_error_quiets_the_libraries_too() {
        let text = written(LogLevel::Error, LogFormat::Text, || {
            tracing::warn!("ours");
            tracing::warn!(target: "hyper", "theirs");
        });
        assert_eq!(text, "");
    }

    #[test]
    fn spans_of_a_library_stay_out_of_the_line() {
        for format in [LogFormat::Json, LogFormat::Text] {
            let text = written(LogLevel::Debug, format, || {
                let span = tracing::warn_span!(target: "reqwest", "call", url = "https://host/?secret=hunter2");
                span.in_scope(|| tracing::warn!("slow"));
            });
            assert!(text.contains("slow") && !text.contains("hunter2"), "{format:?}: {text}");
        }
    }

    #[test]
    fn a_second_set_up_is_refused_in_words() {
        let quiet = Log { level: LogLevel::Error, ..Log::default() };
        let first = init(&quiet);
        let second = init(&quiet);
        assert!(first.is_ok(), "{first:?}");
        assert_eq!(second.unwrap_err().to_string(), "logging is set up already");
    }
}
