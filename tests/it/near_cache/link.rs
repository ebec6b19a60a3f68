//! How long memory counts when the link to a shared store is broken. Never is a session over because of it.

use std::{sync::Arc, time::Duration};

use wxgate::model::Timestamp;

use super::{Instance, SECOND, anna, clock, elsewhere_ends};
use crate::support::scripted::Scripted;

#[tokio::test]
async fn a_log_out_anywhere_is_a_log_out_everywhere() {
    let [here, there] = Instance::linked();
    let issued = here.login(&anna()).await;
    assert!(here.finds(&issued).await && there.finds(&issued).await);
    there.revoke(&issued).await;
    here.store.tell(|watcher| watcher.changed(issued.session.digest()));
    assert!(!here.finds(&issued).await && !there.finds(&issued).await);
}

#[tokio::test]
async fn while_the_link_is_broken_memory_counts_for_a_while_and_then_the_store_is_asked() {
    let [here] = Instance::linked();
    let issued = here.login(&anna()).await;
    here.store.tell(|watcher| watcher.link_lost());
    here.store.go_away();
    here.later(29 * SECOND);
    assert!(here.finds(&issued).await);
    assert_eq!(here.loads(), 0);
    here.later(SECOND);
    assert!(here.resolve(&issued.token).await.is_err(), "nobody knows: that is no 401");
    here.store.come_back();
    assert!(here.finds(&issued).await, "the store answers though the link is still broken");
    assert!(here.finds(&issued).await);
    assert_eq!(here.loads(), 3, "each look-up asks until the link is back");
    here.store.tell(|watcher| watcher.link_restored());
    assert!(here.finds(&issued).await && here.finds(&issued).await);
    assert_eq!(here.loads(), 4);
}

#[tokio::test]
async fn what_was_missed_while_the_link_was_broken_is_not_missed_after() {
    let [here] = Instance::linked();
    let issued = here.login(&anna()).await;
    here.store.tell(|watcher| watcher.link_lost());
    elsewhere_ends(&here, &issued).await;
    assert!(here.finds(&issued).await, "for less than stale_for");
    here.store.tell(|watcher| watcher.link_restored());
    assert!(!here.finds(&issued).await);
}

#[tokio::test]
async fn what_was_ended_while_the_link_was_broken_is_over_after_stale_for() {
    let [here] = Instance::linked();
    let issued = here.login(&anna()).await;
    here.store.tell(|watcher| watcher.link_lost());
    elsewhere_ends(&here, &issued).await;
    here.later(30 * SECOND);
    assert!(!here.finds(&issued).await);
}

#[tokio::test]
async fn a_clock_set_back_does_not_keep_alive_what_was_ended_elsewhere() {
    let [here] = Instance::linked();
    let issued = here.login(&anna()).await;
    here.store.tell(|watcher| watcher.link_lost());
    elsewhere_ends(&here, &issued).await;
    here.later(10 * SECOND);
    here.clock.set(Timestamp::from_millis(1_700_000_000_000));
    assert!(here.finds(&issued).await, "for less than stale_for");
    here.later(20 * SECOND);
    assert!(!here.finds(&issued).await);
}

#[tokio::test]
async fn where_nothing_may_be_stale_each_look_up_asks_once_the_link_is_broken() {
    let store = Scripted::shared(Duration::ZERO);
    let here = Instance::on(&store, &clock(), |_| {});
    let issued = here.login(&anna()).await;
    assert!(here.finds(&issued).await);
    assert_eq!(here.loads(), 1, "the link has not been made yet");
    store.tell(|watcher| watcher.link_restored());
    assert!(here.finds(&issued).await && here.finds(&issued).await);
    assert_eq!(here.loads(), 2);
    store.tell(|watcher| watcher.link_lost());
    assert!(here.finds(&issued).await && here.finds(&issued).await);
    assert_eq!(here.loads(), 4);
}

#[tokio::test]
async fn sessions_that_have_gone_are_told_nothing() {
    let store = Scripted::shared(30 * SECOND);
    drop(Instance::on(&store, &clock(), |_| {}));
    store.tell(|watcher| {
        watcher.link_restored();
        watcher.all_changed();
        watcher.link_lost();
    });
    assert_eq!(Arc::strong_count(&store), 1, "the two do not keep each other alive");
}
