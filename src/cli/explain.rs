//! `wxgate explain METHOD URL`: which route, which policy, which upstream.

use std::path::Path;

use clap::Args;

/// The request to explain.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// GET, POST, …
    pub method: String,
    /// With scheme and host: `https://host/path`
    pub url: String,
}

/// Prints what the gateway would do with the request.
pub fn run(config: &Path, _args: &ExplainArgs) -> anyhow::Result<()> {
    crate::config::load(config)?;
    anyhow::bail!("explain is not wired yet")
}
