//! The list of a user's sessions, by which they are counted, told and ended: what gets off it, and when.

use std::{sync::Arc, time::Duration};

use redis::Value;
use wxgate::{
    model::{Session, SessionKey, Timestamp, TokenDigest},
    store::{Seen, Store},
};

use super::{Instance, KEY, NOW, user};
use crate::support::redis_server::RedisServer;

const MINUTE: Duration = Duration::from_mins(1);

/// After the idle time of an hour, and before what is kept of a session for a while is gone too.
const JUST_RUN_OUT: Duration = Duration::from_mins(62);

fn begin(one: &Instance, at: Timestamp, per_user: usize) -> (Arc<Session>, Vec<TokenDigest>) {
    let session = one.session_at("o1", at);
    let displaced = one.wait(one.store.begin(&session, &SessionKey::new(KEY), per_user, at)).unwrap();
    (session, displaced)
}

fn use_it(one: &Instance, session: &Session, at: Timestamp) {
    let seen = Seen { user: user("o1"), digest: *session.digest(), at };
    one.wait(one.store.touch(vec![seen])).unwrap();
}

fn finds(one: &Instance, session: &Session, at: Timestamp) -> bool {
    one.wait(one.store.load(session.digest(), at)).unwrap().is_some()
}

/// Only the oldest eight were looked at, so eight that live on hid all that ran out behind them.
#[test]
fn sessions_that_ran_out_behind_old_ones_that_live_on_do_not_pile_up() {
    let server = RedisServer::start();
    let one = Instance::of(&server.section());
    let old: Vec<Arc<Session>> = (0..8).map(|_| begin(&one, NOW, 0).0).collect();
    let shard = old[0].digest().shard();
    for n in 1..290 {
        let at = NOW + MINUTE * 2 * n;
        if n % 15 == 0 {
            for session in &old {
                use_it(&one, session, at);
            }
        }
        begin(&one, at, 0);
    }
    // At any time 40 are live: the old ones, and those of an hour and a few minutes.
    let listed = server.tell(&format!("ZCARD wxg:u:{{{shard:02o}}}:3:wx1:o1"));
    assert!(matches!(listed, Value::Int(40..100)), "{listed:?} sessions are listed");
    let end = NOW + MINUTE * 580;
    assert!(old.iter().all(|session| finds(&one, session, end)), "none that is live was taken off");
}

#[test]
fn a_session_that_another_instance_may_know_to_be_live_keeps_a_place_that_nobody_needs() {
    let server = RedisServer::start();
    let one = Instance::of(&server.section());
    let (unsure, _) = begin(&one, NOW, 2);
    let at = NOW + JUST_RUN_OUT;
    let (_, displaced) = begin(&one, at, 2);
    assert_eq!(displaced, []);
    assert!(!finds(&one, &unsure, at), "nobody has said that it was used");
    use_it(&one, &unsure, at);
    assert!(finds(&one, &unsure, at), "now somebody has");

    let (_, displaced) = begin(&one, at, 2);
    assert_eq!(displaced, [*unsure.digest()], "it is the oldest of three");
}

#[test]
fn a_session_that_may_be_live_elsewhere_costs_no_live_one_its_place_and_ends_with_the_others() {
    let server = RedisServer::start();
    let one = Instance::of(&server.section());
    let (used, _) = begin(&one, NOW, 2);
    let (unsure, _) = begin(&one, NOW, 2);
    use_it(&one, &used, NOW + MINUTE * 30);
    let at = NOW + JUST_RUN_OUT;
    let (new, displaced) = begin(&one, at, 2);
    assert_eq!(displaced, [*unsure.digest()], "whoever has it in memory has to let it go");
    use_it(&one, &unsure, at);
    assert!(finds(&one, &used, at) && finds(&one, &new, at) && !finds(&one, &unsure, at));

    let (again, _) = begin(&one, at, 0);
    let later = at + JUST_RUN_OUT;
    let ended = one.wait(one.store.end_user(&user("o1"), later)).unwrap();
    assert_eq!(ended, [*new.digest(), *again.digest()]);
    use_it(&one, &again, later);
    assert!(!finds(&one, &again, later), "no use brings one back that was ended");
}
