//! A Cluster of three masters.

use wxgate::{config::sections::RedisServers, store::Store};

use super::{Instance, News, changed, user};
use crate::support::{
    redis_server::{RedisCluster, RedisServer, section},
    until,
};

/// Names that are spread over all masters.
fn names() -> impl Iterator<Item = String> {
    (0..30).map(|n| format!("o{n}"))
}

#[test]
fn sessions_are_spread_over_a_cluster_and_each_users_are_together() {
    let cluster = RedisCluster::start();
    let (one, other) = (Instance::of(&cluster.section()), Instance::of(&cluster.section()));
    for name in names() {
        let (first, second) = (one.login(&name), one.login(&name));
        assert!(other.finds(&first) && other.finds(&second), "{name}");
        assert_eq!(other.wait(other.store.sessions_of(&user(&name), super::NOW)).unwrap().len(), 2);
        other.heard.take();
        assert!(one.end(&first).unwrap());
        other.heard.until(&[changed(&first)]);
        assert_eq!(one.wait(one.store.end_user(&user(&name), super::NOW)).unwrap(), [*second.digest()]);
        other.heard.until(&[changed(&second)]);
        one.login(&name);
    }
    assert_eq!(one.wait(one.store.count()).unwrap(), 30);
    assert_eq!(one.wait(one.store.recent(100, super::NOW)).unwrap().len(), 30);
    for member in &cluster.members {
        assert_ne!(member.tell("DBSIZE"), redis::Value::Int(0), "each has some");
    }
}

#[test]
fn slots_that_move_take_their_sessions_along_and_no_end_is_missed() {
    let cluster = RedisCluster::start();
    let (one, other) = (Instance::of(&cluster.section()), Instance::of(&cluster.section()));
    let sessions: Vec<_> = names().map(|name| one.login(&name)).collect();
    assert!(sessions.iter().all(|session| other.finds(session)));
    other.heard.take();

    // All that the first has goes to the second, which takes a while.
    let id = |member: &RedisServer| match member.tell("CLUSTER MYID") {
        redis::Value::BulkString(id) => String::from_utf8(id).unwrap(),
        other => panic!("{other:?}"),
    };
    let mut reshard = std::process::Command::new("redis-cli");
    reshard.args(["--cluster", "reshard", &cluster.members[0].addr().to_string()]);
    reshard.args(["--cluster-from", &id(&cluster.members[0]), "--cluster-to", &id(&cluster.members[1])]);
    reshard.args(["--cluster-slots", "6000", "--cluster-yes", "--cluster-pipeline", "100"]);
    let mut moving = reshard.stdout(std::process::Stdio::null()).spawn().unwrap();
    // Nobody is over because their keys are on the move: whatever is not found was not asked for.
    until("the slots to have moved", || {
        for session in &sessions {
            if let Ok(found) = other.load(session) {
                assert!(found.is_some(), "a live session was called over");
            }
        }
        moving.try_wait().unwrap().map(|status| assert!(status.success()))
    });
    other.heard.until(&[News::Lost, News::AllChanged, News::Restored]);
    one.until_it_answers();
    for session in &sessions {
        until("its end", || one.end(session).ok().map(|ended| assert!(ended)));
        other.heard.until(&[changed(session)]);
        assert!(!other.finds(session));
    }
}

#[test]
fn a_master_that_is_gone_takes_the_link_and_its_own_sessions_with_it() {
    let mut cluster = RedisCluster::start();
    let one = Instance::of(&cluster.section());
    let sessions: Vec<_> = names().map(|name| one.login(&name)).collect();
    one.heard.take();
    cluster.members[2].kill();
    one.heard.until(&[News::Lost]);
    let (mut found, mut unknown) = (0, 0);
    for session in &sessions {
        match one.load(session) {
            Ok(answer) => {
                assert!(answer.is_some(), "a session was called over because a machine is gone");
                found += 1;
            }
            Err(_) => unknown += 1,
        }
    }
    assert!(unknown > 0 && found + unknown == 30, "{found} found, {unknown} unknown");
}

/// It would have been asked for the map for as long as it answered.
#[test]
fn a_member_that_is_cut_off_from_its_cluster_is_not_believed() {
    let cluster = RedisCluster::start();
    let lone = RedisServer::with(&["--cluster-enabled", "yes"]);
    let slots: Vec<String> = (0..16_384).map(|slot| slot.to_string()).collect();
    lone.tell(&format!("CLUSTER ADDSLOTS {}", slots.join(" ")));
    until("one that calls itself whole", || match lone.tell("CLUSTER INFO") {
        redis::Value::BulkString(info) => String::from_utf8_lossy(&info).contains("cluster_state:ok").then_some(()),
        _ => None,
    });
    let members = vec![lone.endpoint(), cluster.members[1].endpoint()];
    let (one, other) = (Instance::of(&section(RedisServers::Cluster(members))), Instance::of(&cluster.section()));
    for name in names() {
        let session = one.login(&name);
        assert!(other.finds(&session), "{name}");
    }
    assert_eq!(lone.tell("DBSIZE"), redis::Value::Int(0));
}
