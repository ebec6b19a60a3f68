//! What a worker finds again by itself, and for how long.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::*;

impl World {
    /// Takes it out of the cache, which is no change of it.
    fn leaves_the_cache(&self, issued: &Issued) {
        self.sessions.near.cache.remove(issued.session.digest());
    }
}

#[test]
fn what_was_found_is_found_again_without_the_cache_for_a_moment_and_no_longer() {
    let (world, recent) = (World::new(), Recent::default());
    let (anna, bert) = (world.login(&anna()), world.login(&user("wx1", "o-bert")));
    assert!(world.at_hand(&anna, &recent));
    world.leaves_the_cache(&anna);
    world.leaves_the_cache(&bert);
    assert!(world.at_hand(&anna, &recent) && !world.at_hand(&bert, &recent));
    assert!(!world.at_hand(&anna, &Recent::default()), "another worker has found nothing");
    for _ in 0..3 {
        recent.sweep();
        assert!(world.at_hand(&anna, &recent));
    }
    recent.sweep();
    assert!(!world.at_hand(&anna, &recent), "to be found again has made it no fresher");
}

#[test]
fn what_has_run_out_is_not_found_again() {
    for (steps, last) in [(3, 3 * SECOND), (0, IDLE)] {
        let (world, recent) = (World::new(), Recent::default());
        let issued = world.login(&anna());
        for _ in 0..steps {
            world.clock.advance(99 * SECOND);
            assert!(world.at_hand(&issued, &recent), "it was used, and is still within its lifetime");
        }
        assert!(world.at_hand(&issued, &recent));
        world.clock.advance(last);
        assert!(!world.at_hand(&issued, &recent));
    }
}

#[test]
fn what_has_ended_in_whatever_way_is_not_found_again() {
    type End = fn(&World, &Issued);
    let ways: [(&str, End); 5] = [
        ("logged out", |world, issued| world.revoke(issued)),
        ("logged out everywhere", |world, _| _ = world.revoke_user(&anna())),
        ("changed elsewhere", |world, issued| world.sessions.near.changed(issued.session.digest())),
        ("all may have changed", |world, _| world.sessions.near.all_changed()),
        ("told of by whoever holds it", |_, issued| _ = issued.session.end()),
    ];
    for (how, end) in ways {
        for leaves in [false, true] {
            let (world, recent) = (World::new(), Recent::default());
            let issued = world.login(&anna());
            assert!(world.at_hand(&issued, &recent));
            if leaves {
                world.leaves_the_cache(&issued);
            }
            end(&world, &issued);
            assert!(!world.at_hand(&issued, &recent), "{how}");
        }
    }
}

#[test]
fn who_had_to_leave_for_want_of_room_is_logged_out_at_once() {
    let (world, recent) = (World::with(|section| section.capacity = 1), Recent::default());
    let first = world.login(&anna());
    assert!(world.at_hand(&first, &recent));
    let second = world.login(&anna());
    world.sessions.near.cache.settle();
    assert!(!world.at_hand(&first, &recent) && world.at_hand(&second, &recent));
}

#[test]
fn two_that_have_one_place_take_turns() {
    let (world, recent) = (World::new(), Recent::default());
    let (cache, now) = (&world.sessions.near.cache, world.clock.now());
    let sessions = [1, 2].map(|first| {
        let mut digest = [7; 32];
        digest[0] = first;
        let (identity, terms) = (Identity { user: anna(), unionid: None }, Stay::usual(&world.sessions.section).terms);
        let session = Session::begin(identity, TokenDigest::new(digest), UserTag::new([0; 8]), terms, now);
        let (session, asked_at) = (Arc::new(session), cache.generations.of(&TokenDigest::new(digest)));
        assert!(cache.insert(&session, asked_at));
        session
    });
    for session in sessions.iter().chain(&sessions) {
        assert!(Arc::ptr_eq(&recent.find(session.digest(), cache, now).unwrap(), session));
    }
}

/// A session that was ended elsewhere while the store was asked for it comes into the cache for a moment.
#[test]
fn what_a_look_up_takes_back_is_not_found_again() {
    let (world, recent) = (World::new(), Recent::default());
    let (issued, cache, now) = (world.login(&anna()), &world.sessions.near.cache, world.clock.now());
    let digest = issued.session.digest();
    let asked_at = cache.generations.of(digest);
    cache.drop_changed(digest);
    // As if the change had come between the first look at the number and this.
    assert!(cache.insert(&issued.session, cache.generations.of(digest)));
    assert!(recent.find(digest, cache, now).is_some());
    cache.take_back(digest);
    assert!(recent.find(digest, cache, now).is_none());
    assert!(!cache.insert(&issued.session, asked_at));
}

/// Whoever looks for it just when it is changed must not keep what he found.
#[test]
fn once_a_change_is_done_nobody_finds_what_was_before_it() {
    let world = World::new();
    let (near, now) = (&world.sessions.near, world.clock.now());
    let (issued, is_over, barrier) = (world.login(&anna()), AtomicBool::new(false), Barrier::new(2));
    let digest = issued.session.digest();
    let found_later = thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let (recent, mut found_later) = (Recent::default(), 0);
            for _ in 0..2000 {
                barrier.wait();
                loop {
                    let is_over = is_over.load(Ordering::SeqCst);
                    let is_found = recent.find(digest, &near.cache, now).is_some();
                    if is_over {
                        found_later += usize::from(is_found);
                        break;
                    }
                }
                barrier.wait();
            }
            found_later
        });
        for _ in 0..2000 {
            assert!(near.cache.insert(&issued.session, near.cache.generations.of(digest)));
            is_over.store(false, Ordering::SeqCst);
            barrier.wait();
            // An answer that is on its way from the store all the while.
            let asked_at = near.cache.generations.of(digest);
            thread::scope(|both| {
                both.spawn(|| near.cache.insert(&issued.session, asked_at));
                near.changed(digest);
            });
            is_over.store(true, Ordering::SeqCst);
            barrier.wait();
        }
        looks.join().unwrap()
    });
    assert_eq!(found_later, 0, "of 2000 times");
}
