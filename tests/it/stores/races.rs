//! Who wins when several do something at the same moment. Each race is run many times; no outcome of any may be odd.

use std::{future::Future, sync::Arc};

use tokio::{sync::Barrier, task::JoinSet};
use wxgate::{
    model::{Session, SessionKey, TokenDigest},
    store::{Seen, Store},
};

use super::{UnderTest, World, anna, digests, sorted, user};

const ROUNDS: u8 = 40;

/// Does all of these at the same moment, each as a task of its own.
pub(super) async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    all: impl IntoIterator<Item = F>,
) -> Vec<T> {
    let all: Vec<F> = all.into_iter().collect();
    let (start, mut tasks) = (Arc::new(Barrier::new(all.len())), JoinSet::new());
    for one in all {
        let start = Arc::clone(&start);
        tasks.spawn(async move {
            start.wait().await;
            one.await
        });
    }
    tasks.join_all().await
}

fn begin<S: UnderTest>(
    world: &World<S>,
    session: &Arc<Session>,
    key: &str,
    per_user: usize,
) -> impl Future<Output = Vec<TokenDigest>> + Send + use<S> {
    let (store, session, key, now) = (world.store(), Arc::clone(session), SessionKey::new(key), world.now());
    async move { store.begin(&session, &key, per_user, now).await.expect("a login") }
}

/// What is found by its token is found by its user, and nothing else is.
async fn is_consistent<S: UnderTest>(world: &World<S>, sessions: &[Arc<Session>]) -> usize {
    let mut found = Vec::new();
    for session in sessions {
        if world.finds(session).await {
            found.push(session);
        }
    }
    let count = found.len();
    assert_eq!(digests(&world.sessions_of(&anna()).await), digests(found));
    assert_eq!(world.session_key(&anna()).await.is_some(), count > 0);
    assert_eq!(world.count().await, count as u64);
    count
}

pub async fn of_many_who_end_a_session_one_did<S: UnderTest>(world: &mut World<S>) {
    for round in 0..ROUNDS {
        let session = world.login(&anna()).await;
        let end = |n: u8| {
            let (store, session, now) = (world.store(), Arc::clone(&session), world.now());
            async move {
                if n == 0 {
                    store.end_user(&anna(), now).await.expect("an answer").len()
                } else {
                    usize::from(store.end(&anna(), session.digest(), now).await.expect("an answer"))
                }
            }
        };
        let ended: usize = at_once((0..4).map(end)).await.iter().sum();
        assert_eq!(ended, 1, "round {round}");
        assert_eq!(is_consistent(world, &[session]).await, 0, "round {round}");
    }
}

pub async fn a_login_that_meets_a_log_out_everywhere_is_before_it_or_after<S: UnderTest>(world: &mut World<S>) {
    for round in 0..ROUNDS {
        let older = world.login(&anna()).await;
        let newer = world.session(&anna());
        let login = begin(world, &newer, "newer", 0);
        let (store, now) = (world.store(), world.now());
        let log_out = async move { store.end_user(&anna(), now).await.expect("an answer") };
        let both: Vec<std::pin::Pin<Box<dyn Future<Output = Vec<TokenDigest>> + Send>>> =
            vec![Box::pin(login), Box::pin(log_out)];
        let ended = sorted(&at_once(both).await.concat());
        if is_consistent(world, &[Arc::clone(&older), Arc::clone(&newer)]).await == 1 {
            assert_eq!(ended, digests([&older]), "round {round}: the login came after");
            assert!(world.finds(&newer).await, "round {round}");
            assert_eq!(world.session_key(&anna()).await.as_deref(), Some("newer"), "round {round}");
        } else {
            assert_eq!(ended, digests([&older, &newer]), "round {round}: the login came before");
        }
        world.end_user(&anna()).await;
    }
}

pub async fn logins_that_meet_leave_no_more_than_may_stay<S: UnderTest>(world: &mut World<S>) {
    for round in 0..ROUNDS {
        let sessions: Vec<Arc<Session>> = (0..5).map(|_| world.session(&anna())).collect();
        let displaced = at_once(sessions.iter().map(|session| begin(world, session, "key", 2))).await.concat();
        assert_eq!(is_consistent(world, &sessions).await, 2, "round {round}");
        let mut accounted = digests(&world.sessions_of(&anna()).await);
        accounted.extend(sorted(&displaced));
        accounted.sort_unstable();
        assert_eq!(accounted, digests(&sessions), "round {round}: each stayed or was said to have gone");
        world.end_user(&anna()).await;
    }
}

pub async fn uses_and_look_ups_that_meet_an_end_bring_nothing_back<S: UnderTest>(world: &mut World<S>) {
    for round in 0..ROUNDS {
        let session = world.login(&anna()).await;
        world.later(super::SECOND);
        let task = |n: u8| {
            let (store, session, now) = (world.store(), Arc::clone(&session), world.now());
            async move { use_or_end(&*store, &session, n, now).await }
        };
        at_once((0..4).map(task)).await;
        assert_eq!(is_consistent(world, &[session]).await, 0, "round {round}");
    }
}

async fn use_or_end(store: &dyn Store, session: &Session, n: u8, now: wxgate::model::Timestamp) {
    let (user, digest) = (&session.identity().user, session.digest());
    if n == 2 {
        assert!(store.end(user, digest, now).await.expect("an answer"));
        assert!(store.load(digest, now).await.expect("an answer").is_none(), "who ended it finds it ended");
    } else if n == 3 {
        store.load(digest, now).await.expect("an answer");
    } else {
        store.touch(vec![Seen { user: user.clone(), digest: *digest, at: now }]).await.expect("written");
    }
}

pub async fn the_key_that_stays_is_the_newest_sessions<S: UnderTest>(world: &mut World<S>) {
    for round in 0..ROUNDS {
        let sessions: Vec<Arc<Session>> = (0..4).map(|_| world.session(&anna())).collect();
        let others: Vec<Arc<Session>> = (0..2).map(|n| world.session(&user("wx2", &format!("o{n}")))).collect();
        let name = |session: &Session| format!("{:?}", session.tag());
        at_once(sessions.iter().chain(&others).map(|session| begin(world, session, &name(session), 0))).await;
        let told = world.sessions_of(&anna()).await;
        let newest = told.last().expect("four of them");
        assert_eq!((told.len(), world.session_key(&anna()).await), (4, Some(name(newest))), "round {round}");
        world.end_user(&anna()).await;
    }
}
