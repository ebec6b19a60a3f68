//! Uses are written behind: seldom, in batches, and none is lost to a store that is away for a while.

use wxgate::{model::Timestamp, store::Store};

use super::{IDLE, Instance, SECOND, anna, clock, user};
use crate::support::scripted::Scripted;

fn written(instance: &Instance) -> Vec<Timestamp> {
    instance.store.written().iter().map(|seen| seen.at).collect()
}

#[tokio::test]
async fn a_use_is_written_down_at_most_once_in_a_twentieth_of_the_idle_time() {
    let instance = Instance::alone();
    let issued = instance.login(&anna()).await;
    for _ in 0..IDLE.as_secs() * 2 {
        instance.later(SECOND / 2);
        assert!(instance.finds(&issued).await);
        instance.sessions.flush_touches().await.unwrap();
    }
    let begun = issued.session.created_at();
    let expected: Vec<Timestamp> = (1..=20).map(|n| begun + IDLE / 20 * n).collect();
    assert_eq!(written(&instance), expected);
}

#[tokio::test]
async fn after_a_crash_a_session_looks_at_most_a_twentieth_of_its_idle_time_too_old() {
    let instance = Instance::alone();
    let issued = instance.login(&anna()).await;
    for _ in 0..73 {
        instance.later(SECOND);
        assert!(instance.finds(&issued).await);
        instance.sessions.flush_touches().await.unwrap();
    }
    let after = instance.restarted();
    let found = after.store.load(issued.session.digest(), after.now()).await.unwrap().unwrap();
    assert!(after.now().since(found.last_seen()) < IDLE / 20);
}

#[tokio::test]
async fn a_store_that_is_away_for_a_while_loses_no_use() {
    let instance = Instance::alone();
    let all = [instance.login(&anna()).await, instance.login(&user("o-bert")).await];
    instance.later(IDLE / 2);
    for issued in &all {
        assert!(instance.finds(issued).await);
    }
    instance.store.go_away();
    for _ in 0..3 {
        instance.sessions.flush_touches().await.unwrap_err();
    }
    instance.store.come_back();
    instance.sessions.flush_touches().await.unwrap();
    assert_eq!(written(&instance), [instance.now(); 2]);
    instance.sessions.flush_touches().await.unwrap();
    assert_eq!(written(&instance).len(), 2, "once is enough");
}

#[tokio::test]
async fn of_a_session_that_was_ended_nothing_is_written() {
    let instance = Instance::alone();
    let issued = instance.login(&anna()).await;
    instance.later(IDLE / 2);
    assert!(instance.finds(&issued).await);
    instance.revoke(&issued).await;
    instance.sessions.flush_touches().await.unwrap();
    assert_eq!(written(&instance), []);
}

#[tokio::test]
async fn thousands_of_uses_are_written_in_few_calls() {
    let instance = Instance::alone();
    let mut all = Vec::new();
    for n in 0..2_000 {
        all.push(instance.login(&user(&format!("o{n}"))).await);
    }
    instance.later(IDLE / 2);
    for issued in &all {
        assert!(instance.finds(issued).await);
    }
    instance.sessions.flush_touches().await.unwrap();
    assert_eq!((written(&instance).len(), instance.store.asked("touch")), (2_000, 4));
}

#[tokio::test]
async fn a_session_pushed_out_of_memory_leaves_its_last_use_with_the_store() {
    let instance = Instance::on(&Scripted::own(), &clock(), |section| section.capacity = 1);
    let issued = instance.login(&anna()).await;
    instance.later(SECOND * 4);
    assert!(instance.finds(&issued).await);
    instance.sessions.flush_touches().await.unwrap();
    assert_eq!(written(&instance), [], "not due yet");
    for n in 0.. {
        instance.login(&user(&format!("o{n}"))).await;
        instance.sessions.flush_touches().await.unwrap();
        if instance.store.written().iter().any(|seen| seen.digest == *issued.session.digest()) {
            break;
        }
        assert!(n < 100_000, "it is never pushed out");
    }
    assert_eq!(written(&instance), [instance.now()]);
    assert!(instance.finds(&issued).await, "and it was not logged out");
    assert_eq!(instance.counters.sessions_evicted.get(), 0);
}
