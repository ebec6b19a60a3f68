//! `wxgate`: serves until it is told to stop.

use std::{io, path::Path, sync::Arc};

use anyhow::Context;
use tokio::{runtime, task::spawn_blocking};

use super::replace::{self, Heir};
use crate::{
    app::{App, CertificateKeeper, ConfigKeeper, World},
    config::{self, Config, Loaded},
    server::{
        self, HangUps, ReplaceSignals, Stop,
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
    let world = World { sockets, predecessor, log_level: Some(log_level), ..World::default() };
    let ended = runtime.block_on(serve(path, &loaded, world));
    // A look at a file on a disk that hangs would be waited for without end.
    runtime.shutdown_background();
    ended
}

/// Serves until it is told to stop or has been replaced. Where it has made way for a process that then could not serve, it
/// serves again.
async fn serve(path: &Path, loaded: &Loaded, mut world: World) -> anyhow::Result<()> {
    let log_level = world.log_level.clone();
    let mut signals = Signals::listen().context("can't listen for signals")?;
    let mut config = loaded.config.clone();
    loop {
        let has_waited = world.predecessor.is_some();
        let app = App::start(config, world)?;
        let Some((heir, running)) = live(path, loaded, app, &mut signals, has_waited).await? else { break };
        let sockets = tokio::select! {
            sockets = heir.inherit() => sockets,
            () = signals.stop.next() => None,
        };
        let Some(sockets) = sockets else { break };
        config = running;
        world = World { sockets, again: true, log_level: log_level.clone(), ..World::default() };
    }
    tracing::info!("stopped");
    Ok(())
}

/// From the start of a gateway to its end. Nothing of it is held after that, the sessions neither. One that has waited for
/// another process reads its files once more: what changed meanwhile was told to that one.
async fn live(
    path: &Path,
    loaded: &Loaded,
    app: App,
    signals: &mut Signals,
    has_waited: bool,
) -> anyhow::Result<Option<(Heir, Config)>> {
    let keeper = ConfigKeeper::new(path, loaded, app.reloader());
    for addr in app.places() {
        tracing::info!(%addr, "serving");
    }
    for addr in app.admin_addrs() {
        tracing::info!(%addr, "operators' listener");
    }
    if let Some(place) = app.internal_place() {
        tracing::info!(addr = %place, "backends' listener");
    }
    systemd::tell_ready();
    let certificates = app.certificates();
    let followed = replace::followed(&mut signals.replace, app.handover());
    tokio::select! {
        ended = app.run(&mut signals.stop, followed) => Ok(ended?),
        () = reread_at(&mut signals.hang_ups, &certificates, &keeper, has_waited) => Ok(None),
        () = Arc::clone(&keeper).watch() => Ok(None),
    }
}

/// The signals that this process listens for.
struct Signals {
    stop: Stop,
    replace: ReplaceSignals,
    hang_ups: HangUps,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { stop: server::stop_signals()?, replace: server::replace_signals()?, hang_ups: server::hang_ups()? })
    }
}

/// Reads certificates and configuration again whenever somebody asks for it, and before that where it is said so.
async fn reread_at(
    hang_ups: &mut HangUps,
    certificates: &CertificateKeeper,
    keeper: &Arc<ConfigKeeper>,
    at_once: bool,
) {
    if at_once {
        reread(certificates, keeper).await;
    }
    loop {
        hang_ups.next().await;
        systemd::tell_reloading();
        tracing::info!("told to read the configuration and the certificates again");
        reread(certificates, keeper).await;
        systemd::tell_ready();
    }
}

async fn reread(certificates: &CertificateKeeper, keeper: &Arc<ConfigKeeper>) {
    let (certificates, keeper) = (certificates.clone(), Arc::clone(keeper));
    let reading = move || {
        certificates.reread();
        keeper.reread();
    };
    if spawn_blocking(reading).await.is_err() {
        tracing::error!("the files could not be read again");
    }
}
