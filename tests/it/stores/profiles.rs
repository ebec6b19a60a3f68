//! What the contract says of profiles: one for each user, changed by version, there until it is told to go.

use wxgate::store::{ProfileRecord, Removed};

use super::{LIFETIME, UnderTest, World, anna, bert, profile, races::at_once, user};

const ROUNDS: u64 = 40;

pub async fn a_profile_is_what_was_put_last<S: UnderTest>(world: &mut World<S>) {
    assert_eq!(world.profile(&anna()).await, None);
    assert!(world.put_profile(&anna(), None, 1).await);
    assert_eq!(world.profile(&anna()).await, Some(profile(1)));
    assert!(world.put_profile(&anna(), Some(1), 1_790_000_000_000).await);
    assert_eq!(world.profile(&anna()).await, Some(profile(1_790_000_000_000)));
}

pub async fn only_the_version_that_was_read_is_replaced<S: UnderTest>(world: &mut World<S>) {
    assert!(!world.put_profile(&anna(), Some(1), 2).await, "there is none");
    assert!(world.put_profile(&anna(), None, 5).await);
    for other in [None, Some(0), Some(4), Some(6), Some(256 + 5), Some(1 << 53)] {
        assert!(!world.put_profile(&anna(), other, 7).await, "{other:?}");
    }
    assert_eq!(world.profile(&anna()).await, Some(profile(5)));
    assert!(world.put_profile(&anna(), Some(5), 7).await);
    assert!(!world.put_profile(&anna(), Some(5), 7).await, "told twice, it is done once");
}

pub async fn a_profile_is_one_users_in_one_app<S: UnderTest>(world: &mut World<S>) {
    let alike = [anna(), bert(), user("wx2", "o-anna"), user("wx1o", "-anna"), user("wx1", "{o}:*'--")];
    for (user, version) in alike.iter().zip(1..) {
        assert_eq!(world.profile(user).await, None, "{user:?}");
        assert!(world.put_profile(user, None, version).await, "{user:?}");
    }
    assert!(world.forget_profile(&alike[1]).await);
    for (at, (user, version)) in alike.iter().zip(1..).enumerate() {
        let expected = (at != 1).then(|| profile(version));
        assert_eq!(world.profile(user).await, expected, "{user:?}");
    }
}

pub async fn a_profile_outlives_every_session_of_its_user<S: UnderTest>(world: &mut World<S>) {
    let session = world.login(&anna()).await;
    assert!(world.put_profile(&anna(), None, 1).await);
    world.end(&session).await;
    assert_eq!(world.profile(&anna()).await, Some(profile(1)), "after a log-out");
    world.login(&anna()).await;
    world.end_user(&anna()).await;
    assert_eq!(world.profile(&anna()).await, Some(profile(1)), "after a log-out everywhere");
    world.login(&anna()).await;
    world.later(3 * LIFETIME);
    world.sweep().await;
    assert_eq!(world.profile(&anna()).await, Some(profile(1)), "after the time");
    assert_eq!(world.count().await, 0, "and it is not counted with the sessions");
    assert_eq!(world.session_key(&anna()).await, None);
}

pub async fn a_profile_that_is_forgotten_is_gone_and_may_come_again<S: UnderTest>(world: &mut World<S>) {
    let session = world.login(&anna()).await;
    assert!(!world.forget_profile(&anna()).await);
    assert!(world.put_profile(&anna(), None, 1).await);
    let removed = world.store().forget_profile(&anna(), None).await.unwrap();
    assert_eq!(removed, Some(Removed { profile: profile(1), crowded: false }), "and says what it was");
    assert!(!world.forget_profile(&anna()).await);
    assert_eq!(world.profile(&anna()).await, None);
    assert!(!world.put_profile(&anna(), Some(1), 2).await, "a change of what is gone brings nothing back");
    assert!(world.put_profile(&anna(), None, 3).await);
    assert!(world.finds(&session).await, "no session goes with it");
}

pub async fn a_profile_may_be_long_and_hold_any_bytes<S: UnderTest>(world: &mut World<S>) {
    let bytes: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    for (version, bytes) in [(1, Vec::new()), (2, bytes), ((1 << 53) - 1, b"\0".to_vec())] {
        let before = world.profile(&anna()).await.map(|profile| profile.version);
        let profile = ProfileRecord { version, bytes };
        assert!(world.store().put_profile(&anna(), before, &profile, None).await.unwrap().is_made());
        assert!(world.profile(&anna()).await == Some(profile));
    }
}

pub async fn a_restart_forgets_no_profile<S: UnderTest>(world: &mut World<S>) {
    assert!(world.put_profile(&anna(), None, 1).await && world.put_profile(&bert(), None, 2).await);
    assert!(world.put_profile(&anna(), Some(1), 3).await && world.forget_profile(&bert()).await);
    if !world.reopen().await {
        return;
    }
    assert_eq!(world.profile(&anna()).await, Some(profile(3)));
    assert_eq!(world.profile(&bert()).await, None);
    assert!(world.put_profile(&anna(), Some(3), 4).await);
}

pub async fn of_many_changes_of_one_version_one_is_made<S: UnderTest>(world: &mut World<S>) {
    let mut before = None;
    for round in 1..=ROUNDS {
        let change = |n: u64| {
            let store = world.store();
            async move {
                let put = store.put_profile(&anna(), before, &profile(round * 10 + n), None).await;
                put.expect("an answer").is_made()
            }
        };
        let made = at_once((0..6).map(change)).await;
        assert_eq!(made.iter().filter(|made| **made).count(), 1, "{made:?}");
        let kept = world.profile(&anna()).await.map(|profile| profile.version);
        assert_eq!(kept.map(|version| version / 10), Some(round));
        before = kept;
    }
}

pub async fn a_change_that_meets_a_removal_is_before_it_or_not_made<S: UnderTest>(world: &mut World<S>) {
    for round in 0..ROUNDS {
        assert!(world.put_profile(&anna(), None, 2 * round + 1).await);
        let act = |removes: bool| {
            let store = world.store();
            async move {
                if removes {
                    return store.forget_profile(&anna(), None).await.expect("an answer").is_some();
                }
                let next = profile(2 * round + 2);
                store.put_profile(&anna(), Some(2 * round + 1), &next, None).await.expect("an answer").is_made()
            }
        };
        at_once([false, true].map(act)).await;
        assert_eq!(world.profile(&anna()).await, None, "in round {round}");
    }
}
