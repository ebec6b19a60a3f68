//! Who watches a session is told when it ends, in whatever way, and not before.

use std::sync::Arc;

use tokio::runtime::Handle;
use wxgate::{
    config::sections,
    model::{Identity, SessionKey, SystemEntropy},
    session::{Ended, Issued, Sessions},
    store::Memory,
    telemetry::UserTagger,
};

use super::{IDLE, Instance, LIFETIME, SECOND, anna, clock, elsewhere_ends, keep_house, user};
use crate::support::scripted::Scripted;

/// Somebody with a tunnel.
async fn tunnel(instance: &Instance, issued: &Issued) -> Ended {
    let session = instance.resolve(&issued.token).await.unwrap().unwrap();
    instance.sessions.watch(&session)
}

#[tokio::test]
async fn each_way_to_log_out_ends_a_tunnel() {
    let instance = Instance::on(&Scripted::own(), &clock(), |section| section.per_user = 2);
    let (phone, tablet, other) =
        (instance.login(&anna()).await, instance.login(&anna()).await, instance.login(&user("o-bert")).await);
    let mut ended =
        [tunnel(&instance, &phone).await, tunnel(&instance, &tablet).await, tunnel(&instance, &other).await];
    let another = instance.login(&anna()).await;
    ended[0].wait().await;
    assert!(!ended[1].is_over());
    instance.revoke(&tablet).await;
    ended[1].wait().await;
    let mut last = tunnel(&instance, &another).await;
    instance.sessions.revoke_user(&anna()).await.unwrap();
    last.wait().await;
    assert!(!ended[2].is_over(), "a stranger is not concerned");
}

#[tokio::test]
async fn a_tunnel_of_a_session_that_has_left_memory_ends_too() {
    let instance = Instance::alone();
    let issued = instance.login(&anna()).await;
    let mut ended = tunnel(&instance, &issued).await;
    instance.store.tell(|watcher| watcher.all_changed());
    instance.revoke(&issued).await;
    ended.wait().await;
}

#[tokio::test]
async fn a_log_out_elsewhere_ends_a_tunnel_here() {
    let [here, there] = Instance::linked();
    let issued = there.login(&anna()).await;
    let mut ended = tunnel(&here, &issued).await;
    let housekeeping = keep_house(&here);
    there.revoke(&issued).await;
    here.store.tell(|watcher| watcher.changed(issued.session.digest()));
    ended.wait().await;
    housekeeping.abort();
}

#[tokio::test]
async fn a_change_that_is_no_end_ends_nothing() {
    let [here, there] = Instance::linked();
    let issued = there.login(&anna()).await;
    let ended = tunnel(&here, &issued).await;
    here.store.tell(|watcher| watcher.changed(issued.session.digest()));
    here.sessions.look_after_the_watched().await;
    here.store.tell(|watcher| watcher.all_changed());
    here.sessions.look_after_the_watched().await;
    assert!(!ended.is_over());
    let loads = here.loads();
    here.sessions.look_after_the_watched().await;
    assert_eq!(here.loads(), loads, "nothing is in doubt any more");
}

#[tokio::test]
async fn while_the_store_is_away_nothing_ends_and_nothing_is_forgotten() {
    let [here, there] = Instance::linked();
    let issued = there.login(&anna()).await;
    let mut ended = tunnel(&here, &issued).await;
    elsewhere_ends(&there, &issued).await;
    here.store.tell(|watcher| watcher.changed(issued.session.digest()));
    here.store.go_away();
    here.sessions.look_after_the_watched().await;
    assert!(!ended.is_over());
    here.store.come_back();
    here.sessions.look_after_the_watched().await;
    ended.wait().await;
}

/// The link can be broken while the store answers.
#[tokio::test]
async fn what_can_not_be_heard_of_is_asked_for_once_memory_counts_no_longer() {
    let [here, there] = Instance::linked();
    let (issued, other) = (there.login(&anna()).await, there.login(&user("o-bert")).await);
    let (mut ended, bystander) = (tunnel(&here, &issued).await, tunnel(&here, &other).await);
    here.store.tell(|watcher| watcher.link_lost());
    elsewhere_ends(&there, &issued).await;
    here.sessions.look_after_the_watched().await;
    assert!(!ended.is_over(), "for less than stale_for");
    here.later(30 * SECOND);
    here.sessions.look_after_the_watched().await;
    ended.wait().await;
    assert!(!bystander.is_over());
}

#[tokio::test]
async fn time_ends_a_tunnel_unless_its_session_was_used() {
    let [here, there] = Instance::linked();
    let issued = there.login(&anna()).await;
    let mut ended = tunnel(&here, &issued).await;
    here.later(IDLE / 2);
    assert!(there.finds(&issued).await);
    there.sessions.flush_touches().await.unwrap();
    here.later(IDLE / 2);
    here.sessions.look_after_the_watched().await;
    assert!(!ended.is_over(), "it was used elsewhere");
    here.later(IDLE / 2);
    here.sessions.look_after_the_watched().await;
    ended.wait().await;
}

#[tokio::test]
async fn a_lifetime_ends_a_tunnel_however_much_its_session_is_used() {
    let instance = Instance::alone();
    let issued = instance.login(&anna()).await;
    let ended = tunnel(&instance, &issued).await;
    for _ in 0..11 {
        instance.later(LIFETIME / 12);
        assert!(instance.finds(&issued).await);
        instance.sessions.look_after_the_watched().await;
        assert!(!ended.is_over());
    }
    instance.later(LIFETIME / 12);
    instance.sessions.look_after_the_watched().await;
    assert!(ended.is_over());
}

#[tokio::test]
async fn who_watches_a_session_that_has_ended_already_is_told_at_once() {
    let [here, there] = Instance::linked();
    let issued = here.login(&anna()).await;
    let held = here.resolve(&issued.token).await.unwrap().unwrap();
    // Another copy of it, that nobody here can reach any more.
    let stray = there.resolve(&issued.token).await.unwrap().unwrap();
    here.revoke(&issued).await;
    assert!(here.sessions.watch(&held).is_over());
    here.later(SECOND);
    let mut late = here.sessions.watch(&stray);
    here.sessions.look_after_the_watched().await;
    late.wait().await;
}

#[tokio::test]
async fn where_memory_is_the_only_place_a_lack_of_room_ends_a_tunnel() {
    let (store, clock) = (Arc::new(Memory::new()), clock());
    let tags = UserTagger::new(None, &SystemEntropy).unwrap();
    let section = sections::Sessions { capacity: 1, ..Default::default() };
    let (runtime, entropy) = (Handle::current(), Arc::new(SystemEntropy));
    let sessions = Sessions::new(&section, store, runtime, clock, entropy, tags, Arc::default());
    let login = async |openid: String| {
        let identity = Identity { user: user(&openid), unionid: None };
        sessions.issue(identity, SessionKey::new("key")).await.unwrap()
    };
    let issued = login("o-anna".to_owned()).await;
    let ended = sessions.watch(&issued.session);
    for n in 0.. {
        if ended.is_over() {
            break;
        }
        login(format!("o{n}")).await;
        assert!(n < 100_000, "it is never pushed out");
    }
}
