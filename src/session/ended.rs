//! Who is told that a session is over: whatever lives longer than a request, as a tunnel does.
//!
//! A session ends in several ways: by a log-out here, by one at another instance, for want of room, by time. What this
//! process does itself is told at once. What others say and what the time does is a reason to ask, and asked is by the
//! housekeeping: another copy of the session may have been used since. A store that doesn't answer ends nothing.

use std::{
    collections::{HashMap, hash_map},
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::{
    sync::{Notify, watch},
    task::coop::has_budget_remaining,
};

use crate::model::{Session, Timestamp, TokenDigest};

/// The end of one session, once it comes. Dropping it costs nothing and leaves nothing.
pub struct Ended {
    watched: Arc<Watched>,
    digest: TokenDigest,
    told: watch::Receiver<bool>,
    /// The news of it, for the task that waits.
    news: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Whether they wake the task. They keep the waker that they were polled with, and a task's waker does not change.
    is_set: bool,
}

impl Ended {
    fn new(watched: &Arc<Watched>, digest: TokenDigest, told: watch::Receiver<bool>) -> Self {
        let mut heard = told.clone();
        let news = Box::pin(async move {
            // An error is a sender that has gone, and it goes only with the session.
            _ = heard.wait_for(|over| *over).await;
        });
        Self { watched: Arc::clone(watched), digest, told, news, is_set: false }
    }

    /// Waits for the end of the session. It may be awaited on any runtime, and again after it has come.
    pub async fn wait(&mut self) {
        // It may have been another task that waited before.
        self.is_set = false;
        poll_fn(|cx| self.poll_wait(cx)).await;
    }

    /// A tunnel asks at each of its messages, and hardly ever is there anything to be told.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Only its end is ever told of it.
        if !matches!(self.told.has_changed(), Ok(false)) {
            return Poll::Ready(());
        }
        if self.is_set {
            return Poll::Pending;
        }
        // A task that has used up its turn is to come again at once, and nobody takes notice of it until then.
        let is_noticed = has_budget_remaining();
        let come = self.news.as_mut().poll(cx);
        self.is_set = is_noticed && come.is_pending();
        come
    }

    /// Whether it has come.
    pub fn is_over(&self) -> bool {
        *self.told.borrow()
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended").field("is_over", &self.is_over()).finish_non_exhaustive()
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.watched.leave(&self.digest, &self.told);
    }
}

/// The sessions that somebody watches: at most one for each who does.
#[derive(Default)]
pub(super) struct Watched {
    sessions: Mutex<HashMap<TokenDigest, Entry>>,
    /// Woken when one of them is in doubt.
    doubts: Notify,
}

struct Entry {
    /// Says until when it need not be asked for.
    session: Arc<Session>,
    in_doubt: bool,
    tell: watch::Sender<bool>,
    watchers: usize,
}

impl Watched {
    pub(super) fn watch(self: &Arc<Self>, session: &Arc<Session>) -> Ended {
        let digest = *session.digest();
        let mut sessions = self.sessions();
        let entry = sessions.entry(digest).or_insert_with(|| Entry {
            session: Arc::clone(session),
            in_doubt: false,
            tell: watch::Sender::new(false),
            watchers: 0,
        });
        entry.watchers += 1;
        let told = entry.tell.subscribe();
        drop(sessions);
        Ended::new(self, digest, told)
    }

    /// This one is over.
    pub(super) fn end(&self, digest: &TokenDigest) {
        let mut sessions = self.sessions();
        if let Some(entry) = sessions.remove(digest) {
            // Under the lock, so that who leaves knows whether the entry is still its own.
            entry.tell.send_replace(true);
        }
    }

    /// This one may be over.
    pub(super) fn doubt(&self, digest: &TokenDigest) {
        if let Some(entry) = self.sessions().get_mut(digest) {
            entry.in_doubt = true;
            self.doubts.notify_one();
        }
    }

    /// Any may be over.
    pub(super) fn doubt_all(&self) {
        let mut sessions = self.sessions();
        sessions.values_mut().for_each(|entry| entry.in_doubt = true);
        if !sessions.is_empty() {
            self.doubts.notify_one();
        }
    }

    /// Waits until one is in doubt.
    pub(super) async fn doubted(&self) {
        self.doubts.notified().await;
    }

    /// Those that have to be asked for: in doubt, or over by the time as far as it is known. Where changes elsewhere are
    /// not heard of, all are in doubt.
    pub(super) fn questions(&self, now: Timestamp, hears: bool) -> Vec<TokenDigest> {
        let sessions = self.sessions();
        let in_doubt = |entry: &Entry| !hears || entry.in_doubt || !entry.session.is_live(now);
        let open = sessions.iter().filter(|(_, entry)| in_doubt(entry));
        open.map(|(digest, _)| *digest).collect()
    }

    /// This one is live, as `session` says.
    pub(super) fn confirm(&self, session: &Arc<Session>) {
        if let Some(entry) = self.sessions().get_mut(session.digest()) {
            entry.session = Arc::clone(session);
            entry.in_doubt = false;
        }
    }

    fn leave(&self, digest: &TokenDigest, told: &watch::Receiver<bool>) {
        // Where the end has been told the entry has gone, and one that is there now is somebody else's.
        let mut sessions = self.sessions();
        if *told.borrow() {
            return;
        }
        if let hash_map::Entry::Occupied(mut entry) = sessions.entry(*digest) {
            entry.get_mut().watchers -= 1;
            if entry.get().watchers == 0 {
                entry.remove();
            }
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<TokenDigest, Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, time::Duration};

    use tokio::{
        task::{LocalSet, coop::consume_budget, spawn_local, yield_now},
        time::timeout,
    };

    use super::*;
    use crate::model::{AppId, Identity, OpenId, Terms, UserKey, UserTag};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    fn session(number: u8) -> Arc<Session> {
        let user = UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse("o1").unwrap() };
        let terms = Terms { idle: HOUR, lifetime: 10 * HOUR };
        let (digest, tag) = (TokenDigest::new([number; 32]), UserTag::new([0; 8]));
        Arc::new(Session::begin(Identity { user, unionid: None }, digest, tag, terms, NOW))
    }

    #[tokio::test]
    async fn everybody_who_watches_is_told_and_nothing_is_left() {
        let (watched, one, other) = (Arc::new(Watched::default()), session(1), session(2));
        let (mut a, mut b, c) = (watched.watch(&one), watched.watch(&one), watched.watch(&other));
        assert!(!a.is_over());
        watched.end(one.digest());
        a.wait().await;
        a.wait().await;
        b.wait().await;
        assert!(a.is_over() && b.is_over() && !c.is_over());
        assert_eq!(watched.sessions().len(), 1);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_whatever_came_before() {
        let (watched, session) = (Arc::new(Watched::default()), session(1));
        let (mut waits, mut waited, mut is_late) =
            (watched.watch(&session), watched.watch(&session), watched.watch(&session));
        let no_time = timeout(Duration::ZERO, waited.wait()).await;
        assert!(no_time.is_err());
        let story = async {
            let others = [
                spawn_local(async move { waits.wait().await }),
                spawn_local(async move { waited.wait().await }),
                spawn_local(async move {
                    // The first time it has no turn left in which anybody would take notice of it.
                    let mut is_first = true;
                    let mut wait = pin!(is_late.wait());
                    poll_fn(|cx| {
                        while is_first && pin!(consume_budget()).poll(cx).is_ready() {}
                        is_first = false;
                        wait.as_mut().poll(cx)
                    })
                    .await;
                }),
            ];
            for _ in 0..100 {
                yield_now().await;
            }
            watched.end(session.digest());
            for other in others {
                timeout(Duration::from_secs(30), other).await.expect("nobody has woken it").unwrap();
            }
        };
        LocalSet::new().run_until(story).await;
    }

    #[tokio::test]
    async fn a_session_of_which_nothing_is_left_is_over() {
        let (watched, session) = (Arc::new(Watched::default()), session(1));
        let mut ended = watched.watch(&session);
        watched.sessions().clear();
        for _ in 0..2 {
            ended.wait().await;
        }
    }

    #[test]
    fn who_goes_leaves_nothing_behind_and_takes_nobodys_place() {
        let (watched, session) = (Arc::new(Watched::default()), session(1));
        let (first, second) = (watched.watch(&session), watched.watch(&session));
        drop(first);
        assert_eq!(watched.sessions().len(), 1);
        drop(second);
        assert_eq!(watched.sessions().len(), 0);

        let told = watched.watch(&session);
        watched.end(session.digest());
        let late = watched.watch(&session);
        drop(told);
        assert_eq!(watched.sessions().len(), 1, "who was told has no part in the later one");
        drop(late);
        assert_eq!(watched.sessions().len(), 0);
    }

    #[tokio::test]
    async fn what_is_in_doubt_or_ran_out_is_asked_for_until_it_is_confirmed() {
        let (watched, one, other) = (Arc::new(Watched::default()), session(1), session(2));
        let _both = [watched.watch(&one), watched.watch(&other)];
        assert_eq!(watched.questions(NOW, true), []);
        assert_eq!(watched.questions(NOW, false).len(), 2);
        watched.doubt(one.digest());
        watched.doubted().await;
        assert_eq!(watched.questions(NOW, true), [*one.digest()]);
        assert_eq!(watched.questions(NOW + HOUR, true).len(), 2);

        let used = session(1);
        used.touch(NOW + HOUR / 2);
        watched.confirm(&used);
        assert_eq!(watched.questions(NOW + HOUR, true), [*other.digest()], "the other copy of it was used");
        watched.doubt_all();
        assert_eq!(watched.questions(NOW, true).len(), 2);
    }
}
