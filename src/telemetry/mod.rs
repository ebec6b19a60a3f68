//! What wxgate says of itself: log lines and counters, never a secret.

mod counters;

pub use counters::{Counter, Counters};
