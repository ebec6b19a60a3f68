//! `wxgate demo`: gateway, stand-in and an echo upstream in one process on loopback.

use clap::Args;

/// How the demo runs.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The gateway's port; another one is taken where it is in use
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
}

/// Runs the demo until it is told to stop.
pub fn run(_args: &DemoArgs) -> anyhow::Result<()> {
    anyhow::bail!("demo is not wired yet")
}
