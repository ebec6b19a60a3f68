//! `wxgate simulate`: the stand-in of WeChat's API as a process of its own.

use clap::Args;

/// How the stand-in runs.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Where it listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9902")]
    pub listen: std::net::SocketAddr,
}

/// Runs the stand-in until it is told to stop.
pub fn run(_args: &SimulateArgs) -> anyhow::Result<()> {
    anyhow::bail!("simulate is not wired yet")
}
