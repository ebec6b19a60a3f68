//! The same sessions in Redis, as wxgate keeps them there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use wxgate::{
    config::sections::{Redis, RedisServers},
    model::{Clock, SealKey, Session, SystemClock, SystemEntropy, Terms, Timestamp, TokenDigest, UserTag},
    store::{RedisStore, Sealer, Store},
};

use super::{identity, server::Server, session_key};

/// So many logins are under way at once.
const AT_ONCE: u64 = 256;

pub(super) fn measure(sessions: u64) -> anyhow::Result<()> {
    let server = Server::start()?;
    let key = SealKey::generate(&SystemEntropy)?;
    let sealer = Arc::new(Sealer::new(&key, &[], Arc::new(SystemEntropy)));
    let section = Redis::new(RedisServers::One(server.endpoint()));
    let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let store = RedisStore::open(&section, sealer, Arc::new(SystemEntropy), control.handle())?;
    anyhow::ensure!(store.wait_until_linked(Duration::from_secs(5)), "no link to Redis");
    let world = Arc::new(World { store, next: AtomicU64::new(0), sessions, now: SystemClock.now() });

    // Its tables begin at their smallest.
    server.empty()?;
    let before = taken(&server)?;
    let callers = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    callers.block_on(fill(&world))?;
    let after = taken(&server)?;
    let [used, resident] = [0, 1].map(|at| after[at].saturating_sub(before[at]));
    println!("the same in Redis: {} MiB, {} bytes each by used_memory", used >> 20, used / sessions);
    println!("by which its process grew: {} MiB, {} bytes each", resident >> 20, resident / sessions);
    for (what, bytes) in server.parts()? {
        println!("{what:>12}: {bytes} bytes");
    }
    Ok(())
}

/// What its data takes, and what its process has.
fn taken(server: &Server) -> anyhow::Result<[u64; 2]> {
    Ok([server.memory("used_memory")?, server.memory("used_memory_rss")?])
}

struct World {
    store: RedisStore,
    next: AtomicU64,
    sessions: u64,
    now: Timestamp,
}

async fn fill(world: &Arc<World>) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let world = Arc::clone(world);
        tasks.spawn(async move {
            loop {
                let number = world.next.fetch_add(1, Ordering::Relaxed);
                if number >= world.sessions {
                    return anyhow::Ok(());
                }
                world.login(number).await?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

impl World {
    async fn login(&self, number: u64) -> anyhow::Result<()> {
        let identity = identity(number)?;
        // Spread as a hash is; what it is of does not matter here.
        let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut digest = [0; 32];
        for (at, chunk) in (0_u32..).zip(digest.chunks_exact_mut(8)) {
            chunk.copy_from_slice(&mixed.rotate_left(13 * at).to_be_bytes());
        }
        digest[0] = self.store.shard_of(&identity.user).unwrap_or_default();
        let terms = Terms { idle: Duration::from_hours(24), lifetime: Duration::from_hours(24 * 7) };
        let (digest, tag) = (TokenDigest::new(digest), UserTag::new(mixed.to_be_bytes()));
        let session = Arc::new(Session::begin(identity, digest, tag, terms, self.now));
        self.store.begin(&session, &session_key(), 0, self.now).await?;
        Ok(())
    }
}
