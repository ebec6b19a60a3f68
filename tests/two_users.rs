//! The story that all others are for: whoever does whatever, in whatever spelling and however often, nobody is ever taken
//! for somebody else, and nobody who has logged out is taken for anybody.
//!
//! Each request says in its path for whom the backend has to be told it comes, so the backend judges on the spot. The
//! callers know which of their tokens are dead, and that each answer is the answer to their own request.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![expect(clippy::print_stdout, reason = "the seed has to be told before anything can go wrong")]

#[path = "two_users/backend.rs"]
mod backend;
#[path = "two_users/caller.rs"]
mod caller;
#[path = "two_users/forgery.rs"]
mod forgery;
#[path = "two_users/request.rs"]
mod request;
#[path = "lean/wire.rs"]
mod wire;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};
use wxgate::{
    app::{App, World},
    config,
    model::{Entropy, ManualClock, SystemEntropy, Timestamp},
    server,
    simulator::{Options, Simulator},
};

use self::{
    backend::Backend,
    caller::{Caller, act_names},
    request::{Sent, send},
    wire::Wire,
};

const APP: &str = "wx4f4bc4dec97d474b";
const OTHER_APP: &str = "wx00000000000other";
const SECRET: &str = "the secret of both apps";

const REQUESTS: u64 = 1_000_000;
const CALLERS: usize = 200;
const THREADS: usize = 25;
/// Between two of them the clock moves.
const ROUNDS: u64 = 40;

/// Somebody.
#[derive(Clone)]
struct Who {
    app: &'static str,
    openid: String,
    unionid: Option<String>,
}

/// Neighbours are of different apps, and some of them share an openid: only together with the app it means somebody.
fn cast() -> Arc<[Who]> {
    let who = |number: usize| Who {
        app: [APP, OTHER_APP][number % 2],
        openid: format!("oUser-{}", if number % 8 < 2 { number - number % 2 } else { number }),
        unionid: number.is_multiple_of(3).then(|| format!("uUser-{number}")),
    };
    (0..CALLERS).map(who).collect()
}

/// What went wrong.
#[derive(Default)]
struct Complaints {
    first: Mutex<Vec<String>>,
    count: AtomicU64,
}

impl Complaints {
    fn add(&self, what: String) {
        if self.count.fetch_add(1, Ordering::SeqCst) < 10 {
            self.first.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }
}

/// Where it plays.
struct Scene<'a> {
    gateway: SocketAddr,
    wechat: &'a Simulator,
    clock: &'a ManualClock,
    complaints: &'a Complaints,
}

#[test]
fn nobody_is_ever_taken_for_somebody_else() {
    server::raise_file_limit();
    let seed = option_env!("TWO_USERS_SEED").map_or_else(any_seed, |text| text.parse().unwrap());
    println!("TWO_USERS_SEED={seed}");
    let (cast, complaints) = (cast(), Arc::<Complaints>::default());
    let backend = Backend::start(Arc::clone(&cast), Arc::clone(&complaints));
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_790_000_000_000)));
    let options = Options::on_free_port().with_app(APP, SECRET).with_app(OTHER_APP, SECRET);
    let wechat = Simulator::start(Options { clock: clock.clone(), ..options }).unwrap();
    let app = start(&wechat, &backend, &clock);
    let scene = Scene { gateway: app.addrs()[0], wechat: &wechat, clock: &clock, complaints: &complaints };
    let mut callers: Vec<Caller> = cast.iter().enumerate().map(|(n, who)| Caller::new(n, who, seed)).collect();
    let mut rng = SmallRng::seed_from_u64(seed);
    for round in 1..=ROUNDS {
        let due = REQUESTS * round / ROUNDS / CALLERS as u64;
        thread::scope(|scope| {
            for group in callers.chunks_mut(CALLERS / THREADS) {
                let (scene, rng) = (&scene, SmallRng::seed_from_u64(rng.next_u64()));
                scope.spawn(move || play(group, due, scene, rng));
            }
        });
        // Nothing is under way, so everybody knows what the step did to their tokens. The last one ends most of them.
        clock.advance(Duration::from_hours([1, 5, 11, 23, 24][rng.random_range(0..5)]));
    }
    let first = complaints.first.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(*first, Vec::<String>::new(), "{} complaints, seed {seed}", complaints.count());
    drop(first);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(app.stop(std::future::ready(()))).unwrap();
    review(&callers, &backend);
}

/// A group takes turns until each has sent what is due.
fn play(group: &mut [Caller], due: u64, scene: &Scene<'_>, mut rng: SmallRng) {
    let mut shared = None;
    while let Some(caller) = group.iter_mut().filter(|caller| caller.sent < due).min_by_key(|caller| caller.sent) {
        let outcome = caller.act(scene);
        let relayed = if rng.random_ratio(1, 20) { relay(group, scene, &mut shared, &mut rng) } else { Ok(()) };
        if let Err(what) = outcome.and(relayed) {
            scene.complaints.add(what);
        }
        if scene.complaints.count() > 0 {
            return;
        }
    }
}

/// Requests of several callers on one connection, all sent before the first answer is read, as a layer in front of the
/// gateway may do.
fn relay(group: &mut [Caller], scene: &Scene<'_>, shared: &mut Option<Wire>, rng: &mut SmallRng) -> Result<(), String> {
    let mut wire = match shared.take() {
        Some(wire) => wire,
        None => Wire::connect(scene.gateway).map_err(|error| format!("no connection: {error}"))?,
    };
    let mut bytes = Vec::new();
    let mut all: Vec<(Sent, String)> = Vec::new();
    for _ in 0..rng.random_range(2..8) {
        let caller = &mut group[rng.random_range(0..CALLERS / THREADS)];
        all.push((caller.write_any(scene, &mut bytes), caller.openid().to_owned()));
    }
    send(&mut wire, &bytes);
    for (sent, openid) in &all {
        sent.check(&mut wire, openid).map_err(|what| format!("relayed: {what}"))?;
    }
    *shared = Some(wire);
    Ok(())
}

/// A story in which nothing happened would have nothing to say.
fn review(callers: &[Caller], backend: &Backend) {
    let sent: u64 = callers.iter().map(|caller| caller.sent).sum();
    assert!(sent >= REQUESTS, "{sent} requests");
    for (at, act) in act_names().enumerate() {
        let times: u64 = callers.iter().map(|caller| caller.acts[at]).sum();
        assert!(times >= REQUESTS / 1000, "{act:?} {times} times");
    }
    let (identified, anonymous) = backend.seen();
    println!("{sent} requests; the backend has seen {identified} of somebody and {anonymous} of nobody");
    assert!(identified > REQUESTS / 2 && anonymous > REQUESTS / 20, "{identified} and {anonymous}");
}

fn any_seed() -> u64 {
    let mut bytes = [0; 8];
    SystemEntropy.fill(&mut bytes).unwrap();
    u64::from_ne_bytes(bytes)
}

fn start(wechat: &Simulator, backend: &Backend, clock: &Arc<ManualClock>) -> App {
    let text = CONFIG.replace("{API_BASE}", &wechat.api_base()).replace("{BACKEND}", &backend.addr.to_string());
    let config = config::parse(&text, "gateway.toml", &|_| None, &|_| Err(io::ErrorKind::NotFound.into()));
    let clock = Arc::clone(clock);
    let world = World { clock, access_log: Box::new(io::sink()), ..World::default() };
    App::start(config.unwrap().config, world).unwrap()
}

const CONFIG: &str = r#"
[server]
listen = ["127.0.0.1:0"]
workers = 2

[admin]
listen = "127.0.0.1:0"

[[apps]]
app_id = "wx4f4bc4dec97d474b"
secret = "the secret of both apps"
api_base = "{API_BASE}"

[[apps]]
app_id = "wx00000000000other"
secret = "the secret of both apps"
api_base = "{API_BASE}"

[limits]
verify_per_ip = "1000000/min"

[[upstreams]]
name = "app"
servers = ["http://{BACKEND}"]

[[routes]]
path = "/"
upstream = "app"

[[routes]]
path = "/maybe/"
upstream = "app"
auth = "optional"

[[routes]]
path = "/public/"
upstream = "app"
auth = "none"

[[routes]]
path = "/stripped/"
upstream = "app"
strip_prefix = true

[[routes]]
path = "/fenced/"
upstream = "app"
apps = ["wx4f4bc4dec97d474b"]
"#;
