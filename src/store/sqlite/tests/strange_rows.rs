//! Rows that are not what we wrote: they are unreadable, which is not the same as missing.

use super::*;

#[test]
fn a_row_that_we_did_not_write_is_unreadable_and_not_missing() {
    let damages = [
        "UPDATE sessions SET idle = -1",
        "UPDATE sessions SET lifetime = 1 << 40",
        "UPDATE sessions SET seen = -1",
        "UPDATE sessions SET created = -1",
        "UPDATE sessions SET unionid = 'two words'",
        "UPDATE sessions SET user = 77",
        "UPDATE users SET openid = ''",
        "UPDATE users SET app = 77",
        "UPDATE apps SET app_id = 'ö'",
    ];
    for damage in damages {
        let world = World::new();
        let session = session(1);
        world.login(&session).unwrap();
        world.inside(damage);
        assert!(is_unreadable(&world.load(&session)), "{damage}");
        let recent = world.runtime.block_on(world.store.recent(10, NOW));
        assert!(is_unreadable(&recent), "{damage}");
    }
}

#[test]
fn a_session_key_that_does_not_open_is_unreadable_and_the_session_goes_on() {
    let damages = [
        "UPDATE users SET session_key = x'00'",
        "UPDATE users SET session_key = (SELECT session_key FROM users u WHERE u.id <> users.id)",
    ];
    for damage in damages {
        let world = World::new();
        let (one, other) = (session(1), session(2));
        world.login(&one).unwrap();
        world.login(&other).unwrap();
        world.inside(damage);
        assert!(is_unreadable(&world.key_of(&one)), "{damage}");
        assert!(world.finds(&one));
        world.login(&one).unwrap();
        assert_eq!(world.key_of(&one).unwrap().unwrap().expose(), "key", "the next login mends it");
    }
}

#[test]
fn a_profile_that_we_did_not_write_is_unreadable_and_not_missing() {
    let damages = [
        "UPDATE profiles SET sealed = x'00'",
        "UPDATE profiles SET sealed = (SELECT sealed FROM profiles p WHERE p.id <> profiles.id)",
        "UPDATE profiles SET version = -1",
    ];
    for damage in damages {
        let world = World::new();
        let users = [session(1), session(2)].map(|session| session.identity().user.clone());
        let profile = crate::store::ProfileRecord { version: 1, bytes: b"Anna".to_vec() };
        for user in &users {
            assert!(world.runtime.block_on(world.store.put_profile(user, None, &profile, None)).unwrap().is_made());
        }
        world.inside(damage);
        let of = |user| world.runtime.block_on(world.store.profile(user));
        assert!(is_unreadable(&of(&users[0])), "{damage}");
        assert!(world.runtime.block_on(world.store.forget_profile(&users[0], None)).unwrap().is_some(), "{damage}");
        assert_eq!(of(&users[0]).unwrap(), None);
    }
}
