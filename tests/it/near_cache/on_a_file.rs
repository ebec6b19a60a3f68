//! Memory and the session file never disagree on who is logged in, though not every use is written down.

use std::{future::Future, path::Path, sync::Arc, task::Poll};

use wxgate::{
    config::sections,
    model::{Clock, Identity, ManualClock, SealKey, Session, SessionKey, SystemEntropy},
    session::{Issued, Recent, Sessions},
    store::{Sealer, Sqlite, Store},
    telemetry::UserTagger,
};

use super::{Handle, IDLE, LIFETIME, SECOND, anna, clock};

struct OnAFile {
    sessions: Sessions,
    store: Arc<Sqlite>,
    clock: Arc<ManualClock>,
}

impl OnAFile {
    fn open(path: &Path, key: &SealKey, clock: &Arc<ManualClock>, per_user: usize) -> Self {
        let sealer = Sealer::new(key, &[], Arc::new(SystemEntropy));
        let store = Arc::new(Sqlite::open(path, Arc::new(sealer)).expect("a store"));
        let section = sections::Sessions { idle: IDLE, lifetime: LIFETIME, per_user, ..Default::default() };
        let tags = UserTagger::new(None, &SystemEntropy).expect("entropy");
        let (entropy, runtime) = (Arc::new(SystemEntropy), Handle::current());
        let sessions = Sessions::new(&section, store.clone(), runtime, clock.clone(), entropy, tags, Arc::default());
        Self { sessions, store, clock: Arc::clone(clock) }
    }

    async fn login(&self) -> Issued {
        let identity = Identity { user: anna(), unionid: None };
        self.sessions.issue(identity, SessionKey::new("key")).await.expect("a login")
    }

    async fn finds(&self, issued: &Issued) -> bool {
        self.sessions.resolve(&issued.token).await.expect("an answer").is_some()
    }

    /// Writes down what is due, and lets the file go over what has run out.
    async fn keep_house(&self) {
        self.sessions.flush_touches().await.expect("a working disk");
        self.store.sweep(self.clock.now()).await.expect("a working disk");
    }

    /// A use too soon after the login to be written down, and another just before the session would end: by the file alone
    /// it has ended by then.
    async fn used_like_once_a_day(&self, issued: &Issued) {
        self.clock.advance(IDLE / 40);
        assert!(self.finds(issued).await);
        self.keep_house().await;
        self.clock.advance(IDLE / 80 * 79);
        assert!(self.finds(issued).await, "it was used less than the idle time ago");
        self.keep_house().await;
    }
}

/// The file called such a session over, and log-out everywhere answered that nobody was logged in, while memory let its
/// token pass for as long as it was used.
#[tokio::test]
async fn logging_out_everywhere_ends_a_session_whose_last_use_was_not_written() {
    let (folder, key, clock) = (tempfile::tempdir().unwrap(), SealKey::generate(&SystemEntropy).unwrap(), clock());
    let gw = OnAFile::open(&folder.path().join("s.db"), &key, &clock, 0);
    let issued = gw.login().await;
    gw.used_like_once_a_day(&issued).await;
    assert_eq!(gw.sessions.sessions_of(&anna()).await.unwrap().len(), 1, "an operator sees it");
    assert_eq!(gw.sessions.revoke_user(&anna()).await.unwrap(), 1);
    assert!(!gw.finds(&issued).await);
}

#[tokio::test]
async fn also_at_the_very_end_of_its_time() {
    let (folder, key, clock) = (tempfile::tempdir().unwrap(), SealKey::generate(&SystemEntropy).unwrap(), clock());
    let gw = OnAFile::open(&folder.path().join("s.db"), &key, &clock, 0);
    let issued = gw.login().await;
    gw.clock.advance(IDLE / 40);
    assert!(gw.finds(&issued).await);
    gw.clock.advance(IDLE / 80 * 79);
    gw.keep_house().await;
    assert_eq!(
        gw.sessions.sessions_of(&anna()).await.unwrap().len(),
        1,
        "memory knows of a use that the file does not"
    );
    gw.sessions.revoke_user(&anna()).await.unwrap();
    assert!(!gw.finds(&issued).await);
}

#[tokio::test]
async fn a_session_that_is_used_again_and_again_outlives_a_restart() {
    let (folder, key, clock) = (tempfile::tempdir().unwrap(), SealKey::generate(&SystemEntropy).unwrap(), clock());
    let path = folder.path().join("s.db");
    let gw = OnAFile::open(&path, &key, &clock, 0);
    let issued = gw.login().await;
    gw.used_like_once_a_day(&issued).await;
    drop(gw);
    let gw = OnAFile::open(&path, &key, &clock, 0);
    gw.clock.advance(SECOND);
    assert!(gw.finds(&issued).await);
}

/// The tag that rests with a session was made with a key that went with its process, where `log.user_key` is not set.
#[tokio::test]
async fn after_a_restart_a_user_has_one_tag_whether_the_session_is_old_or_new() {
    let (folder, key, clock) = (tempfile::tempdir().unwrap(), SealKey::generate(&SystemEntropy).unwrap(), clock());
    let path = folder.path().join("s.db");
    let gw = OnAFile::open(&path, &key, &clock, 0);
    let (wanted, warm) = (gw.login().await, gw.login().await);
    let before = wanted.session.tag();
    drop(gw);
    let gw = OnAFile::open(&path, &key, &clock, 0);
    let tag = gw.login().await.session.tag();
    assert_ne!(tag, before, "each process has a key of its own");
    let resolved = gw.sessions.resolve(&wanted.token).await.unwrap().unwrap();
    let listed = gw.sessions.sessions_of(&anna()).await.unwrap();
    assert_eq!((resolved.tag(), listed.len()), (tag, 3));
    assert!(listed.iter().all(|session| session.tag() == tag));

    let warmed_up = until_in_memory(&gw, &warm).await;
    assert_eq!(warmed_up.tag(), tag);
}

/// Keeps house until the session has come into memory by itself.
async fn until_in_memory(gw: &OnAFile, issued: &Issued) -> Arc<Session> {
    let (house, recent) = (gw.sessions.keep_house(), Recent::default());
    let mut house = std::pin::pin!(house);
    std::future::poll_fn(|cx| {
        assert!(house.as_mut().poll(cx).is_pending());
        gw.sessions.at_hand(&issued.token, &recent).map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

#[tokio::test]
async fn the_newest_stay_and_no_other_however_seldom_it_was_used() {
    let (folder, key, clock) = (tempfile::tempdir().unwrap(), SealKey::generate(&SystemEntropy).unwrap(), clock());
    let gw = OnAFile::open(&folder.path().join("s.db"), &key, &clock, 1);
    let old = gw.login().await;
    gw.clock.advance(IDLE / 40);
    assert!(gw.finds(&old).await);
    gw.clock.advance(IDLE / 80 * 79);
    let new = gw.login().await;
    assert!(gw.finds(&new).await);
    assert!(!gw.finds(&old).await, "one session a user is allowed");
}

/// By the file it was over, and the operator who had found it in the list was told that there is none.
#[tokio::test]
async fn an_operator_who_ends_a_session_at_the_very_end_of_its_time_is_told_so() {
    let (folder, key, clock) = (tempfile::tempdir().unwrap(), SealKey::generate(&SystemEntropy).unwrap(), clock());
    let gw = OnAFile::open(&folder.path().join("s.db"), &key, &clock, 0);
    let issued = gw.login().await;
    gw.clock.advance(IDLE / 40);
    assert!(gw.finds(&issued).await);
    gw.clock.advance(IDLE / 80 * 79);
    let digest = issued.session.digest();
    assert!(gw.sessions.revoke_digest(&anna(), digest).await.unwrap());
    assert!(!gw.finds(&issued).await);
    assert!(!gw.sessions.revoke_digest(&anna(), digest).await.unwrap(), "there is nothing to end");
}

/// For longer than an idle time the disk took no uses: by the file the session was long over, so a log-out everywhere named
/// nobody, and memory let the token pass.
#[tokio::test]
async fn logging_out_everywhere_ends_what_memory_has_though_its_uses_could_long_not_be_written() {
    let (folder, key, clock) = (tempfile::tempdir().unwrap(), SealKey::generate(&SystemEntropy).unwrap(), clock());
    for per_user in [0, 1] {
        let gw = OnAFile::open(&folder.path().join(format!("{per_user}.db")), &key, &clock, per_user);
        let issued = gw.login().await;
        for _ in 0..6 {
            gw.clock.advance(IDLE / 2);
            assert!(gw.finds(&issued).await);
        }
        if per_user == 0 {
            gw.sessions.revoke_user(&anna()).await.unwrap();
        } else {
            gw.login().await;
        }
        assert!(!gw.finds(&issued).await, "{per_user} of a user may stay");
        assert!(gw.sessions.sessions_of(&anna()).await.unwrap().len() == per_user);
    }
}

/// What was used and not written down is forgotten by a restart. By the file the session is over then, but its row is there for
/// a while, and would be revived by a use that another process had seen.
#[tokio::test]
async fn whoever_is_logged_out_everywhere_after_a_restart_that_forgot_a_use_stays_out() {
    for later in [IDLE / 2, IDLE + SECOND] {
        let (folder, key, clock) = (tempfile::tempdir().unwrap(), SealKey::generate(&SystemEntropy).unwrap(), clock());
        let open = || OnAFile::open(&folder.path().join("s.db"), &key, &clock, 0);
        let gw = open();
        let issued = gw.login().await;
        clock.advance(IDLE / 40);
        assert!(gw.finds(&issued).await);
        drop(gw);
        clock.advance(later);
        let gw = open();
        assert_eq!(gw.store.count().await.unwrap(), 1);
        gw.sessions.revoke_user(&anna()).await.unwrap();
        assert!(!gw.finds(&issued).await, "{later:?} after its last use");
        drop(gw);
        let gw = open();
        assert!(!gw.finds(&issued).await && gw.store.count().await.unwrap() == 0);
    }
}

/// An operator who ends one session by its digest, as `wxgate sessions` shows it.
#[tokio::test]
async fn a_session_that_an_operator_ends_after_a_restart_that_forgot_a_use_stays_ended() {
    let (folder, key, clock) = (tempfile::tempdir().unwrap(), SealKey::generate(&SystemEntropy).unwrap(), clock());
    let open = || OnAFile::open(&folder.path().join("s.db"), &key, &clock, 0);
    let gw = open();
    let (used, other) = (gw.login().await, gw.login().await);
    clock.advance(IDLE / 40);
    assert!(gw.finds(&used).await && gw.finds(&other).await);
    drop(gw);
    let gw = open();
    clock.advance(IDLE / 40 * 38);
    assert_eq!(gw.sessions.sessions_of(&anna()).await.unwrap().len(), 2);
    assert!(gw.sessions.revoke_digest(&anna(), used.session.digest()).await.unwrap());
    drop(gw);
    let gw = open();
    assert!(!gw.finds(&used).await);
    assert!(gw.finds(&other).await, "nobody asked for its end");
}
