//! A store that does as a story says: it stops at chosen points, fails, forgets to tell, and counts what it is asked.
//!
//! Behind it is memory; but like a file or a server it gives out copies, so that what happens to one copy of a session is
//! not seen in another.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;
use wxgate::{
    model::{Session, SessionKey, Terms, Timestamp, TokenDigest, UserKey},
    store::{
        Answer, Claim, Claimed, Error, Fate, Memory, Posting, ProfileRecord, Removed, Seen, Store, Waiting, Watcher,
        Written,
    },
};

/// Where a store can stop: before it does what it is asked for, or after, before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    LoadAsked,
    LoadDone,
    BeginDone,
    EndDone,
    EndUserDone,
    RecentDone,
    CountAsked,
    ProfileDone,
}

#[derive(Default)]
pub struct Scripted {
    behind: Memory,
    gates: Mutex<HashMap<Point, Arc<Gate>>>,
    asked: Mutex<HashMap<&'static str, usize>>,
    is_away: AtomicBool,
    watchers: Mutex<Vec<Arc<dyn Watcher>>>,
    /// What each look-up does in the middle.
    meanwhile: Mutex<Option<Box<dyn Fn() + Send>>>,
    written: Mutex<Vec<Seen>>,
    stale_for: Option<Duration>,
}

/// Where somebody has been stopped.
pub struct Gate {
    came: Semaphore,
    may_go: Semaphore,
}

impl Gate {
    /// Waits until somebody is here.
    pub async fn reached(&self) {
        self.came.acquire().await.expect("open").forget();
    }

    /// Lets whoever is here, or comes, go on.
    pub fn open(&self) {
        self.may_go.add_permits(1_000);
    }
}

impl Scripted {
    /// A store of this process alone.
    pub fn own() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// A store that several share, with links that have yet to be made.
    pub fn shared(stale_for: Duration) -> Arc<Self> {
        Arc::new(Self { stale_for: Some(stale_for), ..Self::default() })
    }

    /// Stops whoever comes to this point.
    pub fn stop_at(&self, point: Point) -> Arc<Gate> {
        let gate = Arc::new(Gate { came: Semaphore::new(0), may_go: Semaphore::new(0) });
        self.gates.lock().unwrap().insert(point, Arc::clone(&gate));
        gate
    }

    /// From now on each look-up does this between its question and its answer.
    pub fn meanwhile(&self, act: impl Fn() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(act));
    }

    pub fn go_away(&self) {
        self.is_away.store(true, Ordering::SeqCst);
    }

    pub fn come_back(&self) {
        self.is_away.store(false, Ordering::SeqCst);
    }

    /// How often it was asked to do this.
    pub fn asked(&self, what: &str) -> usize {
        self.asked.lock().unwrap().get(what).copied().unwrap_or_default()
    }

    /// The uses that were written down.
    pub fn written(&self) -> Vec<Seen> {
        self.written.lock().unwrap().clone()
    }

    /// Tells everybody who follows.
    pub fn tell(&self, what: impl Fn(&dyn Watcher)) {
        let watchers = self.watchers.lock().unwrap().clone();
        for watcher in &watchers {
            what(&**watcher);
        }
    }

    async fn pass(&self, point: Point) {
        let gate = self.gates.lock().unwrap().get(&point).cloned();
        if let Some(gate) = gate {
            gate.came.add_permits(1);
            gate.may_go.acquire().await.expect("open").forget();
        }
    }

    fn note(&self, what: &'static str) -> Result<(), Error> {
        *self.asked.lock().unwrap().entry(what).or_default() += 1;
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Error::Unavailable(Arc::new(std::io::Error::other("the cable is cut"))));
        }
        Ok(())
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

fn copy(session: &Arc<Session>) -> Arc<Session> {
    let terms = Terms { idle: session.idle(), lifetime: session.lifetime() };
    let (identity, digest, tag) = (session.identity().clone(), *session.digest(), session.tag());
    Arc::new(Session::restore(identity, digest, tag, terms, session.created_at(), session.last_seen()))
}

impl Store for Scripted {
    fn begin<'a>(
        &'a self,
        session: &'a Arc<Session>,
        key: &'a SessionKey,
        per_user: usize,
        now: Timestamp,
    ) -> Answer<'a, Vec<TokenDigest>> {
        Box::pin(async move {
            self.note("begin")?;
            let displaced = self.behind.begin(&copy(session), key, per_user, now).await?;
            self.pass(Point::BeginDone).await;
            Ok(displaced)
        })
    }

    fn load<'a>(&'a self, digest: &'a TokenDigest, now: Timestamp) -> Answer<'a, Option<Arc<Session>>> {
        Box::pin(async move {
            self.note("load")?;
            self.pass(Point::LoadAsked).await;
            let found = self.behind.load(digest, now).await?.as_ref().map(copy);
            if let Some(act) = &*self.meanwhile.lock().unwrap() {
                act();
            }
            self.pass(Point::LoadDone).await;
            Ok(found)
        })
    }

    fn end<'a>(&'a self, user: &'a UserKey, digest: &'a TokenDigest, now: Timestamp) -> Answer<'a, bool> {
        Box::pin(async move {
            self.note("end")?;
            let ended = self.behind.end(user, digest, now).await?;
            self.pass(Point::EndDone).await;
            // Gone away meanwhile, it has done what it does not say.
            self.note("end answered").map(|()| ended)
        })
    }

    fn end_user<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Vec<TokenDigest>> {
        Box::pin(async move {
            self.note("end_user")?;
            let ended = self.behind.end_user(user, now).await?;
            self.pass(Point::EndUserDone).await;
            Ok(ended)
        })
    }

    fn sessions_of<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Vec<Arc<Session>>> {
        Box::pin(async move {
            self.note("sessions_of")?;
            Ok(self.behind.sessions_of(user, now).await?.iter().map(copy).collect())
        })
    }

    fn session_key<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Option<SessionKey>> {
        Box::pin(async move {
            self.note("session_key")?;
            self.behind.session_key(user, now).await
        })
    }

    fn replace_session_key<'a>(
        &'a self,
        user: &'a UserKey,
        old: &'a SessionKey,
        new: &'a SessionKey,
        now: Timestamp,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            self.note("replace_session_key")?;
            self.behind.replace_session_key(user, old, new, now).await
        })
    }

    fn profile<'a>(&'a self, user: &'a UserKey) -> Answer<'a, Option<ProfileRecord>> {
        Box::pin(async move {
            self.note("profile")?;
            let profile = self.behind.profile(user).await?;
            self.pass(Point::ProfileDone).await;
            Ok(profile)
        })
    }

    fn put_profile<'a>(
        &'a self,
        user: &'a UserKey,
        before: Option<u64>,
        profile: &'a ProfileRecord,
        posting: Option<&'a Posting>,
    ) -> Answer<'a, Written> {
        Box::pin(async move {
            self.note("put_profile")?;
            self.behind.put_profile(user, before, profile, posting).await
        })
    }

    fn forget_profile<'a>(&'a self, user: &'a UserKey, posting: Option<&'a Posting>) -> Answer<'a, Option<Removed>> {
        Box::pin(async move {
            self.note("forget_profile")?;
            self.behind.forget_profile(user, posting).await
        })
    }

    fn claim_notices(&self, claim: Claim, now: Timestamp, limit: usize) -> Answer<'_, Vec<Claimed>> {
        Box::pin(async move {
            self.note("claim_notices")?;
            self.behind.claim_notices(claim, now, limit).await
        })
    }

    fn settle_notice<'a>(&'a self, user: &'a UserKey, by: [u8; 16], fate: Fate, now: Timestamp) -> Answer<'a, bool> {
        Box::pin(async move {
            self.note("settle_notice")?;
            self.behind.settle_notice(user, by, fate, now).await
        })
    }

    fn waiting_notices(&self) -> Answer<'_, Waiting> {
        Box::pin(async move {
            self.note("waiting_notices")?;
            self.behind.waiting_notices().await
        })
    }

    fn touch(&self, seen: Vec<Seen>) -> Answer<'_, ()> {
        Box::pin(async move {
            self.note("touch")?;
            self.written.lock().unwrap().extend(seen.iter().cloned());
            self.behind.touch(seen).await
        })
    }

    fn recent(&self, limit: usize, now: Timestamp) -> Answer<'_, Vec<Arc<Session>>> {
        Box::pin(async move {
            self.note("recent")?;
            let recent = self.behind.recent(limit, now).await?.iter().map(copy).collect();
            self.pass(Point::RecentDone).await;
            self.note("recent answered")?;
            Ok(recent)
        })
    }

    fn count(&self) -> Answer<'_, u64> {
        Box::pin(async move {
            self.note("count")?;
            self.pass(Point::CountAsked).await;
            self.behind.count().await
        })
    }

    fn sweep(&self, now: Timestamp) -> Answer<'_, bool> {
        Box::pin(async move {
            self.note("sweep")?;
            self.behind.sweep(now).await
        })
    }

    fn check(&self) -> Answer<'_, ()> {
        Box::pin(async move { self.note("check") })
    }

    fn follow(&self, watcher: Arc<dyn Watcher>) {
        self.watchers.lock().unwrap().push(watcher);
    }

    fn stale_for(&self) -> Duration {
        self.stale_for.unwrap_or(Duration::MAX)
    }
}
