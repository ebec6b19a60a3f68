//! Sessions in front of a store that is somewhere else, told with a store that does as it is told.

mod ended;
mod link;
mod lookups;
mod on_a_file;
mod races;
mod stress;
mod touches;

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use tokio::{runtime::Handle, task::JoinHandle};
use wxgate::{
    config::sections,
    model::{
        AppId, Clock, Identity, ManualClock, OpenId, Session, SessionKey, SystemEntropy, Timestamp, TokenDigest,
        UserKey,
    },
    session::{Error, Issued, SessionToken, Sessions},
    store::Store,
    telemetry::{Counters, UserTagger},
};

use crate::support::scripted::Scripted;

const IDLE: Duration = Duration::from_secs(100);
const LIFETIME: Duration = Duration::from_mins(10);
const SECOND: Duration = Duration::from_secs(1);

/// One process: what it remembers, in front of a store that others may share.
struct Instance {
    sessions: Arc<Sessions>,
    store: Arc<Scripted>,
    clock: Arc<ManualClock>,
    counters: Arc<Counters>,
}

impl Instance {
    /// The only one, on a store that it does not share.
    fn alone() -> Self {
        Self::on(&Scripted::own(), &clock(), |_| {})
    }

    fn on(store: &Arc<Scripted>, clock: &Arc<ManualClock>, change: impl FnOnce(&mut sections::Sessions)) -> Self {
        let mut section = sections::Sessions { idle: IDLE, lifetime: LIFETIME, ..Default::default() };
        change(&mut section);
        let counters = Arc::new(Counters::default());
        let tags = UserTagger::new(None, &SystemEntropy).expect("entropy");
        let (store, clock) = (Arc::clone(store), Arc::clone(clock));
        let (entropy, runtime) = (Arc::new(SystemEntropy), Handle::current());
        let sessions =
            Sessions::new(&section, store.clone(), runtime, clock.clone(), entropy, tags, Arc::clone(&counters));
        Self { sessions: Arc::new(sessions), store, clock, counters }
    }

    /// Several that share a store, linked to it.
    fn linked<const N: usize>() -> [Self; N] {
        let (store, clock) = (Scripted::shared(30 * SECOND), clock());
        let instances = std::array::from_fn(|_| Self::on(&store, &clock, |_| {}));
        store.tell(|watcher| watcher.link_restored());
        instances
    }

    /// The same process after a restart: nothing in memory.
    fn restarted(&self) -> Self {
        Self::on(&self.store, &self.clock, |_| {})
    }

    async fn login(&self, user: &UserKey) -> Issued {
        self.try_login(user).await.expect("a login")
    }

    async fn try_login(&self, user: &UserKey) -> Result<Issued, Error> {
        self.sessions.issue(Identity { user: user.clone(), unionid: None }, SessionKey::new("key")).await
    }

    async fn resolve(&self, token: &SessionToken) -> Result<Option<Arc<Session>>, Error> {
        self.sessions.resolve(token).await
    }

    async fn finds(&self, issued: &Issued) -> bool {
        self.resolve(&issued.token).await.expect("an answer").is_some()
    }

    async fn revoke(&self, issued: &Issued) {
        self.sessions.revoke(&issued.session).await.expect("an answer");
    }

    fn loads(&self) -> usize {
        self.store.asked("load")
    }

    fn later(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_790_000_000_000)))
}

fn anna() -> UserKey {
    user("o-anna")
}

fn user(openid: &str) -> UserKey {
    UserKey { app: AppId::parse("wx1").expect("an AppID"), openid: OpenId::parse(openid).expect("an openid") }
}

/// Ends a session as another process would, and tells nobody here.
async fn elsewhere_ends(instance: &Instance, issued: &Issued) {
    let (user, digest) = (&issued.session.identity().user, issued.session.digest());
    assert!(instance.store.end(user, digest, instance.now()).await.expect("an answer"));
}

/// Begins a session once more, as another process would, and tells nobody here.
async fn elsewhere_begins(instance: &Instance, issued: &Issued) {
    let key = SessionKey::new("key");
    instance.store.begin(&issued.session, &key, 0, instance.now()).await.expect("a login");
}

fn digest(issued: &Issued) -> TokenDigest {
    *issued.session.digest()
}

/// Does it beside the story.
fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    Handle::current().spawn(future)
}

/// Keeps house for an instance until the end of the story.
fn keep_house(instance: &Instance) -> JoinHandle<()> {
    let sessions = Arc::clone(&instance.sessions);
    spawn(async move { sessions.keep_house().await })
}

/// Polls once. True where it has to wait.
fn has_to_wait<F: Future + Unpin>(future: &mut F) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}
