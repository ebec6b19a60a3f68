//! What a look-up asks the store, and what it does not.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use wxgate::{
    model::SystemEntropy,
    session::{Error, SessionToken},
    store,
};

use super::{
    IDLE, Instance, LIFETIME, SECOND, anna, digest, elsewhere_begins, elsewhere_ends, has_to_wait, keep_house,
};
use crate::support::{scripted::Point, until};

fn made_up() -> SessionToken {
    SessionToken::mint(&SystemEntropy).unwrap()
}

#[tokio::test]
async fn a_session_in_memory_is_not_asked_for() {
    let instance = Instance::alone();
    let issued = instance.login(&anna()).await;
    for _ in 0..10 {
        assert!(instance.finds(&issued).await);
    }
    assert_eq!(instance.loads(), 0);
    assert_eq!(instance.counters.lookups_hit.get(), 10);
}

#[tokio::test]
async fn a_cold_session_is_asked_for_once() {
    let before = Instance::alone();
    let issued = before.login(&anna()).await;
    let instance = before.restarted();
    let found = instance.resolve(&issued.token).await.unwrap().unwrap();
    assert_eq!(found.identity(), issued.session.identity());
    assert!(instance.finds(&issued).await);
    assert_eq!(instance.loads(), 1);
    assert_eq!((instance.counters.lookups_missed.get(), instance.counters.lookups_hit.get()), (1, 1));
}

/// Counts a future in when it has been polled once and has to wait.
async fn counted<T>(future: impl Future<Output = T>, waiting: &AtomicUsize) -> T {
    let (mut future, mut first) = (pin!(future), true);
    std::future::poll_fn(|cx| {
        let poll = future.as_mut().poll(cx);
        if std::mem::take(&mut first) {
            waiting.fetch_add(1, Ordering::SeqCst);
        }
        poll
    })
    .await
}

#[test]
fn many_who_want_one_cold_session_on_many_threads_are_one_question() {
    const THREADS: usize = 4;
    const EACH: usize = 25;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _guard = runtime.enter();
    let before = Instance::alone();
    let issued = runtime.block_on(before.login(&anna()));
    let instance = before.restarted();
    let gate = instance.store.stop_at(Point::LoadAsked);
    let waiting = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let worker = tokio::runtime::Builder::new_current_thread().build().unwrap();
                worker.block_on(async {
                    let mut all: Vec<_> =
                        (0..EACH).map(|_| Box::pin(counted(instance.finds(&issued), &waiting))).collect();
                    for one in &mut all {
                        assert!(has_to_wait(one), "nothing is known yet");
                    }
                    for one in all {
                        assert!(one.await);
                    }
                });
            });
        }
        until("everybody to wait", || (waiting.load(Ordering::SeqCst) == THREADS * EACH).then_some(()));
        gate.open();
    });
    assert_eq!(instance.loads(), 1);
}

#[tokio::test]
async fn who_asks_first_and_goes_away_leaves_nobody_waiting() {
    let before = Instance::alone();
    let issued = before.login(&anna()).await;
    let instance = before.restarted();
    let gate = instance.store.stop_at(Point::LoadDone);
    let mut first = Box::pin(instance.finds(&issued));
    let mut others: Vec<_> = (0..3).map(|_| Box::pin(instance.finds(&issued))).collect();
    assert!(has_to_wait(&mut first));
    assert!(others.iter_mut().all(has_to_wait));
    assert_eq!(instance.loads(), 1);
    drop(first);
    gate.open();
    for other in others {
        assert!(other.await);
    }
    assert_eq!(instance.loads(), 2, "one of them asked again");
}

#[tokio::test]
async fn a_token_that_nobody_knows_is_asked_for_once_in_a_while() {
    let instance = Instance::alone();
    let token = made_up();
    for _ in 0..10 {
        assert!(instance.resolve(&token).await.unwrap().is_none());
    }
    assert_eq!(instance.loads(), 1);
    assert_eq!(instance.counters.lookups_denied.get(), 10);
    instance.later(3 * SECOND);
    assert!(instance.resolve(&token).await.unwrap().is_none());
    assert_eq!(instance.loads(), 2);
    assert!(instance.resolve(&made_up()).await.unwrap().is_none());
    assert_eq!(instance.loads(), 3, "another token is another question");
}

#[tokio::test]
async fn a_no_of_a_moment_ago_hides_nothing_that_others_begin() {
    let [here, there] = Instance::linked();
    let issued = there.login(&anna()).await;
    // A failover loses it and finds it again.
    elsewhere_ends(&here, &issued).await;
    assert!(!here.finds(&issued).await);
    elsewhere_begins(&here, &issued).await;
    here.store.tell(|watcher| watcher.changed(&digest(&issued)));
    assert!(here.finds(&issued).await);
}

/// Somebody sets the clock an hour ahead for a moment. The "no" of that moment was believed until the hour was over.
#[tokio::test]
async fn a_no_lasts_no_longer_because_the_clock_is_set_back() {
    let before = Instance::alone();
    let issued = before.login(&anna()).await;
    elsewhere_ends(&before, &issued).await;
    let (instance, now) = (before.restarted(), before.now());
    instance.clock.set(now + 36 * IDLE);
    assert!(!instance.finds(&issued).await);
    instance.clock.set(now);
    elsewhere_begins(&instance, &issued).await;
    assert!(!instance.finds(&issued).await, "it is believed for a moment");
    instance.later(3 * SECOND);
    assert!(instance.finds(&issued).await);
}

#[tokio::test]
async fn a_store_that_is_away_is_an_error_with_its_reason_and_never_a_no() {
    let before = Instance::alone();
    let issued = before.login(&anna()).await;
    let instance = before.restarted();
    instance.store.go_away();
    for _ in 0..3 {
        let error = instance.resolve(&issued.token).await.unwrap_err();
        assert!(matches!(error, Error::StoreUnavailable(store::Error::Unavailable(_))), "{error:?}");
        let reason = std::error::Error::source(&error).and_then(std::error::Error::source).unwrap();
        assert_eq!(reason.to_string(), "the cable is cut");
    }
    assert_eq!(instance.counters.lookups_failed.get(), 3);
    assert!(instance.try_login(&anna()).await.is_err());
    assert!(instance.sessions.revoke(&issued.session).await.is_err());
    assert!(instance.sessions.revoke_user(&anna()).await.is_err());
    assert!(instance.sessions.check().await.is_err());
    instance.store.come_back();
    assert!(instance.finds(&issued).await, "nobody was logged out");
}

#[tokio::test]
async fn a_store_that_is_away_does_not_touch_what_is_in_memory() {
    let instance = Instance::alone();
    let issued = instance.login(&anna()).await;
    instance.store.go_away();
    instance.later(IDLE / 2);
    assert!(instance.finds(&issued).await);
}

#[tokio::test]
async fn what_looks_unused_here_may_be_in_use_elsewhere() {
    let [here, there] = Instance::linked();
    let issued = here.login(&anna()).await;
    here.later(IDLE / 2);
    assert!(there.finds(&issued).await);
    there.sessions.flush_touches().await.unwrap();
    here.later(IDLE / 2);
    assert!(here.finds(&issued).await, "half an idle time ago it was used there");
    here.later(IDLE);
    assert!(!here.finds(&issued).await && !there.finds(&issued).await);
    assert_eq!(here.counters.lookups_expired.get(), 1);
}

#[tokio::test]
async fn what_looks_unused_while_the_store_is_away_is_not_called_over() {
    let [here] = Instance::linked();
    let issued = here.login(&anna()).await;
    here.later(IDLE);
    here.store.go_away();
    assert!(here.resolve(&issued.token).await.is_err());
}

#[tokio::test]
async fn what_has_outlived_its_lifetime_is_not_asked_for() {
    let instance = Instance::alone();
    let issued = instance.login(&anna()).await;
    instance.later(LIFETIME);
    let loads = instance.loads();
    assert!(!instance.finds(&issued).await);
    assert_eq!(instance.loads(), loads);
    assert_eq!(instance.counters.lookups_expired.get(), 1);
}

#[tokio::test]
async fn at_the_start_what_was_used_last_comes_into_memory_by_itself() {
    let before = Instance::alone();
    let issued = before.login(&anna()).await;
    let instance = before.restarted();
    let housekeeping = keep_house(&instance);
    // The first sweep comes after what there is to bring in, if that is little.
    while instance.store.asked("sweep") == 0 {
        tokio::task::yield_now().await;
    }
    assert!(instance.finds(&issued).await);
    assert_eq!((instance.loads(), instance.store.asked("recent")), (0, 1));
    housekeeping.abort();
}
