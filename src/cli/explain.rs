//! `wxgate explain METHOD URL`: which route, which policy, which upstream.

use std::{
    io::{self, Write},
    path::Path,
};

use clap::Args;

use crate::{config, routing};

/// The request to explain.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// GET, POST, …
    pub method: String,
    /// With scheme and host: `https://host/path`
    pub url: String,
}

/// Prints what the gateway would do with the request.
pub fn run(path: &Path, args: &ExplainArgs) -> anyhow::Result<()> {
    let loaded = config::load(path)?;
    let explanation = routing::explain(&loaded.config, &args.method, &args.url)?;
    writeln!(io::stdout(), "{explanation}")?;
    Ok(())
}
