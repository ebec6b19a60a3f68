//! A master and a replica under three sentinels.

use wxgate::config::sections::{Redis, RedisLogin, RedisSentinels, RedisServers};

use super::{Instance, News, changed};
use crate::support::{
    redis_server::{RedisServer, Silent, section},
    until,
};

/// A master with a replica, and three who watch.
pub struct Watched {
    pub master: RedisServer,
    pub replica: RedisServer,
    pub sentinels: Vec<RedisServer>,
}

impl Watched {
    pub fn start() -> Self {
        let master = RedisServer::start();
        let replica = RedisServer::with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
        let lines = format!(
            "sentinel monitor main 127.0.0.1 {} 2\nsentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 1500\n",
            master.port()
        );
        let sentinels: Vec<RedisServer> = (0..3).map(|_| RedisServer::sentinel(&lines)).collect();
        let watched = Self { master, replica, sentinels };
        until("sentinels that know each other and the replica", || {
            let all_known = |sentinel: &RedisServer| {
                let told = format!("{:?}", sentinel.tell("SENTINEL MASTER main"));
                told.contains(&known("num-other-sentinels", 2)) && told.contains(&known("num-slaves", 1))
            };
            watched.sentinels.iter().all(all_known).then_some(())
        });
        watched
    }

    pub fn section(&self) -> Redis {
        section(RedisServers::Sentinel(RedisSentinels {
            sentinels: self.sentinels.iter().map(RedisServer::endpoint).collect(),
            master: "main".to_owned(),
            login: RedisLogin::default(),
        }))
    }

    /// Waits until the replica has all that the master had.
    pub fn until_copied(&self) {
        until("a copy", || match self.master.tell("WAIT 1 100") {
            redis::Value::Int(1) => Some(()),
            _ => None,
        });
    }
}

/// How a name and a number stand beside each other in an answer that is printed.
fn known(name: &str, number: u8) -> String {
    let quoted = |text: &str| format!("{:?}", redis::Value::BulkString(text.as_bytes().to_vec()));
    format!("{}, {}", quoted(name), quoted(&number.to_string()))
}

#[test]
fn after_a_fail_over_the_new_master_is_asked() {
    let mut watched = Watched::start();
    let (one, other) = (Instance::of(&watched.section()), Instance::of(&watched.section()));
    let (kept, ended) = (one.login("o1"), one.login("o2"));
    assert!(one.end(&ended).unwrap());
    watched.until_copied();
    one.heard.take();

    watched.master.kill();
    one.heard.until(&[News::Lost, News::AllChanged, News::Restored]);
    one.until_it_answers();
    assert!(one.finds(&kept) && !one.finds(&ended));
    other.until_it_answers();
    let session = other.login("o3");
    assert!(one.finds(&session));
    assert_ne!(watched.replica.tell("DBSIZE"), redis::Value::Int(0));
}

#[test]
fn a_master_that_was_paused_and_deposed_is_not_asked_again() {
    let watched = Watched::start();
    let one = Instance::of(&watched.section());
    let session = one.login("o1");
    watched.until_copied();
    one.heard.take();
    watched.master.pause();
    one.heard.until(&[News::Lost, News::AllChanged, News::Restored]);
    one.until_it_answers();
    assert!(one.end(&session).unwrap());
    // The old master still has it, and does not know better yet.
    watched.master.resume();
    for _ in 0..50 {
        assert!(!one.load(&session).is_ok_and(|found| found.is_some()), "a dead session came back");
    }
}

#[test]
fn sentinels_that_are_gone_leave_the_master_in_use() {
    let mut watched = Watched::start();
    let one = Instance::of(&watched.section());
    let session = one.login("o1");
    one.heard.until(&[changed(&session)]);
    one.heard.take();
    watched.sentinels.iter_mut().for_each(RedisServer::kill);
    for _ in 0..20 {
        assert!(one.finds(&session));
    }
    assert_eq!(one.heard.take(), [], "nothing was lost");
}

/// One that is asked after the other would take longer than any story waits.
#[test]
fn a_lost_link_is_noticed_though_all_who_could_name_the_master_hang_as_well() {
    let master = RedisServer::start();
    let sentinel = RedisServer::sentinel(&format!("sentinel monitor main 127.0.0.1 {} 1\n", master.port()));
    let silent: Vec<Silent> = (0..60).map(|_| Silent::start()).collect();
    let sentinels = std::iter::once(sentinel.endpoint()).chain(silent.iter().map(Silent::endpoint)).collect();
    let login = RedisLogin::default();
    let sentinels = RedisSentinels { sentinels, master: "main".to_owned(), login };
    let one = Instance::of(&section(RedisServers::Sentinel(sentinels)));
    let session = one.login("o1");
    one.heard.take();

    sentinel.pause();
    // In the middle of looking for somebody who knows.
    let before = silent[0].asked();
    until("the next one to be asked", || (silent[0].asked() > before).then_some(()));
    master.pause();
    one.heard.until(&[News::Lost]);

    master.resume();
    one.heard.until(&[News::Lost, News::AllChanged, News::Restored]);
    one.until_it_answers();
    assert!(one.finds(&session), "the last master that was named stays");
}
