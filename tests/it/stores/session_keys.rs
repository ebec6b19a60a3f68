//! A `session_key` gives way to another where it still is the one that somebody knows, and nowhere else.

use std::sync::Arc;

use wxgate::model::{SessionKey, UserKey};

use super::{IDLE, UnderTest, World, anna, bert, races::at_once, user};

const ROUNDS: u8 = 40;

/// Puts `new` in the place of `old`, and says whether it is there.
async fn replaces<S: UnderTest>(world: &World<S>, user: &UserKey, old: &str, new: &str) -> bool {
    let (old, new) = (SessionKey::new(old), SessionKey::new(new));
    world.store().replace_session_key(user, &old, &new, world.now()).await.expect("an answer")
}

pub async fn a_key_gives_way_to_another_for_all_of_its_users_sessions<S: UnderTest>(world: &mut World<S>) {
    let (first, _) = world.login_with(&anna(), "first", 0).await;
    let (second, _) = world.login_with(&anna(), "second", 0).await;
    for other in [bert(), user("wx2", "o-anna")] {
        world.login_with(&other, "second", 0).await;
    }
    assert!(replaces(world, &anna(), "second", "third").await);
    assert_eq!(world.session_key(&anna()).await.as_deref(), Some("third"));
    assert!(world.end(&second).await, "whose login it was");
    assert_eq!(world.session_key(&anna()).await.as_deref(), Some("third"));
    assert!(replaces(world, &anna(), "third", "tiihtNczf5v6AKRyjwEUhQ==").await, "and again");
    assert_eq!(world.session_key(&anna()).await.as_deref(), Some("tiihtNczf5v6AKRyjwEUhQ=="));
    if world.reopen().await {
        assert_eq!(world.session_key(&anna()).await.as_deref(), Some("tiihtNczf5v6AKRyjwEUhQ=="));
        assert!(world.end(&first).await);
        assert_eq!(world.session_key(&anna()).await, None, "it goes with the last session");
        for other in [bert(), user("wx2", "o-anna")] {
            assert_eq!(world.session_key(&other).await.as_deref(), Some("second"), "nobody else's has changed");
        }
    }
}

pub async fn a_key_that_is_not_there_any_more_is_not_replaced<S: UnderTest>(world: &mut World<S>) {
    assert!(!replaces(world, &anna(), "first", "reset").await, "a user without a session");
    world.login_with(&anna(), "first", 0).await;
    world.login_with(&anna(), "of a login meanwhile", 0).await;
    assert!(!replaces(world, &anna(), "first", "reset").await);
    assert_eq!(world.session_key(&anna()).await.as_deref(), Some("of a login meanwhile"));
    assert!(replaces(world, &anna(), "of a login meanwhile", "reset").await);
    assert!(replaces(world, &anna(), "of a login meanwhile", "reset").await, "told twice, since an answer was lost");
    assert!(!replaces(world, &anna(), "of a login meanwhile", "another").await);
    world.login_with(&anna(), "newest", 0).await;
    assert_eq!(world.session_key(&anna()).await.as_deref(), Some("newest"), "a login brings its own");
}

pub async fn a_key_without_a_live_session_is_not_replaced<S: UnderTest>(world: &mut World<S>) {
    world.login_with(&anna(), "key", 0).await;
    world.later(IDLE);
    assert!(!replaces(world, &anna(), "key", "reset").await, "it has run out");
    world.login_with(&bert(), "key", 0).await;
    world.end_user(&bert()).await;
    assert!(!replaces(world, &bert(), "key", "reset").await);
    assert_eq!([world.session_key(&anna()).await, world.session_key(&bert()).await], [None, None]);
}

pub async fn of_many_who_replace_one_key_one_does<S: UnderTest>(world: &mut World<S>) {
    world.login_with(&anna(), "key", 0).await;
    for round in 0..ROUNDS {
        let before = world.session_key(&anna()).await.expect("a key");
        let task = |n: u8| {
            let (store, now) = (world.store(), world.now());
            let (old, new) = (SessionKey::new(before.clone()), SessionKey::new(format!("{round} {n}")));
            async move { (n, store.replace_session_key(&anna(), &old, &new, now).await.expect("an answer")) }
        };
        let done = at_once((0..4).map(task)).await;
        let won: Vec<u8> = done.iter().filter(|(_, done)| *done).map(|(n, _)| *n).collect();
        assert_eq!(won.len(), 1, "round {round}: {done:?}");
        assert_eq!(world.session_key(&anna()).await, Some(format!("{round} {}", won[0])), "round {round}");
    }
}

pub async fn a_login_that_meets_a_replacement_keeps_its_own_key<S: UnderTest>(world: &mut World<S>) {
    for round in 0..ROUNDS {
        world.login_with(&anna(), "before", 0).await;
        let session = world.session(&anna());
        let task = |is_login: bool| {
            let (store, now, session) = (world.store(), world.now(), Arc::clone(&session));
            async move {
                if is_login {
                    store.begin(&session, &SessionKey::new("login"), 0, now).await.expect("a login");
                } else {
                    let (old, new) = (SessionKey::new("before"), SessionKey::new("reset"));
                    store.replace_session_key(&anna(), &old, &new, now).await.expect("an answer");
                }
            }
        };
        at_once([true, false].map(task)).await;
        assert_eq!(world.session_key(&anna()).await.as_deref(), Some("login"), "round {round}");
        world.end_user(&anna()).await;
    }
}
