//! What ends while it is looked up, begun or written stays ended: each way in which the two can meet, one at a time.

use std::sync::Arc;

use tokio::task::JoinHandle;
use wxgate::session::{Error, Issued};

use super::{Instance, anna, clock, digest, elsewhere_begins, elsewhere_ends, has_to_wait, keep_house, spawn, user};
use crate::support::scripted::{Gate, Point, Scripted};

/// A cold session, and somebody who has the store's answer about it but has not yet been told.
struct Waiting {
    instance: Arc<Instance>,
    issued: Issued,
    gate: Arc<Gate>,
    look_up: JoinHandle<Result<bool, Error>>,
}

impl Waiting {
    async fn for_a_cold_session() -> Self {
        let before = Instance::alone();
        let issued = before.login(&anna()).await;
        let instance = Arc::new(before.restarted());
        let gate = instance.store.stop_at(Point::LoadDone);
        let (asking, token) = (Arc::clone(&instance), issued.token.clone());
        let look_up = spawn(async move { asking.resolve(&token).await.map(|found| found.is_some()) });
        gate.reached().await;
        Self { instance, issued, gate, look_up }
    }

    /// Lets the answer through. Whether the look-up found a session, and the next one does.
    async fn goes_on(self) -> (bool, bool) {
        self.gate.open();
        let found = self.look_up.await.unwrap().unwrap();
        (found, self.instance.finds(&self.issued).await)
    }
}

#[tokio::test]
async fn nothing_happens_and_it_is_found() {
    assert_eq!(Waiting::for_a_cold_session().await.goes_on().await, (true, true));
}

#[tokio::test]
async fn a_session_ended_here_while_it_is_looked_up_is_over() {
    let waiting = Waiting::for_a_cold_session().await;
    waiting.instance.revoke(&waiting.issued).await;
    assert_eq!(waiting.goes_on().await, (false, false));
}

#[tokio::test]
async fn a_session_ended_by_logging_out_everywhere_while_it_is_looked_up_is_over() {
    let waiting = Waiting::for_a_cold_session().await;
    assert_eq!(waiting.instance.sessions.revoke_user(&anna()).await.unwrap(), 1);
    assert_eq!(waiting.goes_on().await, (false, false));
}

#[tokio::test]
async fn a_session_ended_elsewhere_while_it_is_looked_up_is_over() {
    let waiting = Waiting::for_a_cold_session().await;
    elsewhere_ends(&waiting.instance, &waiting.issued).await;
    waiting.instance.store.tell(|watcher| watcher.changed(&digest(&waiting.issued)));
    assert_eq!(waiting.goes_on().await, (false, false));
}

#[tokio::test]
async fn a_session_that_may_have_changed_while_it_was_looked_up_is_asked_for_again() {
    let waiting = Waiting::for_a_cold_session().await;
    elsewhere_ends(&waiting.instance, &waiting.issued).await;
    waiting.instance.store.tell(|watcher| watcher.all_changed());
    assert_eq!(waiting.goes_on().await, (false, false));

    let waiting = Waiting::for_a_cold_session().await;
    waiting.instance.store.tell(|watcher| watcher.link_restored());
    assert_eq!(waiting.goes_on().await, (true, true), "nothing had changed after all");
}

#[tokio::test]
async fn who_comes_after_the_end_does_not_hear_what_was_true_before_it() {
    let waiting = Waiting::for_a_cold_session().await;
    waiting.instance.revoke(&waiting.issued).await;
    let (asking, token) = (Arc::clone(&waiting.instance), waiting.issued.token.clone());
    let mut late = Box::pin(async move { asking.resolve(&token).await.unwrap().is_some() });
    assert!(has_to_wait(&mut late));
    assert_eq!(waiting.goes_on().await, (false, false));
    assert!(!late.await);
}

#[tokio::test]
async fn a_no_that_was_true_when_the_store_was_asked_does_not_hide_what_began_since() {
    let [here, there] = Instance::linked();
    let issued = there.login(&anna()).await;
    elsewhere_ends(&here, &issued).await;
    here.store.tell(|watcher| watcher.changed(&digest(&issued)));
    let gate = here.store.stop_at(Point::LoadDone);
    let here = Arc::new(here);
    let (asking, token) = (Arc::clone(&here), issued.token.clone());
    let look_up = spawn(async move { asking.resolve(&token).await.unwrap().is_some() });
    gate.reached().await;
    elsewhere_begins(&here, &issued).await;
    here.store.tell(|watcher| watcher.changed(&digest(&issued)));
    gate.open();
    assert!(look_up.await.unwrap(), "it asked again");
    assert!(here.finds(&issued).await);
}

#[tokio::test]
async fn a_session_logged_out_everywhere_before_its_login_was_answered_is_over() {
    let instance = Arc::new(Instance::alone());
    let gate = instance.store.stop_at(Point::BeginDone);
    let logging_in = Arc::clone(&instance);
    let login = spawn(async move { logging_in.login(&anna()).await });
    gate.reached().await;
    assert_eq!(instance.sessions.revoke_user(&anna()).await.unwrap(), 1);
    gate.open();
    let issued = login.await.unwrap();
    assert!(!instance.finds(&issued).await);
}

#[tokio::test]
async fn what_per_user_displaced_is_over_here_at_once() {
    let instance = Instance::on(&Scripted::own(), &clock(), |s| s.per_user = 1);
    let first = instance.login(&anna()).await;
    let held = instance.resolve(&first.token).await.unwrap().unwrap();
    let second = instance.login(&anna()).await;
    assert!(!instance.finds(&first).await && instance.finds(&second).await);
    assert!(!held.is_live(instance.now()), "for whoever holds it too");
    assert_eq!(instance.counters.sessions_revoked.get(), 1);
}

#[tokio::test]
async fn a_log_out_whose_client_hangs_up_is_finished_all_the_same() {
    for everywhere in [false, true] {
        let instance = Arc::new(Instance::alone());
        let issued = instance.login(&anna()).await;
        assert!(instance.finds(&issued).await, "it is in memory");
        let gate = instance.store.stop_at(if everywhere { Point::EndUserDone } else { Point::EndDone });
        let (logging_out, session) = (Arc::clone(&instance), Arc::clone(&issued.session));
        let log_out = spawn(async move {
            if everywhere {
                logging_out.sessions.revoke_user(&anna()).await.map(drop)
            } else {
                logging_out.sessions.revoke(&session).await
            }
        });
        gate.reached().await;
        log_out.abort();
        assert!(log_out.await.unwrap_err().is_cancelled());
        gate.open();
        while instance.finds(&issued).await {
            tokio::task::yield_now().await;
        }
        assert_eq!(instance.counters.sessions_revoked.get(), 1, "everywhere: {everywhere}");
    }
}

#[tokio::test]
async fn a_log_out_that_was_not_confirmed_leaves_nothing_in_memory_that_the_store_does_not_say() {
    let instance = Arc::new(Instance::alone());
    let issued = instance.login(&anna()).await;
    let gate = instance.store.stop_at(Point::EndDone);
    let (logging_out, session) = (Arc::clone(&instance), Arc::clone(&issued.session));
    let log_out = spawn(async move { logging_out.sessions.revoke(&session).await });
    gate.reached().await;
    instance.store.go_away();
    gate.open();
    assert!(log_out.await.unwrap().is_err(), "it was done, but nobody said so");
    assert!(instance.resolve(&issued.token).await.is_err(), "nobody knows, so nobody passes");
    instance.store.come_back();
    assert!(!instance.finds(&issued).await);
}

#[tokio::test]
async fn one_users_digest_ends_nothing_of_anothers() {
    let instance = Instance::alone();
    let issued = instance.login(&anna()).await;
    assert!(!instance.sessions.revoke_digest(&user("o-bert"), &digest(&issued)).await.unwrap());
    assert!(instance.finds(&issued).await);
    assert!(instance.sessions.revoke_digest(&anna(), &digest(&issued)).await.unwrap());
    assert!(!instance.finds(&issued).await);
    assert!(!instance.sessions.revoke_digest(&anna(), &digest(&issued)).await.unwrap());
    assert_eq!(instance.counters.sessions_revoked.get(), 1);
}

#[tokio::test]
async fn a_session_that_never_holds_still_is_an_error_and_not_a_guess() {
    let before = Instance::alone();
    let issued = before.login(&anna()).await;
    let instance = before.restarted();
    let store = Arc::downgrade(&instance.store);
    instance.store.meanwhile(move || store.upgrade().unwrap().tell(|watcher| watcher.all_changed()));
    let error = instance.resolve(&issued.token).await.unwrap_err();
    assert!(matches!(error, Error::StoreUnavailable(_)), "{error:?}");
    instance.store.meanwhile(|| {});
    assert!(instance.finds(&issued).await);
}

#[tokio::test]
async fn a_session_ended_while_memory_is_filled_at_the_start_stays_ended() {
    let before = Instance::alone();
    let (ended, kept) = (before.login(&anna()).await, before.login(&user("o-bert")).await);
    let instance = before.restarted();
    let gate = instance.store.stop_at(Point::RecentDone);
    let housekeeping = keep_house(&instance);
    gate.reached().await;
    instance.revoke(&ended).await;
    gate.open();
    while !instance.finds(&kept).await || instance.counters.lookups_hit.get() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!instance.finds(&ended).await);
    housekeeping.abort();
}
