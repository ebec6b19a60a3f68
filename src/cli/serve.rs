//! `wxgate`: serves until it is told to stop.

use std::path::Path;

use anyhow::Context;
use tokio::runtime;

use crate::{
    app::{App, World},
    config, server, telemetry,
};

/// Serves what the configuration at `path` says. A configuration that is wrong is the error, as `check` reports it.
pub fn run(path: &Path) -> anyhow::Result<()> {
    let loaded = config::load(path)?;
    telemetry::init_logs(&loaded.config.log)?;
    let file = path.display().to_string();
    for warning in &loaded.warnings {
        tracing::warn!("{}", warning.in_file(&file));
    }
    let files = server::raise_file_limit();
    let wanted = 2 * loaded.config.server.max_connections as u64;
    if files < wanted {
        tracing::warn!(files, wanted, "the system allows fewer open files than server.max_connections may need");
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let stop = server::stop_signals().context("can't listen for signals")?;
        let app = App::start(loaded.config, World::default())?;
        for addr in app.addrs() {
            tracing::info!(%addr, "serving");
        }
        for addr in app.admin_addrs() {
            tracing::info!(%addr, "operators' listener");
        }
        app.run(stop).await?;
        tracing::info!("stopped");
        Ok(())
    })
}
