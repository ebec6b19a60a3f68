//! What is wrong with a command line, or with a configuration, and was not seen while it was read.

use std::path::PathBuf;

use crate::app;

/// The configuration can be read, and nothing can be made of it.
#[derive(Debug, thiserror::Error)]
#[error("{}: the configuration can't be used", .0.display())]
pub struct Unusable(pub PathBuf, #[source] pub app::Error);

/// The command line, together with the configuration, does not say enough, or too much.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misused(pub String);
