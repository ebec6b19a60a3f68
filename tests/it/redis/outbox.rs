//! What waits to be told, when something is wrong with the Redis that it waits in.

use std::time::Duration;

use redis::{Commands, Value};
use wxgate::{
    config::sections::Redis,
    model::Timestamp,
    store::{Claim, Claimed, Error, Fate, Notice, Posting, ProfileRecord, Room, Store, Waiting, Written},
};

use super::{
    Instance, NOW,
    guarded::{least, login},
    told, user,
};
use crate::support::{
    redis_server::{RedisCluster, RedisServer},
    until,
};

const CLAIM: Claim = Claim { by: [7; 16], lasts: Duration::from_hours(1) };

fn profile() -> ProfileRecord {
    ProfileRecord { version: 1, bytes: b"Anna".to_vec() }
}

fn posting(made: Timestamp) -> Posting {
    let notice = Notice { id: [1; 16], made, bytes: b"told".to_vec() };
    Posting { notice, room: Room { per_user: 3, in_all: 100_000 }, supersedes: false }
}

fn put(one: &Instance, openid: &str) -> Result<Written, Error> {
    one.wait(one.store.put_profile(&user(openid), None, &profile(), Some(&posting(NOW))))
}

fn claim(one: &Instance) -> Vec<Claimed> {
    one.wait(one.store.claim_notices(CLAIM, NOW, 1000)).expect("an answer")
}

fn settle(one: &Instance, openid: &str, fate: Fate) {
    assert!(one.wait(one.store.settle_notice(&user(openid), CLAIM.by, fate, NOW)).unwrap());
}

fn waiting(one: &Instance) -> Waiting {
    one.wait(one.store.waiting_notices()).expect("an answer")
}

fn names() -> impl Iterator<Item = String> {
    (0..30).map(|n| format!("o{n}"))
}

fn queues(server: &RedisServer) -> Vec<String> {
    server.connection().keys("wxg:q:*").unwrap()
}

/// Removes all queues by hand.
pub fn lose_queues(server: &RedisServer) {
    let _: () = server.connection().del(queues(server)).unwrap();
}

/// Such a user may write profiles, and nothing of what came with notices.
#[test]
fn where_the_rights_of_an_older_version_refuse_the_notice_the_profile_is_not_changed() {
    let server = RedisServer::start();
    let new = ["llen", "lindex", "lset", "lpop", "lpush", "rpush", "incrby", "zrangebyscore"];
    let old = least();
    let old = old.split(' ').filter(|word| !new.contains(&word.trim_start_matches('+'))).collect::<Vec<_>>().join(" ");
    server.tell(&format!("ACL SETUSER wxgate {old}"));
    let one = Instance::of(&Redis { login: login("wxgate", "word"), ..server.section() });
    let why = told(put(&one, "o1"));
    assert_eq!(one.wait(one.store.profile(&user("o1"))).unwrap(), None);
    assert!(why.contains("NOPERM") && why.contains("docs/INSTANCES.md"), "{why}");
    assert!(one.wait(one.store.put_profile(&user("o1"), None, &profile(), None)).unwrap().is_made());
    assert!(one.wait(one.store.forget_profile(&user("o1"), Some(&posting(NOW)))).is_err());
    assert_eq!(one.wait(one.store.profile(&user("o1"))).unwrap(), Some(profile()));
    let why = told(one.wait(one.store.claim_notices(CLAIM, NOW, 10)));
    assert!(why.contains("NOPERM"), "{why}");
}

#[test]
fn while_a_master_is_away_what_the_others_have_is_told() {
    let cluster = RedisCluster::start();
    let one = Instance::of(&cluster.section());
    for name in names() {
        put(&one, &name).unwrap();
    }
    let on_the_first = queues(&cluster.members[0]).len();
    assert!(on_the_first > 0 && on_the_first < 30);
    cluster.members[0].pause();
    // It is noticed by the first call that waits in vain.
    let mut found = claim(&one).len();
    assert_eq!(found, 30 - on_the_first);
    assert_eq!(waiting(&one), Waiting { notices: 30 - on_the_first as u64, oldest: Some(NOW) });
    let nobody = one.wait(one.store.claim_notices(CLAIM, NOW, 1000));
    assert!(matches!(nobody, Err(Error::Unavailable(_))), "nothing was claimed, and not all was asked: {nobody:?}");
    cluster.members[0].resume();
    until("the rest", || {
        found += one.wait(one.store.claim_notices(CLAIM, NOW, 1000)).map_or(0, |claimed| claimed.len());
        (found == 30).then_some(())
    });
    assert_eq!(waiting(&one).notices, 30);
}

/// What can't be told while a slot moves is not what is not there.
#[test]
fn while_a_slot_moves_its_users_wait_and_nothing_of_theirs_is_lost() {
    let cluster = RedisCluster::start();
    let one = Instance::of(&cluster.section());
    put(&one, "o1").unwrap();
    let members = &cluster.members;
    let from = members.iter().find(|member| !queues(member).is_empty()).unwrap();
    let to = members.iter().find(|member| member.addr() != from.addr()).unwrap();
    let queue = queues(from).remove(0);
    let [from_id, to_id] = [from, to].map(|member| word(member.tell("CLUSTER MYID")));
    let slot = number_of(from.tell(&format!("CLUSTER KEYSLOT {queue}")));
    to.tell(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}"));
    from.tell(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}"));
    let move_key = |key: &str| {
        from.tell(&format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.addr().port()));
    };
    move_key(&queue);
    for _ in 0..3 {
        let claimed = one.wait(one.store.claim_notices(CLAIM, NOW, 1000));
        assert!(claimed.as_ref().map_or(true, Vec::is_empty), "{claimed:?}");
    }
    let rest: Vec<String> = from.connection().keys("wxg:*").unwrap();
    for key in rest.iter().filter(|key| number_of(from.tell(&format!("CLUSTER KEYSLOT {key}"))) == slot) {
        move_key(key);
    }
    for member in [to, from] {
        member.tell(&format!("CLUSTER SETSLOT {slot} NODE {to_id}"));
    }
    let claimed = until("the one that waits", || one.wait(one.store.claim_notices(CLAIM, NOW, 1000)).ok()?.pop());
    assert!(claimed.notice.is_some_and(|notice| notice.bytes == b"told"));
    assert_eq!(waiting(&one).notices, 1);
}

fn word(value: Value) -> String {
    redis::from_redis_value(value).expect("a word")
}

fn number_of(value: Value) -> i64 {
    redis::from_redis_value(value).expect("a number")
}

#[test]
fn no_more_is_claimed_than_is_wanted_and_all_have_their_turn() {
    let server = RedisServer::start();
    let one = Instance::of(&server.section());
    for name in names() {
        put(&one, &name).unwrap();
    }
    let some = || one.wait(one.store.claim_notices(CLAIM, NOW, 8)).unwrap().len();
    assert_eq!([some(), some(), some(), some(), some()], [8, 8, 8, 6, 0]);
}

/// What fills it may be what waits to be told.
#[test]
fn a_full_redis_gives_out_what_waits_and_so_has_room_again() {
    let server = RedisServer::start();
    let one = Instance::of(&server.section());
    put(&one, "o1").unwrap();
    let second = one.wait(one.store.put_profile(&user("o1"), Some(1), &profile(), Some(&posting(NOW))));
    assert_eq!(second.unwrap(), Written::Yes);
    server.tell("CONFIG SET maxmemory 1");
    assert!(told(put(&one, "o2")).contains("maxmemory"));
    assert_eq!(one.wait(one.store.profile(&user("o2"))).unwrap(), None);
    assert_eq!(waiting(&one).notices, 2, "none of it is half done");
    let removal = Posting { supersedes: true, ..posting(NOW) };
    let removed = one.wait(one.store.forget_profile(&user("o1"), Some(&removal))).unwrap();
    assert!(removed.is_some(), "what is removed makes room");
    assert_eq!(waiting(&one).notices, 1, "and what came before it is dropped");
    for fate in [Fate::Again(NOW), Fate::Over] {
        assert_eq!(claim(&one).len(), 1, "{fate:?}");
        settle(&one, "o1", fate);
    }
    assert_eq!(waiting(&one), Waiting::default());
    server.tell("CONFIG SET maxmemory 0");
    put(&one, "o2").unwrap();
}

#[test]
fn what_was_removed_by_hand_counts_no_more() {
    let server = RedisServer::start();
    let one = Instance::of(&server.section());
    for name in names() {
        put(&one, &name).unwrap();
    }
    lose_queues(&server);
    put(&one, "o-later").unwrap();
    assert_eq!(claim(&one).len(), 1);
    assert_eq!(waiting(&one).notices, 1);
    settle(&one, "o-later", Fate::Over);
    assert_eq!(waiting(&one), Waiting::default());
}

#[test]
fn what_is_no_queue_or_no_notice_holds_up_nobody() {
    let server = RedisServer::start();
    let one = Instance::of(&server.section());
    for name in names() {
        put(&one, &name).unwrap();
    }
    let mut queues = queues(&server);
    let (odd, short) = (queues.pop().unwrap(), queues.pop().unwrap());
    server.tell(&format!("SET {odd} x"));
    server.tell(&format!("LSET {short} 0 x"));
    let claimed = claim(&one);
    assert_eq!(claimed.len(), 29);
    let unreadable: Vec<_> = claimed.iter().filter(|one| one.notice.is_none()).collect();
    let [unreadable] = unreadable[..] else { panic!("{unreadable:?}") };
    assert_eq!((unreadable.made.as_millis(), unreadable.attempts), (0, 0));
    for fate in [Fate::Again(NOW), Fate::Over] {
        settle(&one, unreadable.user.openid.as_str(), fate);
        assert_eq!(claim(&one).len(), usize::from(fate != Fate::Over));
    }
    assert_eq!(waiting(&one).notices, 28);
}

#[test]
fn of_what_no_key_opens_it_is_known_how_old_it_is_and_how_often_it_was_tried() {
    let server = RedisServer::start();
    let one = Instance::of(&server.section());
    put(&one, "o1").unwrap();
    let [queue] = &queues(&server)[..] else { panic!("one queue") };
    let mut record: Vec<u8> = server.connection().lindex(queue, 0).unwrap();
    *record.last_mut().unwrap() ^= 1;
    let _: () = server.connection().lset(queue, 0, record).unwrap();
    claim(&one);
    settle(&one, "o1", Fate::Again(NOW));
    let [claimed] = &claim(&one)[..] else { panic!("one notice") };
    assert!(claimed.notice.is_none());
    assert_eq!((claimed.made, claimed.attempts), (NOW, 1));
}
