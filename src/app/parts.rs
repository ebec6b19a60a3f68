//! What the workers share, and what a worker's gateway is made of it.

use std::{rc::Rc, sync::Arc};

use tokio::runtime;

use super::{Error, platforms::Platforms, services::Issuer};
use crate::{
    api::{Api, Services},
    assertion::{Assertions, Signer},
    avatar::{Avatars, OpenError, Shelf},
    config::{
        Config,
        sections::{LogFormat, Webhook as Receiver},
    },
    gateway::{self, AccessLog, Callers, Gateway, Snapshot},
    limit::{EndpointLimits, RouteLimits},
    login::Login,
    model::{AppId, CertificateShelf, Clock, Entropy, EntropyError},
    phone::Phones,
    platform::Platform,
    profile::{Outgoing, Profiles},
    proxy::Proxy,
    routing::Table,
    session::{Measured, Sessions},
    store::{Bell, Room, Store},
    telemetry::{Counters, LineBuffer, Traffic, UserTagger},
    upstream::Upstreams,
    web::TrustedProxies,
    webhook::Webhook,
    wechat::ServerApi,
};

/// What all workers share.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) login: Arc<Login>,
    pub(super) platforms: Arc<Platforms>,
    pub(super) server_api: Arc<ServerApi>,
    pub(super) profiles: Arc<Profiles>,
    pub(super) phones: Arc<Phones>,
    pub(super) avatars: Option<Arc<Avatars>>,
    pub(super) limits: EndpointLimits,
    pub(super) counters: Arc<Counters>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) shelf: Option<Arc<CertificateShelf>>,
    pub(super) routes: Vec<String>,
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) signer: Option<Arc<Signer>>,
    pub(super) webhook: Option<Arc<Webhook>>,
    pub(super) bell: Arc<Bell>,
}

/// What leads out of the process, or was read from outside.
pub(super) struct Outside {
    pub(super) store: Arc<dyn Store>,
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) shelf: Option<Arc<CertificateShelf>>,
}

/// What a configuration can fail at beside what leads out of the process. It is made first, while nobody has made way yet.
pub(super) struct Groundwork {
    table: Table,
    tagger: UserTagger,
    platforms: Arc<Platforms>,
    signer: Option<Arc<Signer>>,
    webhook: Option<Arc<Webhook>>,
}

impl Groundwork {
    pub(super) fn of(config: &Config, entropy: &dyn Entropy, counters: &Arc<Counters>) -> Result<Self, Error> {
        let names: Vec<&str> = config.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        Ok(Self {
            table: Table::new(&config.routes, &names).map_err(Error::Routes)?,
            tagger: UserTagger::new(config.log.user_key.as_ref(), entropy)?,
            platforms: Arc::new(Platforms::new(config, counters).map_err(Error::Platform)?),
            signer: Signer::of(config)?.map(Arc::new),
            webhook: webhook_of(config)?,
        })
    }
}

/// What makes the numbers that a worker draws unlike those of any other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeds {
    ids: [u8; 32],
    balance: [u8; 32],
}

impl Seeds {
    pub(super) fn draw(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        Ok(Self { ids: seed(entropy)?, balance: seed(entropy)? })
    }
}

impl Parts {
    /// Everything that a gateway of this configuration is made of.
    pub(super) fn new(
        config: Config,
        groundwork: Groundwork,
        outside: Outside,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        counters: Arc<Counters>,
        control: &runtime::Handle,
    ) -> Result<Self, OpenError> {
        let Outside { store, upstreams, shelf } = outside;
        let Groundwork { table, tagger, platforms, signer, webhook } = groundwork;
        let routes: Vec<String> = table.rules().iter().map(|rule| rule.label.clone()).collect();
        let traffic = Arc::new(gateway::traffic(&routes));
        let measured = Measured::new(Arc::clone(&store), Arc::clone(&counters));
        let profiles = Profiles::new(Arc::new(measured), Arc::clone(&clock));
        let (profiles, avatars) = with_pictures(profiles, &config, &clock, &entropy, &counters, control)?;
        let bell = Arc::<Bell>::default();
        profiles.tell(outgoing(&config, &bell, &entropy));
        let sessions = Arc::new(Sessions::new(
            &config.sessions,
            store,
            control.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
            tagger,
            Arc::clone(&counters),
        ));
        let server_api = Arc::new(platforms.server_api(control, &clock));
        let phones = Arc::new(Phones::new(
            Arc::clone(&server_api) as _,
            Arc::clone(&profiles),
            config.wechat.replay_window,
            control.clone(),
            Arc::clone(&clock),
        ));
        let login = Arc::new(Login::new(
            Arc::clone(&platforms) as Arc<dyn Platform>,
            Arc::new(Issuer::new(&config, &sessions, &clock)),
            config.wechat.replay_window,
            control.clone(),
            Arc::clone(&clock),
            Arc::clone(&counters),
        ));
        let limits = EndpointLimits::new(&config.limits, &clock);
        let proxies = TrustedProxies::new(&config.server.trusted_proxies);
        let route_limits = RouteLimits::new(&config.routes, &config.limits, Arc::clone(&clock));
        let snapshot = Arc::new(Snapshot { table, limits: route_limits, proxies });
        Ok(Self {
            config,
            clock,
            snapshot,
            sessions,
            login,
            platforms,
            server_api,
            profiles,
            phones,
            avatars,
            limits,
            counters,
            traffic,
            shelf,
            routes,
            upstreams,
            entropy,
            signer,
            webhook,
            bell,
        })
    }

    /// The apps that are configured.
    pub(super) fn apps(&self) -> Vec<AppId> {
        self.config.apps.iter().map(|app| app.app_id.clone()).collect()
    }

    /// The gateway of one worker, which may have had one `before`.
    pub(super) fn gateway(&self, lines: Option<LineBuffer>, seeds: Seeds, before: Option<&Gateway>) -> Gateway {
        let config = &self.config;
        let services = Services {
            login: Arc::clone(&self.login),
            sessions: Arc::clone(&self.sessions),
            profiles: Arc::clone(&self.profiles),
            phones: Arc::clone(&self.phones),
            avatars: self.avatars.clone(),
            limits: self.limits.clone(),
        };
        let api =
            Api::new(&config.api.prefix, self.apps(), services, Arc::clone(&self.clock), Arc::clone(&self.counters))
                .publishing(self.signer.as_ref().map(|signer| signer.jwks().clone()));
        let assertions =
            self.signer.as_ref().map(|signer| Assertions::new(Arc::clone(signer), Arc::clone(&self.clock)));
        let (names, server) = (&config.identity, &config.server);
        let shared = before.map(Gateway::proxy);
        let proxy = Proxy::new(&self.upstreams, names, &config.apps, server, assertions, seeds.balance, shared);
        let json = config.log.format == LogFormat::Json;
        let counted = before.map(Gateway::traffic);
        let traffic = Rc::new(counted.map_or_else(|| self.traffic.worker(), |before| self.traffic.following(before)));
        let log = AccessLog::new(lines, json, Arc::clone(&self.clock), &self.routes, traffic);
        let gateway = Gateway::new(
            Arc::clone(&self.snapshot),
            Callers { sessions: Arc::clone(&self.sessions), profiles: Arc::clone(&self.profiles) },
            api,
            proxy,
            log,
            Arc::clone(&self.clock),
            seeds.ids,
        );
        match before {
            Some(before) => gateway.after(before),
            None => gateway,
        }
    }
}

/// Who is told of changes.
pub(super) fn webhook_of(config: &Config) -> Result<Option<Arc<Webhook>>, Error> {
    Ok(config.webhook.as_ref().map(Webhook::new).transpose()?.map(Arc::new))
}

/// How changes are written down for that.
pub(super) fn outgoing(config: &Config, bell: &Arc<Bell>, entropy: &Arc<dyn Entropy>) -> Outgoing {
    let room = |section: &Receiver| Room { per_user: section.max_per_user, in_all: section.max_waiting };
    let room = config.webhook.as_ref().map(room);
    Outgoing { room, bell: Arc::clone(bell), entropy: Arc::clone(entropy) }
}

fn seed(entropy: &dyn Entropy) -> Result<[u8; 32], EntropyError> {
    let mut seed = [0; 32];
    entropy.fill(&mut seed)?;
    Ok(seed)
}

/// The profiles, and the pictures that are named in them, where there are any.
fn with_pictures(
    profiles: Profiles,
    config: &Config,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    counters: &Arc<Counters>,
    control: &runtime::Handle,
) -> Result<(Arc<Profiles>, Option<Arc<Avatars>>), OpenError> {
    let Some(section) = &config.avatars else { return Ok((Arc::new(profiles), None)) };
    let shelf = Shelf::open(
        section,
        config.sessions.seal.as_ref(),
        Arc::clone(clock),
        Arc::clone(entropy),
        Arc::clone(counters),
        control.clone(),
    )?;
    let profiles = Arc::new(profiles.with_pictures(Arc::clone(&shelf) as _));
    let avatars = Avatars::new(section, shelf, Arc::clone(&profiles), control.clone(), Arc::clone(counters))?;
    Ok((profiles, Some(Arc::new(avatars))))
}
