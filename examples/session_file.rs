//! What a session in a SQLite file costs: durable logins per second and how long each takes, look-ups that memory can't
//! answer, bytes on disk, and how long a file with many sessions takes to open.
//!
//! ```text
//! cargo run --release --example session_file -- --folder /var/tmp --sessions 10000000
//! ```
//!
//! What the disk does decides the first figures: put `--folder` where the gateway's file would be. A folder in memory
//! measures something else.

#![expect(clippy::print_stdout, reason = "what it finds out is for whoever has started it")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use clap::Parser;
use tokio::{task::JoinSet, time::Instant};
use wxgate::{
    model::{
        AppId, Clock, Entropy, Identity, OpenId, SealKey, Session, SessionKey, SystemClock, SystemEntropy, Terms,
        Timestamp, TokenDigest, UserKey, UserTag,
    },
    store::{Sealer, Sqlite, Store},
};

/// Look-ups that are measured one by one.
const LOOK_UPS: u32 = 20_000;

#[derive(Debug, Parser)]
struct Args {
    /// Where the file is made; it goes at the end
    #[arg(long)]
    folder: PathBuf,
    /// How many sessions the file is filled with
    #[arg(long, default_value_t = 1_000_000)]
    sessions: u32,
    /// How long each round of logins lasts
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    round: Duration,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir_in(&args.folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let path = folder.path().join("wxgate.db");
    let key = SealKey::generate(&SystemEntropy)?;
    let open = || Sqlite::open(&path, Arc::new(Sealer::new(&key, &[], Arc::new(SystemEntropy))));
    let world = Arc::new(World { next: AtomicU32::new(0), now: SystemClock.now() });

    runtime.block_on(async {
        let store = Arc::new(open()?);
        println!("  clients |  logins/s |       p50 |       p99 |     p99.9 |   longest");
        for clients in [1, 64, 1000] {
            logins(&store, &world, clients, args.round).await?;
        }
        fill(&store, &world, args.sessions).await?;
        println!("\nthe same in a file with {} sessions", world.next.load(Ordering::Relaxed));
        for clients in [1, 64, 1000] {
            logins(&store, &world, clients, args.round).await?;
        }
        anyhow::Ok(())
    })?;

    let sessions = world.next.load(Ordering::Relaxed);
    let bytes = fs::metadata(&path)?.len();
    println!("\n{sessions} sessions of as many users in {} bytes each", bytes / u64::from(sessions));
    let begun = Instant::now();
    let store = open()?;
    println!("opened in {:?}", begun.elapsed());
    runtime.block_on(look_ups(&Arc::new(store), &world, &path))
}

/// Sessions that are told apart by their number.
struct World {
    next: AtomicU32,
    now: Timestamp,
}

impl World {
    fn session(&self, number: u32) -> anyhow::Result<Arc<Session>> {
        let user = UserKey {
            app: AppId::parse("wx4f4bc4dec97d474b")?,
            openid: OpenId::parse(&format!("o{:027x}", scattered(number, 1)))?,
        };
        let terms = Terms { idle: Duration::from_hours(24), lifetime: Duration::from_hours(168) };
        let identity = Identity { user, unionid: None };
        let tag = UserTag::new(scattered(number, 2).to_be_bytes());
        Ok(Arc::new(Session::begin(identity, digest(number), tag, terms, self.now)))
    }

    async fn login(&self, store: &Sqlite) -> anyhow::Result<()> {
        let session = self.session(self.next.fetch_add(1, Ordering::Relaxed))?;
        store.begin(&session, &SessionKey::new("tiihtNczf5v6AKRyjwEUhQ=="), 0, self.now).await?;
        Ok(())
    }
}

fn digest(number: u32) -> TokenDigest {
    let mut bytes = [0; 32];
    for (part, chunk) in (3..).zip(bytes.chunks_exact_mut(8)) {
        chunk.copy_from_slice(&scattered(number, part).to_be_bytes());
    }
    TokenDigest::new(bytes)
}

/// The same 64 bits for the same number each time, as evenly spread as a hash of it.
fn scattered(number: u32, part: u64) -> u64 {
    let mut bits = (u64::from(number) << 8 | part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// So many clients log in again and again; each waits for its answer before it comes back.
async fn logins(store: &Arc<Sqlite>, world: &Arc<World>, clients: u32, round: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (store, world) = (Arc::clone(store), Arc::clone(world));
        tasks.spawn(async move {
            let mut took = Vec::new();
            while begun.elapsed() < round {
                let asked = Instant::now();
                world.login(&store).await?;
                took.push(asked.elapsed());
            }
            anyhow::Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(client) = tasks.join_next().await {
        took.extend(client??);
    }
    let per_second = u128::try_from(took.len())? * 1000 / begun.elapsed().as_millis();
    let [p50, p99, p999, longest] = percentiles(took);
    println!("{clients:>9} | {per_second:>9} | {p50:>9.2?} | {p99:>9.2?} | {p999:>9.2?} | {longest:>9.2?}");
    Ok(())
}

async fn fill(store: &Arc<Sqlite>, world: &Arc<World>, until: u32) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for _ in 0..2000 {
        let (store, world) = (Arc::clone(store), Arc::clone(world));
        tasks.spawn(async move {
            while world.next.load(Ordering::Relaxed) < until {
                world.login(&store).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = tasks.join_next().await {
        client??;
    }
    Ok(())
}

/// Sessions drawn at random, one after the other, as a cache would ask for them.
async fn look_ups(store: &Arc<Sqlite>, world: &Arc<World>, path: &Path) -> anyhow::Result<()> {
    // So that the file is in the system's cache, and only there.
    fs::read(path)?;
    let mut took = Vec::new();
    for _ in 0..LOOK_UPS {
        let asked = Instant::now();
        look_up(store, world).await?;
        took.push(asked.elapsed());
    }
    let [p50, p99, _, longest] = percentiles(took);
    println!("a look-up takes {p50:.1?}, p99 {p99:.1?}, at most {longest:.1?}, with two hand-overs between threads");
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let (store, world) = (Arc::clone(store), Arc::clone(world));
        tasks.spawn(async move {
            for _ in 0..LOOK_UPS / 64 {
                look_up(&store, &world).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = tasks.join_next().await {
        client??;
    }
    println!("{:.1?} each when 64 are wanted at once", begun.elapsed() / LOOK_UPS);
    let begun = Instant::now();
    let recent = store.recent(100_000, world.now).await?.len();
    println!("the {recent} most recent read in {:?}", begun.elapsed());
    Ok(())
}

async fn look_up(store: &Sqlite, world: &World) -> anyhow::Result<()> {
    let mut random = [0; 4];
    SystemEntropy.fill(&mut random)?;
    let digest = digest(u32::from_le_bytes(random) % world.next.load(Ordering::Relaxed));
    anyhow::ensure!(store.load(&digest, world.now).await?.is_some(), "a session is missing");
    Ok(())
}

/// The median, that of one in a hundred, that of one in a thousand, and the longest.
fn percentiles(mut took: Vec<Duration>) -> [Duration; 4] {
    took.sort_unstable();
    let at = |permille: usize| took.get(took.len() * permille / 1000).copied().unwrap_or_default();
    [at(500), at(990), at(999), took.last().copied().unwrap_or_default()]
}
