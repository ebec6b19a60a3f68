//! `wxgate`: serves until it is told to stop.

use std::{io, path::Path, sync::Arc};

use anyhow::Context;
use tokio::{runtime, task::spawn_blocking};

use super::replace;
use crate::{
    app::{App, CertificateKeeper, ConfigKeeper, World},
    config,
    server::{
        self, HangUps,
        handover::Predecessor,
        systemd::{self, PassedSockets},
    },
    telemetry,
};

/// Serves what the configuration at `path` says. A configuration that is wrong is the error, as `check` reports it.
pub fn run(path: &Path, take_over: bool) -> anyhow::Result<()> {
    // Before anything else runs: it changes the environment.
    let sockets = PassedSockets::of_this_process().context("systemd's sockets can't be used")?;
    let inherited = take_over.then(|| Predecessor::of(io::stdin())).transpose();
    let (predecessor, sockets) = match inherited.context("the sockets of the process before this one can't be used")? {
        Some((predecessor, sockets)) => (Some(predecessor), sockets),
        None => (None, sockets),
    };
    let loaded = config::load(path)?;
    let log_level = telemetry::init_logs(&loaded.config.log)?;
    let file = path.display().to_string();
    for warning in &loaded.warnings {
        tracing::warn!("{}", warning.in_file(&file));
    }
    let files = server::raise_file_limit();
    let wanted = server::Options::max_files(&loaded.config.server) as u64;
    if files < wanted {
        tracing::warn!(files, wanted, "the system allows fewer open files than server.max_connections may need");
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let stop = server::stop_signals().context("can't listen for signals")?;
        let replace_signals = server::replace_signals().context("can't listen for signals")?;
        let hang_ups = server::hang_ups().context("can't listen for signals")?;
        let app = App::start(
            loaded.config.clone(),
            World { sockets, predecessor, log_level: Some(log_level), ..World::default() },
        )?;
        let keeper = ConfigKeeper::new(path, &loaded, app.reloader());
        for addr in app.places() {
            tracing::info!(%addr, "serving");
        }
        for addr in app.admin_addrs() {
            tracing::info!(%addr, "operators' listener");
        }
        systemd::tell_ready();
        let certificates = app.certificates();
        let replaced = replace::replaced(replace_signals, app.handover());
        tokio::select! {
            ended = app.run(stop, replaced) => ended?,
            () = reread_at(hang_ups, &certificates, &keeper) => {}
            () = Arc::clone(&keeper).watch() => {}
        }
        tracing::info!("stopped");
        Ok(())
    })
}

/// Reads certificates and configuration again whenever somebody asks for it.
async fn reread_at(mut hang_ups: HangUps, certificates: &CertificateKeeper, keeper: &Arc<ConfigKeeper>) {
    loop {
        hang_ups.next().await;
        systemd::tell_reloading();
        tracing::info!("told to read the configuration and the certificates again");
        let (certificates, keeper) = (certificates.clone(), Arc::clone(keeper));
        let reading = move || {
            certificates.reread();
            keeper.reread();
        };
        if spawn_blocking(reading).await.is_err() {
            tracing::error!("the files could not be read again");
        }
        systemd::tell_ready();
    }
}
