//! The only place that wires: a [`Config`] becomes a running gateway.

mod backends;
mod certificates;
mod config_file;
mod ending;
mod listeners;
mod parts;
mod platforms;
mod reload;
mod services;
mod stores;
mod telling;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use tokio::{runtime, task::JoinHandle};

pub use self::{certificates::CertificateKeeper, config_file::ConfigKeeper, ending::Follower, reload::Reloader};
use self::{
    listeners::PublicListeners,
    parts::{Groundwork, Outside, Parts, Seeds},
    services::{Back, BackParts, Front, FrontParts},
    stores::{Before, open_store},
    telling::Telling,
};
use crate::{
    assertion,
    avatar::{self, Shelf},
    config::{Config, sections::ListenAt},
    model::{CertificateShelf, Clock, Entropy, EntropyError, SystemClock, SystemEntropy},
    platform,
    routing::UnknownUpstream,
    server::{
        self, Listener, Options, Place, Running,
        handover::{Handover, Predecessor},
        systemd,
    },
    store::{KeyFileError, OpenError, RedisError, RedisStore, Store},
    telemetry::{Counters, LineWriter, LogLevelSwitch},
    upstream::{Resolver, SetupError, SystemResolver, Upstreams},
    webhook,
};

/// Threads for what is not on the path of a proxied request: logins, and the housekeeping of what they need.
const CONTROL_THREADS: usize = 1;

/// Connections an operator's listener holds at once.
const ADMIN_CONNECTIONS: usize = 64;

/// What the process takes from the world outside, for tests to put something else in its place.
pub struct World {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Where access-log lines go.
    pub access_log: Box<dyn io::Write + Send>,
    /// Where sessions rest, if not where the configuration says.
    pub store: Option<Arc<dyn Store>>,
    /// Where the names of upstreams' servers lead.
    pub resolver: Arc<dyn Resolver>,
    /// Sockets that systemd has bound.
    pub sockets: systemd::PassedSockets,
    /// The process that this one takes the place of.
    pub predecessor: Option<Predecessor>,
    /// Whether this one has served before, and goes on because nobody else could.
    pub again: bool,
    /// Where the level of messages is set, where a reload may do that.
    pub log_level: Option<LogLevelSwitch>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("clock", &self.clock).field("entropy", &self.entropy).finish_non_exhaustive()
    }
}

impl Default for World {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            access_log: Box::new(io::stdout()),
            store: None,
            resolver: Arc::new(SystemResolver),
            sockets: systemd::PassedSockets::default(),
            predecessor: None,
            again: false,
            log_level: None,
        }
    }
}

/// Why a gateway does not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address can't be listened on.
    #[error("can't listen on {at}")]
    Listen {
        /// Which.
        at: ListenAt,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The system's random generator gives nothing.
    #[error("no randomness for tokens")]
    Entropy(#[from] EntropyError),
    /// The client for a platform's API can't be set up.
    #[error("no client for a platform's API")]
    Platform(#[source] platform::BuildError),
    /// Nobody can be told of changes as the configuration asks for it.
    #[error("no webhook")]
    Webhook(#[from] webhook::SetupError),
    /// A route can't be used.
    #[error("the routes can't be used")]
    Routes(#[source] UnknownUpstream),
    /// An upstream can't be used.
    #[error("the upstreams can't be used")]
    Upstreams(#[from] SetupError),
    /// The file of sessions can't be used.
    #[error("no sessions")]
    Store(#[from] OpenError),
    /// The Redis for sessions can't be used, whether it is there or not.
    #[error("no sessions")]
    Redis(#[from] RedisError),
    /// There is no key for what rests with them, and none can be made.
    #[error("no key to seal session_keys with")]
    SealKey(#[from] KeyFileError),
    /// The configuration has a place for sessions, but no key.
    #[error("no key to seal session_keys with; write [sessions.seal]")]
    NoSealKey,
    /// TLS can't be spoken as the configuration asks for it.
    #[error("no TLS")]
    Tls(#[source] rustls::Error),
    /// Pictures can't be kept.
    #[error("no place for avatars")]
    Avatars(#[from] avatar::OpenError),
    /// Identity can't be signed.
    #[error("identity can't be signed")]
    Assertion(#[from] assertion::Error),
    /// The process before this one has gone before it was told to.
    #[error("the process that is to be replaced is not there any more")]
    Predecessor(#[source] io::Error),
    /// Threads or runtimes.
    #[error("the workers can't run")]
    Workers(#[source] io::Error),
}

/// Makes of a configuration whatever a start can fail at that needs nothing outside this process.
pub fn rehearse(config: &Config) -> Result<(), Error> {
    let World { clock, entropy, resolver, .. } = World::default();
    listeners::tls(&config.server)?;
    backends::tls(config)?;
    Upstreams::new(&config.upstreams, &clock, resolver)?;
    Groundwork::of(config, &*entropy, &Arc::default())?;
    config.sessions.redis.as_ref().map_or(Ok(()), RedisStore::rehearse)?;
    config.avatars.as_ref().map_or(Ok(()), Shelf::rehearse)?;
    Ok(())
}

/// A running gateway.
#[derive(Debug)]
pub struct App {
    public: Running,
    admin: Running,
    internal: Option<Running>,
    telling: Telling,
    ready: Arc<AtomicBool>,
    housekeeping: JoinHandle<()>,
    certificates: CertificateKeeper,
    reloader: Reloader,
    counters: Arc<Counters>,
    control: Control,
    lines: Arc<Mutex<LineWriter>>,
}

/// The runtime of the control side. It goes without waiting: exchanges that are still waiting for WeChat have nobody left
/// to tell.
#[derive(Debug)]
struct Control {
    handle: runtime::Handle,
    runtime: Option<runtime::Runtime>,
}

impl Control {
    fn start() -> io::Result<Self> {
        let mut builder = runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(CONTROL_THREADS).thread_name("control").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl App {
    /// Starts to listen. Everything that can fail at start fails here, before the first connection is taken.
    pub fn start(mut config: Config, world: World) -> Result<Self, Error> {
        let (tls, shelf) = listeners::tls(&config.server)?.unzip();
        let options = Options { tls, ..Options::from_section(&config.server) };
        let mut sockets = world.sockets;
        let PublicListeners { listeners, redirects } = listeners::bind(&config.server, options.workers, &mut sockets)?;
        let admin_listener = listeners::bind_admin(config.admin.listen, &mut sockets)?;
        let internal = listeners::bind_internal(config.internal.as_ref(), &mut sockets)?;
        let (internal_tls, internal_shelf) = backends::tls(&config)?.unzip();
        let given_up = listeners::rest(sockets);
        let control = Control::start().map_err(Error::Workers)?;
        let counters = Arc::new(Counters::default());
        let lines = LineWriter::start(world.access_log, config.log.format, Arc::clone(&counters));
        let lines = Arc::new(Mutex::new(lines.map_err(Error::Workers)?));
        let seeds = (0..options.workers).map(|_| Seeds::draw(&*world.entropy)).collect::<Result<Vec<_>, _>>()?;
        let upstreams = Arc::new(Upstreams::new(&config.upstreams, &world.clock, world.resolver)?);
        let groundwork = Groundwork::of(&config, &*world.entropy, &counters)?;
        // Before anybody is asked to give the sessions up.
        config.avatars.as_ref().map_or(Ok(()), Shelf::prepare)?;
        let before = before(world.predecessor.as_ref(), world.again);
        let store = match world.store {
            Some(store) => store,
            None => open_store(&mut config.sessions, &world.entropy, before, &control.handle)?,
        };
        let outbox = Arc::clone(&store);
        let outside = Outside { store, upstreams, shelf };
        let clock = Arc::clone(&world.clock);
        let shared = Arc::clone(&counters);
        let parts = Parts::new(config, groundwork, outside, world.clock, world.entropy, shared, &control.handle)?;
        let parts = Arc::new(parts);
        let certificates = certificates(&parts, internal_shelf.clone());
        certificates.watch(&control.handle);
        let reloader = Reloader::new(Arc::clone(&parts), certificates.clone(), world.log_level, &control.handle);

        let ready = Arc::new(AtomicBool::new(true));
        let admin = start_admin(admin_listener, &parts, &reloader, (&ready, internal_shelf))?;
        let internal = backends::start(internal, internal_tls, &parts, &reloader.follow(), &lines)?;
        let (all, handles) = (reloader.follow(), Arc::clone(&lines));
        let public = server::start(listeners, &options, move |worker| {
            let (parts, lines, redirects) = (all.clone(), Arc::clone(&handles), Arc::clone(&redirects));
            Front::new(FrontParts { parts, lines, seeds: seeds[worker], redirects }, None)
        })
        .map_err(Error::Workers)?;
        let sessions = Arc::clone(&parts.sessions);
        let telling = Telling::start(outbox, reloader.follow(), &control.handle);
        let housekeeping = control.handle.spawn(async move { sessions.keep_house().await });
        if let Some(predecessor) = &world.predecessor {
            predecessor.may_go().map_err(Error::Predecessor)?;
        }
        listeners::give_up(given_up);
        counters.config.taken(Duration::from_millis(clock.now().as_millis()), 0, 0);
        Ok(Self {
            public,
            admin,
            internal,
            telling,
            ready,
            housekeeping,
            certificates,
            reloader,
            counters,
            control,
            lines,
        })
    }

    /// Where it listens.
    pub fn places(&self) -> &[Place] {
        self.public.places()
    }

    /// The addresses among them, with real ports.
    pub fn addrs(&self) -> &[SocketAddr] {
        self.public.addrs()
    }

    /// Where its operators' listener is.
    pub fn admin_addrs(&self) -> &[SocketAddr] {
        self.admin.addrs()
    }

    /// Where its backends' listener is, if it has one.
    pub fn internal_place(&self) -> Option<&Place> {
        self.internal.as_ref()?.places().first()
    }

    /// How its upstreams stand.
    pub fn upstreams(&self) -> Arc<Upstreams> {
        Arc::clone(&self.reloader.parts().upstreams)
    }

    /// Who puts another configuration in the place of this one.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Who keeps the certificates true to their files.
    pub fn certificates(&self) -> CertificateKeeper {
        self.certificates.clone()
    }

    /// What it has counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many tasks it has, on all of its threads.
    pub fn tasks(&self) -> usize {
        self.public.tasks()
            + self.admin.tasks()
            + self.internal.as_ref().map_or(0, Running::tasks)
            + self.control.handle.metrics().num_alive_tasks()
    }

    /// Its listening sockets, for another process to take over.
    pub fn handover(&self) -> Vec<Handover> {
        [&self.public, &self.admin].into_iter().chain(&self.internal).map(Running::handover).collect()
    }
}

/// Who had the sessions.
fn before(predecessor: Option<&Predecessor>, again: bool) -> Before<'_> {
    match predecessor {
        Some(predecessor) => Before::Another(predecessor),
        None if again => Before::Ourselves,
        None => Before::Nobody,
    }
}

/// Who looks after the certificates that the public is shown, and after those for backends.
fn certificates(parts: &Parts, backends: Option<Arc<CertificateShelf>>) -> CertificateKeeper {
    let (section, shelf) = (parts.config.server.tls.as_ref(), parts.shelf.clone());
    let public = CertificateKeeper::new(section, shelf, Arc::clone(&parts.clock), Arc::clone(&parts.counters));
    public.and(backends::certificates(parts, backends))
}

fn start_admin(
    listener: Listener,
    parts: &Parts,
    reloader: &Reloader,
    (ready, backends): (&Arc<AtomicBool>, Option<Arc<CertificateShelf>>),
) -> Result<Running, Error> {
    let options = Options {
        workers: 1,
        max_connections: ADMIN_CONNECTIONS,
        keepalive_timeout: Duration::from_secs(75),
        ..Options::from_section(&parts.config.server)
    };
    let from = BackParts {
        parts: reloader.follow(),
        addr: listener.addr().unwrap_or(parts.config.admin.listen),
        ready: Arc::clone(ready),
        backends,
        started: parts.clock.now(),
    };
    server::start(vec![listener], &options, move |_| Back::new(from.clone())).map_err(Error::Workers)
}
