//! What is wrong with a command line and was not seen while it was read, because the configuration has a say in it.

/// The command line, together with the configuration, does not say enough, or too much.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misused(pub String);
