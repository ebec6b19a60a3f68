//! What a store promises, one promise a story.

use std::{sync::Arc, time::Duration};

use wxgate::{
    model::{Identity, Session, SessionKey, Terms, TokenDigest, UnionId},
    store::Seen,
};

use super::{IDLE, IDLE_BUT_A_SECOND, LIFETIME, SECOND, UnderTest, World, anna, bert, digests, sorted, user};

pub async fn a_session_is_found_as_it_began<S: UnderTest>(world: &mut World<S>) {
    let unionid = Some(UnionId::parse("u-anna").unwrap());
    let terms = Terms { idle: Duration::from_hours(24), lifetime: Duration::from_hours(168) };
    let with_unionid = world.session_with(Identity { user: anna(), unionid }, terms);
    world.store().begin(&with_unionid, &SessionKey::new("key"), 0, world.now()).await.unwrap();
    let without = world.login(&bert()).await;

    assert!(world.finds(&with_unionid).await && world.finds(&without).await);
    world.later(17 * SECOND);
    let found = world.store().load(with_unionid.digest(), world.now()).await.unwrap().unwrap();
    assert_eq!(found.last_seen(), with_unionid.created_at(), "a look-up is not a use");
}

pub async fn what_never_was_is_not_found<S: UnderTest>(world: &mut World<S>) {
    world.login(&bert()).await;
    let never = world.session(&anna());
    assert!(!world.finds(&never).await);
    assert!(!world.end(&never).await);
    assert_eq!(world.end_user(&anna()).await, []);
    assert_eq!(world.sessions_of(&anna()).await.len(), 0);
    assert_eq!(world.session_key(&anna()).await, None);
    world.touch(&never, world.now()).await;
    assert!(!world.finds(&never).await, "a use begins nothing");
}

pub async fn what_was_ended_is_not_found_and_ends_once<S: UnderTest>(world: &mut World<S>) {
    let (one, other) = (world.login(&anna()).await, world.login(&anna()).await);
    assert!(world.end(&one).await);
    assert!(!world.finds(&one).await);
    assert!(world.finds(&other).await);
    assert!(!world.end(&one).await, "the second time there is nothing to end");
    assert_eq!(digests(&world.sessions_of(&anna()).await), digests([&other]));
    assert_eq!(sorted(&world.end_user(&anna()).await), digests([&other]));
}

pub async fn only_its_own_user_can_name_it<S: UnderTest>(world: &mut World<S>) {
    let session = world.login(&anna()).await;
    for stranger in [bert(), user("wx2", "o-anna")] {
        world.login(&stranger).await;
        assert!(!world.store().end(&stranger, session.digest(), world.now()).await.unwrap(), "{stranger:?}");
        assert!(world.finds(&session).await, "{stranger:?}");
    }
}

pub async fn a_session_is_over_when_unused_for_its_idle_time<S: UnderTest>(world: &mut World<S>) {
    let session = world.login(&anna()).await;
    world.later(IDLE_BUT_A_SECOND);
    assert!(world.finds(&session).await);
    world.later(SECOND);
    assert!(!world.finds(&session).await);
    assert!(!world.end(&session).await, "it was over already");
    assert_eq!(world.end_user(&anna()).await, []);
    assert_eq!(world.sessions_of(&anna()).await.len(), 0);
    assert_eq!(world.store().recent(10, world.now()).await.unwrap().len(), 0);
}

pub async fn a_session_is_over_after_its_lifetime_however_used<S: UnderTest>(world: &mut World<S>) {
    let session = world.login(&anna()).await;
    for _ in 0..5 {
        world.later(LIFETIME / 6);
        world.touch(&session, world.now()).await;
        assert!(world.finds(&session).await);
    }
    world.later(Duration::from_secs(49));
    assert!(world.finds(&session).await);
    world.later(SECOND);
    assert!(!world.finds(&session).await);
}

pub async fn use_is_written_forward_only<S: UnderTest>(world: &mut World<S>) {
    let session = world.login(&anna()).await;
    world.later(50 * SECOND);
    let used = world.now();
    world.touch(&session, used).await;
    world.touch(&session, session.created_at() + 20 * SECOND).await;
    let found = world.store().load(session.digest(), world.now()).await.unwrap().unwrap();
    assert_eq!(found.last_seen(), used);
    assert_eq!(world.sessions_of(&anna()).await[0].last_seen(), used);

    world.later(IDLE_BUT_A_SECOND);
    assert!(world.finds(&session).await, "the use has put the end off");
    world.later(SECOND);
    assert!(!world.finds(&session).await);
}

pub async fn a_use_written_down_late_revives_nothing<S: UnderTest>(world: &mut World<S>) {
    let (one, other) = (world.login(&anna()).await, world.login(&bert()).await);
    world.later(SECOND);
    assert!(world.end(&one).await);
    world.end_user(&bert()).await;
    for session in [&one, &other] {
        world.touch(session, world.now()).await;
        assert!(!world.finds(session).await);
        assert_eq!(world.sessions_of(&session.identity().user).await.len(), 0);
        assert_eq!(world.session_key(&session.identity().user).await, None);
    }
}

/// A store that removed it when it seemed to be over would take it from the memory of whoever knew better.
pub async fn a_use_in_time_counts_though_the_one_before_was_never_written_down<S: UnderTest>(world: &mut World<S>) {
    let session = world.login(&anna()).await;
    world.later(IDLE / 40);
    // Too soon after the login to be worth writing down.
    session.touch(world.now());
    world.later(IDLE_BUT_A_SECOND);
    world.sweep().await;
    assert!(session.is_live(world.now()));
    session.touch(world.now());
    world.touch(&session, world.now()).await;
    assert!(world.finds(&session).await);
    world.later(IDLE_BUT_A_SECOND);
    assert!(world.finds(&session).await);
}

pub async fn a_login_told_twice_is_one_session<S: UnderTest>(world: &mut World<S>) {
    let session = world.session(&anna());
    for _ in 0..2 {
        let displaced = world.store().begin(&session, &SessionKey::new("key"), 1, world.now()).await.unwrap();
        assert_eq!(displaced, []);
    }
    assert_eq!(world.sessions_of(&anna()).await.len(), 1);
    assert_eq!(world.count().await, 1);
    assert!(world.end(&session).await);
    assert!(!world.finds(&session).await && !world.end(&session).await);
}

pub async fn logging_out_everywhere_takes_what_has_begun_and_nothing_else<S: UnderTest>(world: &mut World<S>) {
    let phone = world.login(&anna()).await;
    let (stranger, other_app) = (world.login(&bert()).await, world.login(&user("wx2", "o-anna")).await);
    let unused = world.login(&anna()).await;
    world.later(IDLE / 2);
    for used in [&phone, &stranger, &other_app] {
        world.touch(used, world.now()).await;
    }
    world.later(IDLE / 2);
    let tablet = world.login(&anna()).await;

    let mut told = world.end_user(&anna()).await;
    told.retain(|one| one != unused.digest());
    assert_eq!(sorted(&told), digests([&phone, &tablet]), "whether or not one that had just run out is told of too");
    for gone in [&phone, &unused, &tablet] {
        assert!(!world.finds(gone).await);
    }
    assert!(world.finds(&stranger).await && world.finds(&other_app).await);
    assert_eq!(world.end_user(&anna()).await, []);
    let later = world.login(&anna()).await;
    assert!(world.finds(&later).await);
    assert_eq!(world.session_key(&anna()).await.as_deref(), Some("key"));
}

pub async fn a_users_sessions_are_told_oldest_first<S: UnderTest>(world: &mut World<S>) {
    let mut begun = Vec::new();
    for n in 0..6 {
        begun.push(world.login(&anna()).await);
        world.login(&bert()).await;
        if n % 2 == 0 {
            world.later(SECOND);
        }
    }
    world.touch(&begun[1], world.now()).await;
    assert!(world.end(&begun.remove(3)).await);
    let told: Vec<TokenDigest> = world.sessions_of(&anna()).await.iter().map(|session| *session.digest()).collect();
    let expected: Vec<TokenDigest> = begun.iter().map(|session| *session.digest()).collect();
    assert_eq!(told, expected, "those of one moment in the order in which they came");
}

pub async fn the_newest_sessions_of_a_user_stay<S: UnderTest>(world: &mut World<S>) {
    let stranger = world.login(&user("wx2", "o-anna")).await;
    let mut begun: Vec<Arc<Session>> = Vec::new();
    for n in 0..5 {
        // All of them in one moment: the order in which they came must do.
        let (session, displaced) = world.login_with(&anna(), "key", 2).await;
        begun.push(session);
        let oldest = (n >= 2).then(|| &begun[n - 2]);
        assert_eq!(sorted(&displaced), digests(oldest));
    }
    assert_eq!(digests(&world.sessions_of(&anna()).await), digests(&begun[3..]));
    assert!(!world.finds(&begun[2]).await && world.finds(&begun[3]).await && world.finds(&begun[4]).await);
    assert!(world.finds(&stranger).await);

    let (_, displaced) = world.login_with(&anna(), "key", 1).await;
    assert_eq!(sorted(&displaced), digests(&begun[3..]), "a smaller limit is kept from the next login on");
}

pub async fn sessions_that_ran_out_cost_no_live_one_its_place<S: UnderTest>(world: &mut World<S>) {
    let (used, _) = world.login_with(&anna(), "key", 2).await;
    let (unused, _) = world.login_with(&anna(), "key", 2).await;
    world.later(IDLE / 2);
    world.touch(&used, world.now()).await;
    world.later(IDLE / 2);
    let (new, displaced) = world.login_with(&anna(), "key", 2).await;
    assert!(displaced.iter().all(|one| one == unused.digest()), "nobody else was logged out by this");
    assert_eq!(digests(&world.sessions_of(&anna()).await), digests([&used, &new]));
    assert!(!world.finds(&unused).await);
}

pub async fn the_newest_session_key_counts_and_goes_with_the_last_session<S: UnderTest>(world: &mut World<S>) {
    let (first, _) = world.login_with(&anna(), "first", 0).await;
    let (second, _) = world.login_with(&anna(), "second", 0).await;
    world.login_with(&user("wx2", "o-anna"), "another app's", 0).await;
    assert_eq!(world.session_key(&anna()).await.as_deref(), Some("second"));
    assert!(world.end(&second).await);
    assert_eq!(world.session_key(&anna()).await.as_deref(), Some("second"), "WeChat knows no older one any more");
    assert!(world.end(&first).await);
    assert_eq!(world.session_key(&anna()).await, None);
    assert_eq!(world.session_key(&user("wx2", "o-anna")).await.as_deref(), Some("another app's"));
    world.end_user(&user("wx2", "o-anna")).await;
    assert_eq!(world.session_key(&user("wx2", "o-anna")).await, None);
}

pub async fn a_session_key_runs_out_with_its_sessions<S: UnderTest>(world: &mut World<S>) {
    let first = world.login_with(&anna(), "first", 0).await.0;
    world.login_with(&anna(), "second", 0).await;
    world.later(IDLE / 2);
    world.touch(&first, world.now()).await;
    world.later(IDLE / 2);
    assert_eq!(world.session_key(&anna()).await.as_deref(), Some("second"), "the older session is still in use");
    world.later(IDLE / 2);
    assert_eq!(world.session_key(&anna()).await, None);
    world.sweep().await;
    assert_eq!(world.session_key(&anna()).await, None);
}

pub async fn the_most_recently_used_are_told_first_wanted<S: UnderTest>(world: &mut World<S>) {
    let mut begun = Vec::new();
    for n in 0..6 {
        begun.push(world.login(&user("wx1", &format!("o{n}"))).await);
        world.later(10 * SECOND);
    }
    world.touch(&begun[0], world.now()).await;
    world.end(&begun[5]).await;
    world.later(SECOND);
    let recent = world.store().recent(2, world.now()).await.unwrap();
    assert_eq!(digests(&recent), digests([&begun[0], &begun[4]]));
    let all = world.store().recent(100, world.now()).await.unwrap();
    assert_eq!(digests(&all), digests(&begun[..5]));
    assert_eq!(world.store().recent(0, world.now()).await.unwrap().len(), 0);
}

pub async fn sessions_are_counted_and_what_ran_out_is_swept<S: UnderTest>(world: &mut World<S>) {
    assert_eq!(world.count().await, 0);
    for n in 0..20 {
        world.login(&user("wx1", &format!("o{n}"))).await;
    }
    let kept = world.login(&anna()).await;
    assert_eq!(world.count().await, 21);
    world.end_user(&user("wx1", "o0")).await;
    assert_eq!(world.count().await, 20);
    world.later(IDLE / 2);
    world.touch(&kept, world.now()).await;
    world.later(IDLE / 2);
    world.sweep().await;
    assert!(world.count().await <= 20, "what has just run out may still be there");
    for _ in 0..4 {
        world.later(IDLE / 4);
        world.touch(&kept, world.now()).await;
    }
    world.sweep().await;
    assert_eq!(world.count().await, 1);
    assert!(world.finds(&kept).await);
}

pub async fn many_touches_in_one_call_are_all_written<S: UnderTest>(world: &mut World<S>) {
    let mut begun = Vec::new();
    for n in 0..100 {
        begun.push(world.login(&user("wx1", &format!("o{}", n % 7))).await);
    }
    world.later(30 * SECOND);
    let seen = |session: &Arc<Session>| Seen {
        user: session.identity().user.clone(),
        digest: *session.digest(),
        at: world.now(),
    };
    let mut batch: Vec<Seen> = begun.iter().map(seen).collect();
    batch.push(seen(&world.session(&anna())));
    assert!(world.end(&begun[50]).await);
    world.store().touch(batch).await.unwrap();
    world.store().touch(Vec::new()).await.unwrap();
    for (n, session) in begun.iter().enumerate() {
        let found = world.store().load(session.digest(), world.now()).await.unwrap();
        let expected = (n != 50).then(|| world.now());
        assert_eq!(found.map(|found| found.last_seen()), expected, "number {n}");
    }
}

pub async fn it_says_that_it_can_take_a_login<S: UnderTest>(world: &mut World<S>) {
    world.store().check().await.unwrap();
    world.login(&anna()).await;
    world.store().check().await.unwrap();
}

pub async fn odd_names_and_keys_come_back_as_they_were<S: UnderTest>(world: &mut World<S>) {
    let long = "x".repeat(128);
    let keys = ["", "tiihtNczf5v6AKRyjwEUhQ==", "{\"a\":'b'}", &"k".repeat(1000)];
    for openid in ["o", "{o}:*?[a]", "o'--", "\"o\"", "%00", &long] {
        let user = user(&long, openid);
        let unionid = Some(UnionId::parse(openid).unwrap());
        let terms = Terms { idle: IDLE, lifetime: Duration::MAX };
        let session = world.session_with(Identity { user: user.clone(), unionid }, terms);
        for key in keys {
            world.store().begin(&session, &SessionKey::new(key), 1, world.now()).await.unwrap();
            assert_eq!(world.session_key(&user).await.as_deref(), Some(key), "{openid}");
        }
        assert!(world.finds(&session).await, "{openid}");
        assert_eq!(digests(&world.sessions_of(&user).await), digests([&session]), "{openid}");
        assert!(world.end(&session).await, "{openid}");
    }
}

pub async fn a_restart_forgets_nothing_and_revives_nothing<S: UnderTest>(world: &mut World<S>) {
    let (kept, _) = world.login_with(&anna(), "kept", 0).await;
    let ended = world.login(&anna()).await;
    let everywhere = world.login(&bert()).await;
    let unused = world.login(&user("wx1", "o-carl")).await;
    world.later(IDLE / 2);
    world.touch(&kept, world.now()).await;
    assert!(world.end(&ended).await);
    world.end_user(&bert()).await;
    if !world.reopen().await {
        return;
    }
    assert!(world.finds(&kept).await);
    assert_eq!(world.sessions_of(&anna()).await[0].last_seen(), world.now());
    assert_eq!(world.session_key(&anna()).await.as_deref(), Some("key"), "of the newer login, though it was ended");
    for gone in [&ended, &everywhere] {
        assert!(!world.finds(gone).await);
    }
    world.later(IDLE / 2);
    assert!(world.reopen().await);
    assert!(world.finds(&kept).await && !world.finds(&unused).await);
    world.sweep().await;
    assert!(world.count().await <= 2, "the kept one, and for a while the one that has run out");
}

pub async fn sessions_of_one_user_end_each_at_the_time_that_it_began_with<S: UnderTest>(world: &mut World<S>) {
    let terms = |times: u32| Terms { idle: IDLE * times, lifetime: LIFETIME * times };
    let (short, _) = world.login_for(terms(1), &anna(), "key", 0).await;
    let (long, _) = world.login_for(terms(3), &anna(), "key", 0).await;
    let (other, _) = world.login_for(terms(2), &user("wx2", "o-anna"), "key", 0).await;
    for (later, live) in [(IDLE, [false, true, true]), (IDLE, [false, true, false]), (IDLE, [false; 3])] {
        world.later(later);
        world.reopen().await;
        let found = [world.finds(&short).await, world.finds(&long).await, world.finds(&other).await];
        // Where a restart forgets all, none may be there.
        assert!(found == live || found == [false; 3], "{found:?}");
    }
}

pub async fn a_shorter_session_takes_nothing_of_a_longer_one_along<S: UnderTest>(world: &mut World<S>) {
    let (long, _) = world.login_for(Terms { idle: LIFETIME, lifetime: LIFETIME }, &anna(), "long", 0).await;
    let (short, _) = world.login_for(Terms { idle: SECOND, lifetime: SECOND }, &anna(), "short", 0).await;
    world.later(SECOND);
    world.sweep().await;
    assert_eq!([world.finds(&short).await, world.finds(&long).await], [false, true]);
    assert_eq!(digests(&world.sessions_of(&anna()).await), digests([&long]));
    assert_eq!(world.session_key(&anna()).await.as_deref(), Some("short"), "the newest login's, while any is live");
    let (_, displaced) = world.login_for(Terms { idle: SECOND, lifetime: SECOND }, &anna(), "key", 1).await;
    assert!(displaced.contains(long.digest()), "per_user counts arrivals, not times");
}
