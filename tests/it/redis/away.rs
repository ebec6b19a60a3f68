//! Redis goes away and comes back.

use std::time::Duration;

use wxgate::store::Store;

use super::{Instance, News, changed, is_unavailable, key_of, told, user};
use crate::support::redis_server::RedisServer;

const BACK: [News; 3] = [News::Lost, News::AllChanged, News::Restored];

#[test]
fn what_one_instance_changes_the_others_hear() {
    let server = RedisServer::start();
    let (one, other) = (Instance::of(&server.section()), Instance::of(&server.section()));
    let session = one.login("o1");
    other.heard.until(&[changed(&session)]);
    assert!(other.finds(&session));
    other.heard.take();

    assert!(one.end(&session).unwrap());
    other.heard.until(&[changed(&session)]);
    assert!(!other.finds(&session));

    let (first, second) = (one.login("o2"), one.login("o2"));
    other.heard.take();
    one.wait(one.store.end_user(&user("o2"), super::NOW)).unwrap();
    other.heard.until(&[changed(&first)]);
    other.heard.until(&[changed(&second)]);
}

#[test]
fn a_use_that_meets_an_end_does_not_hide_the_end() {
    let server = RedisServer::start();
    let (one, other) = (Instance::of(&server.section()), Instance::of(&server.section()));
    for _ in 0..50 {
        let session = one.login("o1");
        one.heard.until(&[changed(&session)]);
        one.heard.take();
        let seen = wxgate::store::Seen {
            user: session.identity().user.clone(),
            digest: *session.digest(),
            at: super::NOW + Duration::from_mins(1),
        };
        let use_it = one.runtime.handle().block_on(async {
            let touch = one.store.touch(vec![seen]);
            let end = other.store.end(&session.identity().user, session.digest(), super::NOW);
            tokio::join!(touch, end)
        });
        assert!(use_it.1.unwrap());
        one.heard.until(&[changed(&session)]);
        assert!(!one.finds(&session));
    }
}

#[test]
fn everything_that_was_thrown_away_is_heard_of() {
    let server = RedisServer::start();
    let one = Instance::of(&server.section());
    let session = one.login("o1");
    one.heard.take();
    server.tell("FLUSHALL");
    one.heard.until(&[News::AllChanged]);
    assert!(!one.finds(&session), "a real loss");
}

#[test]
fn cut_sockets_cost_what_is_in_memory_and_nothing_else() {
    let server = RedisServer::start();
    let one = Instance::of(&server.section());
    let session = one.login("o1");
    for _ in 0..5 {
        one.heard.take();
        server.cut_connections();
        one.heard.until(&BACK);
        one.until_it_answers();
        assert!(one.finds(&session));
    }
}

#[test]
fn a_redis_that_is_gone_is_no_answer_and_one_that_is_back_is_used_again() {
    let mut server = RedisServer::start();
    let one = Instance::of(&server.section());
    let session = one.login("o1");
    one.heard.take();
    server.kill();
    one.heard.until(&[News::Lost]);
    is_unavailable(&one.load(&session));
    is_unavailable(&one.begin(&one.session("o2")));
    is_unavailable(&one.end(&session));
    is_unavailable(&one.wait(one.store.check()));
    assert!(told(one.load(&session)).contains("there is no connection to Redis"), "{}", told(one.load(&session)));

    server.restart();
    one.heard.until(&[News::Lost, News::AllChanged, News::Restored]);
    one.until_it_answers();
    assert!(!one.finds(&session), "it came back empty, and says so");
    assert!(one.finds(&one.login("o1")));
}

#[test]
fn a_redis_that_is_paused_is_no_answer_and_soon_none_at_once() {
    let server = RedisServer::start();
    let one = Instance::of(&server.section());
    let session = one.login("o1");
    one.heard.take();
    server.pause();
    is_unavailable(&one.load(&session));
    one.heard.until(&[News::Lost]);
    // The second connection may have waited as well; from then on nobody waits.
    let _ = one.load(&session);
    assert!(told(one.load(&session)).contains("no connection"), "{}", told(one.load(&session)));

    server.resume();
    one.heard.until(&BACK);
    one.until_it_answers();
    assert!(one.finds(&session), "it was alive all the time");
}

#[test]
fn an_instance_may_start_before_redis_does() {
    let mut server = RedisServer::start();
    server.kill();
    let one = Instance::unlinked(&server.section());
    is_unavailable(&one.begin(&one.session("o1")));
    assert_eq!(one.heard.take(), [News::Lost], "nobody is to take it for linked");
    server.restart();
    one.heard.until(&[News::AllChanged, News::Restored]);
    one.until_it_answers();
    one.login("o1");
}

#[test]
fn scripts_that_the_server_has_forgotten_are_told_again() {
    let server = RedisServer::start();
    let one = Instance::of(&server.section());
    let session = one.login("o1");
    server.tell("SCRIPT FLUSH");
    assert!(one.end(&session).unwrap());
    one.login("o1");
}

#[test]
fn a_session_that_runs_out_leaves_redis_by_itself() {
    let server = RedisServer::start();
    let one = Instance::of(&server.section());
    let session = one.login("o1");
    let left = |key: String| match server.tell(&format!("PTTL {key}")) {
        redis::Value::Int(millis) => Duration::from_millis(millis.try_into().expect("an expiry")),
        other => panic!("{other:?}"),
    };
    let is_about = |left: Duration, minutes: u64| {
        let (least, most) = (Duration::from_mins(minutes - 1), Duration::from_mins(minutes));
        assert!(left >= least && left <= most, "{left:?}");
    };
    let shard = format!("{{{:02o}}}", session.digest().shard());
    is_about(left(key_of(&session)), 60 + 3 + 1);
    for kind in ["u", "k"] {
        is_about(left(format!("wxg:{kind}:{shard}:3:wx1:o1")), 600);
    }
    // However much later it was used: not beyond its lifetime.
    for (minutes, then) in [(30, 60 + 3 + 1), (570, 30)] {
        let at = super::NOW + Duration::from_mins(minutes);
        let seen = wxgate::store::Seen { user: user("o1"), digest: *session.digest(), at };
        one.wait(one.store.touch(vec![seen])).unwrap();
        is_about(left(key_of(&session)), then);
    }
}
