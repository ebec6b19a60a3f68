//! What the contract says of notices: there where their change is, told in the order of their user, to one at a time.

use std::time::Duration;

use wxgate::store::{Claim, Claimed, Fate, Posting, Removed, Room, SUPERSEDED, Waiting, Written};

use super::{LASTS, PER_USER, SECOND, UnderTest, World, anna, bert, posting, profile, races::at_once};

pub async fn a_notice_is_there_where_its_change_is<S: UnderTest>(world: &mut World<S>) {
    assert_eq!(world.put_telling(&anna(), Some(1), 2, 1).await, Written::No);
    assert_eq!(world.forget_telling(&anna(), 2).await, None);
    assert_eq!(world.claim().await, []);
    assert_eq!(world.put_telling(&anna(), None, 1, 3).await, Written::Yes);
    assert!(world.put_profile(&anna(), Some(1), 2).await, "and this one is told to nobody");
    let removed = Removed { profile: profile(2), crowded: false };
    assert_eq!(world.forget_telling(&anna(), 4).await, Some(removed));
    let waiting = Waiting { notices: 2, oldest: Some(world.now()) };
    assert_eq!(world.store().waiting_notices().await.unwrap(), waiting);
    for notice in [3, 4] {
        assert_eq!(world.claim().await, [(anna(), notice)]);
        assert!(world.settle(&anna(), Fate::Over).await);
    }
    assert_eq!(world.claim().await, []);
    assert_eq!(world.store().waiting_notices().await.unwrap(), Waiting::default());
}

pub async fn one_users_are_told_one_after_the_other_and_hold_up_nobody<S: UnderTest>(world: &mut World<S>) {
    for (version, user) in [(1, anna()), (1, bert())] {
        world.put_telling(&user, None, version, 1).await;
        world.put_telling(&user, Some(1), 2, 2).await;
    }
    let mut claimed = world.claim().await;
    claimed.sort_by_key(|(user, _)| user.openid.as_str().to_owned());
    assert_eq!(claimed, [(anna(), 1), (bert(), 1)]);
    assert_eq!(world.claim().await, [], "they are claimed");
    assert!(world.settle(&bert(), Fate::Over).await);
    assert_eq!(world.claim().await, [(bert(), 2)]);
    assert_eq!(world.claim().await, [], "anna's second waits for her first");
}

pub async fn what_is_to_be_tried_again_waits_and_counts<S: UnderTest>(world: &mut World<S>) {
    world.put_telling(&anna(), None, 1, 1).await;
    for attempts in 0..3 {
        let claimed = world.claimed(LASTS).await;
        assert_eq!(claimed.iter().map(|one| one.attempts).collect::<Vec<_>>(), [attempts]);
        assert!(world.settle(&anna(), Fate::Again(world.now() + 10 * SECOND)).await);
        assert_eq!(world.claim().await, []);
        world.later(9 * SECOND);
        assert_eq!(world.claim().await, []);
        world.later(SECOND);
    }
    world.put_telling(&anna(), Some(1), 2, 2).await;
    assert_eq!(world.claim().await, [(anna(), 1)]);
    assert!(world.settle(&anna(), Fate::Over).await);
    assert_eq!(world.claimed(LASTS).await[0].attempts, 0, "of the next one");
}

pub async fn a_claim_of_which_nothing_is_heard_goes_to_another<S: UnderTest>(world: &mut World<S>) {
    world.put_telling(&anna(), None, 1, 1).await;
    let short = Duration::from_millis(20);
    assert_eq!(world.claimed(short).await.len(), 1);
    let theirs = Claim { by: [8; 16], lasts: LASTS };
    let mut taken: Vec<Claimed> = Vec::new();
    // A server counts by its own clock, which a test can't move.
    while taken.is_empty() {
        world.later(short);
        taken = world.store().claim_notices(theirs, world.now(), 10).await.unwrap();
    }
    assert!(!world.settle(&anna(), Fate::Over).await, "it is not ours any more");
    assert_eq!(world.store().waiting_notices().await.unwrap().notices, 1);
    assert!(world.store().settle_notice(&anna(), [8; 16], Fate::Over, world.now()).await.unwrap());
}

pub async fn where_there_is_no_room_the_oldest_but_one_gives_way<S: UnderTest>(world: &mut World<S>) {
    for notice in 1..=5 {
        let before = (notice > 1).then(|| u64::from(notice) - 1);
        let written = world.put_telling(&anna(), before, notice.into(), notice).await;
        assert_eq!(written == Written::Crowded, usize::from(notice) > PER_USER, "{notice}");
    }
    for notice in [1, 4, 5] {
        assert_eq!(world.claim().await, [(anna(), notice)]);
        assert!(world.settle(&anna(), Fate::Over).await);
    }
}

pub async fn where_there_is_no_room_at_all_a_change_is_made_and_told_to_nobody<S: UnderTest>(world: &mut World<S>) {
    let none = in_all(0, posting(world.now(), 1));
    assert_eq!(put(world, None, 1, &none).await, Written::Crowded);
    assert_eq!(world.profile(&anna()).await, Some(profile(1)));
    assert_eq!(world.store().waiting_notices().await.unwrap(), Waiting::default());
    let removed = Removed { profile: profile(1), crowded: true };
    let removal = Posting { supersedes: true, ..none };
    assert_eq!(world.store().forget_profile(&anna(), Some(&removal)).await.unwrap(), Some(removed));
    assert_eq!(world.claim().await, []);
}

pub async fn where_there_is_room_for_one_it_is_the_newest_that_is_told<S: UnderTest>(world: &mut World<S>) {
    let one = |number| in_all(1, posting(world.now(), number));
    assert_eq!(put(world, None, 1, &one(1)).await, Written::Yes);
    assert_eq!(world.claim().await, [(anna(), 1)]);
    assert!(world.settle(&anna(), Fate::Again(world.now() + 10 * SECOND)).await);
    assert_eq!(put(world, Some(1), 2, &one(2)).await, Written::Crowded);
    assert_eq!(world.store().waiting_notices().await.unwrap().notices, 1);
    let claimed = world.claimed(LASTS).await;
    assert_eq!(claimed.iter().map(|one| (number(one), one.attempts)).collect::<Vec<_>>(), [(2, 0)], "at once");
    assert!(world.settle(&anna(), Fate::Over).await);
    assert_eq!(world.store().waiting_notices().await.unwrap(), Waiting::default());
}

pub async fn what_is_under_way_has_the_newest_behind_it_whatever_the_room<S: UnderTest>(world: &mut World<S>) {
    let one = |number| in_all(1, posting(world.now(), number));
    assert_eq!(put(world, None, 1, &one(1)).await, Written::Yes);
    assert_eq!(world.claim().await, [(anna(), 1)]);
    assert_eq!(put(world, Some(1), 2, &one(2)).await, Written::Yes, "nothing is lost");
    assert_eq!(put(world, Some(2), 3, &one(3)).await, Written::Crowded);
    assert_eq!(world.store().waiting_notices().await.unwrap().notices, 2);
    assert!(world.settle(&anna(), Fate::Over).await);
    assert_eq!(world.claim().await, [(anna(), 3)]);
    assert!(world.settle(&anna(), Fate::Over).await);
}

pub async fn what_supersedes_leaves_of_the_earlier_only_what_is_under_way<S: UnderTest>(world: &mut World<S>) {
    let again = Fate::Again(world.now() + 10 * SECOND);
    for (is_claimed, fate) in [(false, Fate::Over), (true, Fate::Over), (true, again)] {
        for notice in 1..=3 {
            world.put_telling(&anna(), (notice > 1).then(|| u64::from(notice) - 1), notice.into(), notice).await;
        }
        world.put_telling(&bert(), None, 1, 5).await;
        if is_claimed {
            assert_eq!(world.claim().await.len(), 2);
        }
        let removal = Posting { supersedes: true, ..posting(world.now(), 4) };
        let removed = Removed { profile: profile(3), crowded: false };
        assert_eq!(world.store().forget_profile(&anna(), Some(&removal)).await.unwrap(), Some(removed));
        assert_eq!(world.store().waiting_notices().await.unwrap().notices, if is_claimed { 3 } else { 2 });
        if is_claimed {
            // Whatever became of it, it is not tried again, and what superseded it does not wait either.
            assert!(world.settle(&anna(), fate).await);
            assert_eq!(world.claim().await, [(anna(), 4)]);
        } else {
            assert_eq!(world.claim().await.len(), 2);
        }
        for user in [anna(), bert()] {
            assert!(world.settle(&user, Fate::Over).await);
        }
        world.forget_profile(&bert()).await;
        assert_eq!(world.store().waiting_notices().await.unwrap(), Waiting::default());
    }
}

pub async fn a_claim_that_runs_out_under_what_is_superseded_says_so<S: UnderTest>(world: &mut World<S>) {
    world.put_telling(&anna(), None, 1, 1).await;
    assert_eq!(world.claimed(Duration::from_millis(20)).await.len(), 1);
    let removal = Posting { supersedes: true, ..posting(world.now(), 2) };
    assert!(world.store().forget_profile(&anna(), Some(&removal)).await.unwrap().is_some());
    let claimed = loop {
        world.later(SECOND);
        let claimed = world.claimed(LASTS).await;
        if !claimed.is_empty() {
            break claimed;
        }
    };
    assert_eq!(claimed.iter().map(|one| (number(one), one.attempts)).collect::<Vec<_>>(), [(1, SUPERSEDED)]);
    assert!(world.settle(&anna(), Fate::Over).await);
    assert_eq!(world.claim().await, [(anna(), 2)]);
}

pub async fn what_is_due_too_far_ahead_is_due_for_the_clock_was_moved_back<S: UnderTest>(world: &mut World<S>) {
    let hour = Duration::from_hours(1);
    for (ahead, number) in [(hour, 1), (50 * hour, 2)] {
        let user = if number == 1 { anna() } else { bert() };
        let posting = posting(world.now() + ahead, number);
        world.store().put_profile(&user, None, &profile(1), Some(&posting)).await.unwrap();
    }
    assert_eq!(world.claim().await, [(bert(), 2)]);
    assert_eq!(world.claim().await, [], "and has a claim like any");
    assert!(world.settle(&bert(), Fate::Again(world.now() + 50 * hour)).await);
    assert_eq!(world.claim().await, [(bert(), 2)]);
    world.later(hour);
    assert_eq!(world.claim().await, [(anna(), 1)]);
}

pub async fn a_restart_forgets_no_notice<S: UnderTest>(world: &mut World<S>) {
    world.put_telling(&anna(), None, 1, 1).await;
    world.put_telling(&anna(), Some(1), 2, 2).await;
    assert_eq!(world.claim().await, [(anna(), 1)]);
    world.settle(&anna(), Fate::Again(world.now())).await;
    if !world.reopen().await {
        return;
    }
    for (notice, attempts) in [(1, 1), (2, 0)] {
        let claimed = world.claimed(LASTS).await;
        assert_eq!(claimed.iter().map(|one| (number(one), one.attempts)).collect::<Vec<_>>(), [(notice, attempts)]);
        world.settle(&anna(), Fate::Over).await;
    }
}

pub async fn of_many_who_claim_one_has_it<S: UnderTest>(world: &mut World<S>) {
    for version in 1..30 {
        world.put_telling(&anna(), (version > 1).then(|| version - 1), version, 1).await;
        let claim = |by: u64| {
            let (store, now) = (world.store(), world.now());
            let claim = Claim { by: [u8::try_from(by).expect("a few"); 16], lasts: LASTS };
            async move { store.claim_notices(claim, now, 10).await.expect("an answer").pop().map(|_| claim.by) }
        };
        let had = at_once((0..6).map(claim)).await.into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(had.len(), 1);
        assert!(world.store().settle_notice(&anna(), had[0], Fate::Over, world.now()).await.unwrap());
    }
}

async fn put<S: UnderTest>(world: &World<S>, before: Option<u64>, version: u64, posting: &Posting) -> Written {
    world.store().put_profile(&anna(), before, &profile(version), Some(posting)).await.expect("an answer")
}

fn in_all(in_all: usize, posting: Posting) -> Posting {
    Posting { room: Room { in_all, ..posting.room }, ..posting }
}

/// The number that [`posting`] has made it with.
pub fn number(claimed: &Claimed) -> u8 {
    let notice = claimed.notice.as_ref().expect("one that can be read");
    assert_eq!(claimed.made, notice.made);
    assert_eq!((notice.id, notice.bytes.as_slice()), ([notice.bytes[0]; 16], &notice.id[..1]));
    notice.bytes[0]
}
