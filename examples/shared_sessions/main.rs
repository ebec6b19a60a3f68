//! What sessions in Redis cost: how long after a log-out at one gateway another refuses, logins and cold look-ups per
//! second, and bytes in Redis.
//!
//! ```text
//! cargo run --release --example shared_sessions -- --sessions 1000000
//! ```
//!
//! It starts a redis-server of its own on the loopback, without a file, and stops it at the end. On one machine the server
//! and whoever asks it share the cores, so the figures are lower than with a server elsewhere, and its distance is missing.

#![expect(clippy::print_stdout, reason = "what it finds out is for whoever has started it")]

mod revocation;
mod server;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::Parser;
use tokio::{task::JoinSet, time::Instant};
use wxgate::{
    config::sections::{Redis, RedisServers},
    model::{
        AppId, Clock, Identity, OpenId, SealKey, Session, SessionKey, SystemClock, SystemEntropy, Terms, Timestamp,
        TokenDigest, UserKey, UserTag,
    },
    store::{RedisStore, Sealer, Store},
};

use server::Server;

#[derive(Debug, Parser)]
struct Args {
    /// How many sessions, of as many users, Redis is filled with
    #[arg(long, default_value_t = 200_000)]
    sessions: u64,
    /// How long each round lasts
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    round: Duration,
    /// How many log-outs are followed
    #[arg(long, default_value_t = 2000)]
    log_outs: u32,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let server = Server::start()?;
    let section = Redis::new(RedisServers::One(server.endpoint()));
    let key = SealKey::generate(&SystemEntropy)?;
    // As in a gateway: one thread for everything that is not the path of a request.
    let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let sealer = Arc::new(Sealer::new(&key, &[], Arc::new(SystemEntropy)));
    let store = RedisStore::open(&section, sealer, Arc::new(SystemEntropy), control.handle())?;
    anyhow::ensure!(store.wait_until_linked(Duration::from_secs(5)), "no link to Redis");
    let world = Arc::new(World { store, begun: AtomicU64::new(0), now: SystemClock.now() });

    let callers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    callers.block_on(async {
        let heads = ["clients", "", "a second", "failed", "p50", "p99", "longest"];
        println!("{}", heads.map(|head| format!("{head:>9}")).join(" | "));
        for clients in [1, 64, 1000] {
            round("logins", clients, args.round, &world, World::login).await?;
        }
        server.empty()?;
        world.begun.store(0, Ordering::Relaxed);
        let before = server.memory("used_memory")?;
        fill(&world, args.sessions).await?;
        let taken = server.memory("used_memory")? - before;
        println!("\n{} sessions of as many users: {} bytes each in Redis", args.sessions, taken / args.sessions);
        for (what, bytes) in server.parts()? {
            println!("{what:>12}: {bytes} bytes");
        }
        println!();
        for clients in [1, 64, 1000] {
            round("look-ups", clients, args.round, &world, World::look_up).await?;
        }
        anyhow::Ok(())
    })?;
    drop(world);
    server.empty()?;
    revocation::measure(&section, &key, args.log_outs)
}

/// What all callers share.
struct World {
    store: RedisStore,
    begun: AtomicU64,
    now: Timestamp,
}

impl World {
    fn user(number: u64) -> anyhow::Result<UserKey> {
        let openid = format!("oGZUI0egBJY1zhBYw2K{number:09}");
        Ok(UserKey { app: AppId::parse("wx4f4bc4dec97d474b")?, openid: OpenId::parse(&openid)? })
    }

    fn digest(&self, user: &UserKey, number: u64) -> TokenDigest {
        // Spread as a hash is; what it is of does not matter here.
        let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut digest = [0; 32];
        for (at, chunk) in (0_u32..).zip(digest.chunks_exact_mut(8)) {
            chunk.copy_from_slice(&mixed.rotate_left(13 * at).to_be_bytes());
        }
        digest[0] = self.store.shard_of(user).unwrap_or_default();
        TokenDigest::new(digest)
    }

    async fn login(self: Arc<Self>, _: u64) -> anyhow::Result<()> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let user = Self::user(number)?;
        let digest = self.digest(&user, number);
        let terms = Terms { idle: Duration::from_hours(24), lifetime: Duration::from_hours(24 * 7) };
        let identity = Identity { user, unionid: None };
        let session = Arc::new(Session::begin(identity, digest, UserTag::new([7; 8]), terms, self.now));
        let key = SessionKey::new("tiihtNczf5v6AKRyjwEUhQ==");
        self.store.begin(&session, &key, 0, self.now).await?;
        Ok(())
    }

    async fn look_up(self: Arc<Self>, nth: u64) -> anyhow::Result<()> {
        let number = nth.wrapping_mul(2_654_435_761) % self.begun.load(Ordering::Relaxed);
        let digest = self.digest(&Self::user(number)?, number);
        let found = self.store.load(&digest, self.now).await?;
        anyhow::ensure!(found.is_some(), "session {number} is not there");
        Ok(())
    }
}

async fn fill(world: &Arc<World>, sessions: u64) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for at in 0..256 {
        let (world, share) = (Arc::clone(world), sessions / 256 + u64::from(at < sessions % 256));
        tasks.spawn(async move {
            for _ in 0..share {
                Arc::clone(&world).login(0).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Lets so many do it again and again, and says how long it took them.
async fn round<F>(
    what: &str,
    clients: u64,
    lasts: Duration,
    world: &Arc<World>,
    call: fn(Arc<World>, u64) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let (begun, mut tasks) = (Instant::now(), JoinSet::new());
    for client in 0..clients {
        let world = Arc::clone(world);
        tasks.spawn(async move {
            let (mut took, mut failed) = (Vec::new(), 0);
            while begun.elapsed() < lasts {
                let before = Instant::now();
                match call(Arc::clone(&world), client * 1_000_003 + took.len() as u64).await {
                    Ok(()) => took.push(before.elapsed()),
                    Err(_) => failed += 1,
                }
            }
            (took, failed)
        });
    }
    let (mut all, mut failed) = (Vec::new(), 0);
    while let Some(done) = tasks.join_next().await {
        let (took, more) = done?;
        all.extend(took);
        failed += more;
    }
    let rate = f64::from(u32::try_from(all.len())?) / begun.elapsed().as_secs_f64();
    let [p50, p99, longest] = spread(&mut all);
    println!("{clients:>9} | {what:>9} | {rate:>9.0} | {failed:>9} | {p50:>9.0?} | {p99:>9.0?} | {longest:>9.0?}");
    Ok(())
}

/// The middle, the 99th of a hundred, and the last.
fn spread(all: &mut [Duration]) -> [Duration; 3] {
    all.sort_unstable();
    let at = |part: usize| all.get(all.len() * part / 100).or(all.last()).copied().unwrap_or_default();
    [at(50), at(99), at(100)]
}
