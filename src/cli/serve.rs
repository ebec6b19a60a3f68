//! `wxgate`: serves until it is told to stop.

use std::path::Path;

/// Serves what the configuration at `config` says. A configuration that is wrong is the error, as `check` reports it.
pub fn run(config: &Path) -> anyhow::Result<()> {
    crate::config::load(config)?;
    anyhow::bail!("serve is not wired yet")
}
