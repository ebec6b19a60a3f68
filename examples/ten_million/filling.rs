//! A file full of sessions, each begun by a login.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{task::JoinSet, time::Instant};
use wxgate::{
    config::sections,
    model::{AppId, Identity, OpenId, SessionKey, SystemClock, SystemEntropy, UserKey},
    session::{Error, Issued, SessionToken, Sessions},
    store::{Sealer, Sqlite, make_key_file},
    telemetry::UserTagger,
};

use super::gateway::APP;

/// Logins under way at once: enough for groups of the largest size, few enough that none waits for more than a few of them.
const AT_ONCE: usize = 1500;

/// So often it says how far it is.
const REPORT: u64 = 1_000_000;

/// Makes `wxgate.db` and its `seal.key` in a folder. Tokens of `kept` of the sessions, which lie evenly among the others.
pub(super) fn fill(folder: &Path, sessions: u64, kept: u64) -> anyhow::Result<Vec<SessionToken>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let file = folder.join("wxgate.db");
    let key = make_key_file(&folder.join("seal.key"), &file, &SystemEntropy)?;
    let store = Sqlite::open(&file, Arc::new(Sealer::new(&key, &[], Arc::new(SystemEntropy))))?;
    // Nobody looks them up here.
    let section = sections::Sessions { capacity: 1, ..Default::default() };
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let tags = UserTagger::new(None, &SystemEntropy)?;
    let handle = runtime.handle().clone();
    let filling = Filling {
        sessions: Sessions::new(&section, Arc::new(store), handle, clock, entropy, tags, Arc::default()),
        next: AtomicU64::new(0),
        wanted: sessions,
        kept,
        tokens: Mutex::new(Vec::with_capacity(usize::try_from(kept.min(sessions))?)),
        begun: Instant::now(),
    };
    let filling = Arc::new(filling);
    runtime.block_on(async {
        let mut tasks: JoinSet<_> = (0..AT_ONCE).map(|_| Arc::clone(&filling).work()).collect();
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    })?;
    filling.report(sessions);
    let mut tokens = filling.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *tokens))
}

struct Filling {
    sessions: Sessions,
    next: AtomicU64,
    wanted: u64,
    kept: u64,
    tokens: Mutex<Vec<SessionToken>>,
    begun: Instant,
}

impl Filling {
    async fn work(self: Arc<Self>) -> anyhow::Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.wanted {
                return Ok(());
            }
            let openid = OpenId::parse(&format!("o{:027x}", scattered(number)))?;
            let identity = Identity { user: UserKey { app: AppId::parse(APP)?, openid }, unionid: None };
            let issued = self.login(identity).await?;
            if self.keeps(number) {
                self.tokens.lock().unwrap_or_else(PoisonError::into_inner).push(issued.token);
            }
            if number > 0 && number.is_multiple_of(REPORT) {
                self.report(number);
            }
        }
    }

    /// Logs in, and once more where the disk was too slow for somebody who waits. Both may have happened then.
    async fn login(&self, identity: Identity) -> Result<Issued, Error> {
        let key = || SessionKey::new("tiihtNczf5v6AKRyjwEUhQ==");
        match self.sessions.issue(identity.clone(), key()).await {
            Err(Error::StoreUnavailable(_)) => self.sessions.issue(identity, key()).await,
            issued => issued,
        }
    }

    fn keeps(&self, number: u64) -> bool {
        let kept_of = |sessions: u64| u128::from(sessions) * u128::from(self.kept) / u128::from(self.wanted);
        kept_of(number) < kept_of(number + 1)
    }

    fn report(&self, number: u64) {
        let took = self.begun.elapsed();
        let per_second = u128::from(number) * 1000 / took.as_millis().max(1);
        println!("{number} logins in {} s, {per_second} a second", took.as_secs());
    }
}

/// The same 64 bits for the same number each time, as evenly spread as a hash of it, and others for each other number.
fn scattered(number: u64) -> u64 {
    let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
