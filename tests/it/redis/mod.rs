//! The Redis store when something is wrong with Redis: away, paused, emptied, deposed, full, or not ours to use. What it
//! does while all is well is the business of `stores/`.

mod away;
mod binaries;
mod cluster;
mod guarded;
mod index;
pub mod instances;
mod outbox;
mod page;
mod sentinel;
mod strange;
mod tunnels;

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use wxgate::{
    config::sections::Redis,
    model::{
        AppId, Identity, OpenId, SealKey, Secret, Session, SessionKey, SystemEntropy, Terms, Timestamp, TokenDigest,
        UserKey, UserTag,
    },
    store::{Error, RedisStore, Sealer, Store, Watcher},
};

use crate::support::until;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
const KEY: &str = "tiihtNczf5v6AKRyjwEUhQ==";

/// One instance: a store on a runtime of its own, and all that it has heard.
pub struct Instance {
    pub heard: Arc<Heard>,
    pub store: RedisStore,
    pub runtime: tokio::runtime::Runtime,
    begun: AtomicU32,
}

impl Instance {
    /// One that is linked.
    pub fn of(section: &Redis) -> Self {
        let instance = Self::unlinked(section);
        assert!(instance.store.wait_until_linked(Duration::from_secs(20)), "no link");
        instance
    }

    /// One that may never be.
    pub fn unlinked(section: &Redis) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let key = SealKey::parse(&Secret::new("5e".repeat(32))).unwrap();
        let sealer = Arc::new(Sealer::new(&key, &[], Arc::new(SystemEntropy)));
        let store = RedisStore::open(section, sealer, Arc::new(SystemEntropy), runtime.handle()).unwrap();
        let heard = Arc::new(Heard::default());
        store.follow(Arc::clone(&heard) as Arc<dyn Watcher>);
        Self { heard, store, runtime, begun: AtomicU32::new(0) }
    }

    pub fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }

    /// A session that has not begun yet.
    pub fn session(&self, openid: &str) -> Arc<Session> {
        self.session_at(openid, NOW)
    }

    /// The same for another time than now.
    pub fn session_at(&self, openid: &str, at: Timestamp) -> Arc<Session> {
        let user = user(openid);
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let mut digest = [0x5a; 32];
        digest[0] = self.store.shard_of(&user).unwrap();
        digest[1..5].copy_from_slice(&number.to_be_bytes());
        digest[5..5 + openid.len()].copy_from_slice(openid.as_bytes());
        let terms = Terms { idle: Duration::from_hours(1), lifetime: Duration::from_hours(10) };
        let identity = Identity { user, unionid: None };
        Arc::new(Session::begin(identity, TokenDigest::new(digest), UserTag::new([1; 8]), terms, at))
    }

    pub fn begin(&self, session: &Arc<Session>) -> Result<Vec<TokenDigest>, Error> {
        self.wait(self.store.begin(session, &SessionKey::new(KEY), 0, NOW))
    }

    pub fn login(&self, openid: &str) -> Arc<Session> {
        let session = self.session(openid);
        self.begin(&session).expect("a login");
        session
    }

    pub fn load(&self, session: &Session) -> Result<Option<Arc<Session>>, Error> {
        self.wait(self.store.load(session.digest(), NOW))
    }

    /// Whether it is found by this instance.
    pub fn finds(&self, session: &Session) -> bool {
        self.load(session).expect("an answer").is_some()
    }

    pub fn end(&self, session: &Session) -> Result<bool, Error> {
        self.wait(self.store.end(&session.identity().user, session.digest(), NOW))
    }

    /// Waits until calls are answered again.
    pub fn until_it_answers(&self) {
        until("an answer from Redis", || self.wait(self.store.check()).ok());
    }
}

pub fn user(openid: &str) -> UserKey {
    UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse(openid).unwrap() }
}

/// The name under which Redis has this session.
pub fn key_of(session: &Session) -> String {
    let hex: String = session.digest().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("wxg:s:{{{:02o}}}:{hex}", session.digest().shard())
}

/// Nothing is known, and that is all that is said: neither that a session is over nor that it is not.
pub fn is_unavailable<T: std::fmt::Debug>(answer: &Result<T, Error>) {
    assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
}

/// The error with all that caused it.
pub fn told<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    let error = answer.expect_err("an error");
    let mut text = error.to_string();
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// What a watcher was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Changed([u8; 32]),
    AllChanged,
    Lost,
    Restored,
}

#[derive(Debug, Default)]
pub struct Heard(Mutex<Vec<News>>);

impl Heard {
    /// All of it, which is then forgotten.
    pub fn take(&self) -> Vec<News> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until these came, in this order, whatever came between.
    pub fn until(&self, expected: &[News]) {
        until(&format!("{expected:?}"), || {
            let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let mut left = heard.iter();
            expected.iter().all(|news| left.any(|heard| heard == news)).then_some(())
        });
    }

    fn hear(&self, news: News) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(news);
    }
}

impl Watcher for Heard {
    fn changed(&self, digest: &TokenDigest) {
        self.hear(News::Changed(*digest.as_bytes()));
    }

    fn all_changed(&self) {
        self.hear(News::AllChanged);
    }

    fn link_lost(&self) {
        self.hear(News::Lost);
    }

    fn link_restored(&self) {
        self.hear(News::Restored);
    }
}

pub fn changed(session: &Session) -> News {
    News::Changed(*session.digest().as_bytes())
}
