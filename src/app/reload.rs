//! Another configuration for a gateway that runs. What is the same in both stays, with its connections, budgets and counts;
//! the rest is made anew beside it and swapped in whole. Requests under way end with what they began with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{runtime, sync::watch, task::JoinSet};

use super::{
    CertificateKeeper, Error,
    parts::{Parts, outgoing, webhook_of},
    platforms::Platforms,
    services::Issuer,
};
use crate::{
    assertion::Signer,
    config::{Change, Config},
    gateway::Snapshot,
    login::Login,
    model::AppId,
    phone::Phones,
    platform::Platform,
    routing::Table,
    telemetry::LogLevelSwitch,
    upstream::Watch,
    web::TrustedProxies,
    wechat::ServerApi,
};

/// Puts another configuration in the place of the one that a gateway runs with.
#[derive(Clone, Debug)]
pub struct Reloader(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: watch::Sender<Arc<Parts>>,
    /// Held over a whole change: one comes after the other.
    upkeep: Mutex<Upkeep>,
    control: runtime::Handle,
    certificates: CertificateKeeper,
    log_level: Option<LogLevelSwitch>,
}

/// Those who look after the parts of one configuration. They stop when this is dropped.
#[derive(Debug, Default)]
struct Upkeep {
    watch: Watch,
    _limits: JoinSet<()>,
}

impl Reloader {
    /// Begins with these parts, and has them looked after on `control`.
    pub(super) fn new(
        parts: Arc<Parts>,
        certificates: CertificateKeeper,
        log_level: Option<LogLevelSwitch>,
        control: &runtime::Handle,
    ) -> Self {
        let upkeep = Mutex::new(Upkeep::default().of(&parts, control));
        let parts = watch::Sender::new(parts);
        Self(Arc::new(Inner { parts, upkeep, control: control.clone(), certificates, log_level }))
    }

    /// Takes a configuration over, but for what needs a restart, and says what that was. An error changes nothing.
    pub fn reload(&self, wanted: Config) -> Result<Change, Error> {
        let mut upkeep = self.upkeep();
        let running = self.parts();
        // Also where nothing has changed here: it may have in the app's console, and somebody says so by a SIGHUP.
        running.server_api.forget_refusals();
        let change = Change::between(&running.config, wanted);
        if change.is_empty() {
            return Ok(change);
        }
        let next = Arc::new(running.changed_to(change.config.clone(), &self.0.control)?);
        *upkeep = std::mem::take(&mut *upkeep).of(&next, &self.0.control);
        self.0.certificates.hold(next.config.server.tls.as_ref());
        if let Some(log_level) = &self.0.log_level {
            log_level.set(next.config.log.level);
        }
        self.0.parts.send_replace(Arc::clone(&next));
        // Last, so that whoever sends knows where to, when the first change rings.
        next.profiles.tell(outgoing(&next.config, &next.bell, &next.entropy));
        Ok(change)
    }

    /// What the gateway runs with.
    pub(super) fn parts(&self) -> Arc<Parts> {
        Arc::clone(&self.0.parts.borrow())
    }

    /// The same, and what comes after it.
    pub(super) fn follow(&self) -> watch::Receiver<Arc<Parts>> {
        self.0.parts.subscribe()
    }

    /// Nothing is looked after any more.
    pub(super) fn rest(&self) {
        *self.upkeep() = Upkeep::default();
    }

    fn upkeep(&self) -> MutexGuard<'_, Upkeep> {
        self.0.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upkeep {
    /// The upkeep of these parts, as far as they are new.
    fn of(self, parts: &Parts, control: &runtime::Handle) -> Self {
        let snapshot = Arc::clone(&parts.snapshot);
        let mut limits = JoinSet::new();
        limits.spawn_on(async move { snapshot.limits.keep_house().await }, control);
        Self { watch: parts.upstreams.watch(self.watch, control), _limits: limits }
    }
}

impl Parts {
    /// The parts of another configuration, which share with these what is the same.
    fn changed_to(&self, config: Config, control: &runtime::Handle) -> Result<Self, Error> {
        let Askers { platforms, server_api, login, phones } = self.askers_of(&config, control)?;
        let names: Vec<&str> = config.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        let table = Table::new(&config.routes, &names).map_err(Error::Routes)?;
        let routes: Vec<String> = table.rules().iter().map(|rule| rule.label.clone()).collect();
        let upstreams = self.upstreams.changed_to(&config.upstreams)?;
        let limits = self.snapshot.limits.changed_to(&config.routes, &config.limits);
        let proxies = TrustedProxies::new(&config.server.trusted_proxies);
        Ok(Self {
            clock: Arc::clone(&self.clock),
            snapshot: Arc::new(Snapshot { table, limits, proxies }),
            sessions: Arc::clone(&self.sessions),
            login,
            platforms,
            server_api,
            profiles: Arc::clone(&self.profiles),
            phones,
            avatars: self.avatars.clone(),
            limits: self.limits.changed_to(&config.limits, &self.clock),
            counters: Arc::clone(&self.counters),
            traffic: Arc::new(self.traffic.rerouted(&routes)),
            shelf: self.shelf.clone(),
            routes,
            upstreams: Arc::new(upstreams),
            entropy: Arc::clone(&self.entropy),
            signer: Signer::of(&config)?.map(Arc::new),
            webhook: webhook_of(&config)?,
            bell: Arc::clone(&self.bell),
            config,
        })
    }

    /// The platforms, and those who ask them. What is under way ends with the platforms and the times that it began with.
    fn askers_of(&self, config: &Config, control: &runtime::Handle) -> Result<Askers, Error> {
        if config.apps == self.config.apps && config.wechat == self.config.wechat {
            return Ok(Askers {
                platforms: Arc::clone(&self.platforms),
                server_api: Arc::clone(&self.server_api),
                login: Arc::clone(&self.login),
                phones: Arc::clone(&self.phones),
            });
        }
        let platforms = Arc::new(self.platforms.changed_to(config, &self.counters).map_err(Error::Platform)?);
        let issuer = Arc::new(Issuer::new(config, &self.sessions, &self.clock));
        let login = self.login.through(Arc::clone(&platforms) as Arc<dyn Platform>, issuer);
        // What is refused to one secret is not refused to another.
        let same = |app: &AppId| {
            let [before, after] = [&self.config, config].map(|config| {
                let known = config.apps.iter().find(|known| known.app_id == *app);
                known.map(|known| (&known.api_base, &known.secret, &known.other_secret))
            });
            before == after
        };
        let server_api = platforms.server_api(control, &self.clock).recall(&self.server_api, same);
        let server_api = Arc::new(server_api);
        let phones = Arc::new(self.phones.through(Arc::clone(&server_api) as _));
        Ok(Askers { platforms, server_api, login: Arc::new(login), phones })
    }
}

/// The platforms, and those who ask them.
struct Askers {
    platforms: Arc<Platforms>,
    server_api: Arc<ServerApi>,
    login: Arc<Login>,
    phones: Arc<Phones>,
}
