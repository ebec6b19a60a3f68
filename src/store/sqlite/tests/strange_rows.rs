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

/// Two users of whom something waits, and what is claimed of it after this damage to the rows of the first.
fn claimed_after(damage: &'static str) -> (World, Vec<crate::store::Claimed>) {
    let world = World::new();
    for (number, made) in [(1, 1), (2, 2)] {
        let notice = Notice { id: [1; 16], made: Timestamp::from_millis(made), bytes: b"told".to_vec() };
        let room = crate::store::Room { per_user: 2, in_all: 10 };
        let posting = Posting { notice, room, supersedes: false };
        let profile = ProfileRecord { version: 1, bytes: b"Anna".to_vec() };
        let user = session(number).identity().user.clone();
        world.runtime.block_on(world.store.put_profile(&user, None, &profile, Some(&posting))).unwrap();
    }
    world.inside(damage);
    let claimed = world.runtime.block_on(world.store.claim_notices(CLAIM, NOW, 10));
    (world, claimed.unwrap())
}

const CLAIM: Claim = Claim { by: [7; 16], lasts: Duration::from_secs(20) };

#[test]
fn a_notice_that_we_did_not_write_is_there_and_unreadable_and_holds_up_nobody() {
    let damages = [
        "UPDATE notices SET event = x'00' WHERE id = 1",
        "UPDATE notices SET sealed = x'00' WHERE id = 1",
        "UPDATE notices SET made = -1 WHERE id = 1",
        "UPDATE notices SET attempts = -1 WHERE id = 1",
        "UPDATE notices SET attempts = 9223372036854775807 WHERE id = 1",
    ];
    for damage in damages {
        let (world, claimed) = claimed_after(damage);
        assert_eq!(claimed.len(), 2, "{damage}");
        assert!(claimed[1].notice.is_some(), "{damage}");
        let is_readable = damage.contains("attempts") || damage.contains("made");
        assert_eq!(claimed[0].notice.is_some(), is_readable, "{damage}");
        assert_eq!(claimed[0].made.as_millis(), u64::from(!damage.contains("made")), "{damage}");
        for (fate, claims) in [(Fate::Again(NOW), 1), (Fate::Over, 0)] {
            let user = session(1).identity().user.clone();
            assert!(world.runtime.block_on(world.store.settle_notice(&user, CLAIM.by, fate, NOW)).unwrap(), "{damage}");
            assert_eq!(world.runtime.block_on(world.store.claim_notices(CLAIM, NOW, 10)).unwrap().len(), claims);
        }
        assert_eq!(world.runtime.block_on(world.store.waiting_notices()).unwrap().notices, 1, "{damage}");
    }
}

#[test]
fn what_waits_of_nobody_or_of_nothing_is_cleared_away_and_holds_up_nobody() {
    let damages = [
        "UPDATE waiting SET openid = '' WHERE id = 1",
        "PRAGMA foreign_keys = FALSE; UPDATE waiting SET app = 77 WHERE id = 1",
        "DELETE FROM notices WHERE id = 1; UPDATE counts SET notices = 1",
    ];
    for damage in damages {
        let (world, claimed) = claimed_after(damage);
        assert_eq!(claimed.len(), 1, "{damage}");
        let rows = world.store.writer.change(1, |change| {
            Ok(change.connection().query_row("SELECT count(*) FROM waiting", [], |row| row.get::<_, i64>(0))?)
        });
        assert_eq!(world.runtime.block_on(rows).unwrap(), 1, "{damage}");
        assert_eq!(world.runtime.block_on(world.store.waiting_notices()).unwrap().notices, 1, "{damage}");
    }
}
