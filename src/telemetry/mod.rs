//! What wxgate says of itself: log lines and counters, never a secret.

mod counters;
mod line_writer;
mod logs;
mod redact;

pub use counters::{Counter, Counters, SpreadCounter};
pub use line_writer::{LineBuffer, LineWriter};
pub use logs::{AlreadyInitialised, init as init_logs};
pub use redact::UserTagger;
