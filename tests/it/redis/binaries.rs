//! Real binaries that share a real Redis, with real clocks: nobody is taken for somebody else, nobody is logged out by what
//! happens to Redis, and nobody who was logged out comes back. No binary is started again in any of it.

use std::cell::Cell;

use sha2::{Digest, Sha256};
use wxgate::simulator::{Options, Simulator};

use crate::support::{
    APP, Recorder, Reply, SECRET, Seen,
    binary::Binary,
    cable::Cable,
    redis_server::{RedisCluster, RedisServer},
    until,
    upstream::answer,
};

/// Several gateways, and the world around them.
struct Fleet {
    gateways: Vec<Binary>,
    wechat: Simulator,
    _upstream: Recorder,
}

/// Somebody who has a token, and no connection that could remember them.
struct Visitor {
    openid: String,
    token: String,
    /// By which of the gateways they have been refused. A bit for each.
    refused_by: Cell<u32>,
}

impl Fleet {
    /// A gateway for each of these lines that say where Redis is.
    fn start<const N: usize>(name: &str, redis: [String; N], per_user: usize) -> Self {
        let wechat = Simulator::start(Options::on_free_port().with_app(APP, SECRET)).expect("the stand-in");
        let upstream = Recorder::start();
        upstream.does(|seen: &Seen, out| {
            let who = seen.header("x-wx-openid").unwrap_or("nobody");
            answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{who}", who.len()))
        });
        let env = [
            ("SEAL_KEY", "5e".repeat(32)),
            ("APP_SECRET", SECRET.to_owned()),
            ("ADMIN", "operators-token!".to_owned()),
        ];
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let serve = |(n, redis): (usize, String)| {
            let config = format!(
                "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[log]\naccess = false\n\
                 [admin]\nlisten = \"127.0.0.1:0\"\ntoken = {{ env = \"ADMIN\" }}\n\
                 [sessions]\nper_user = {per_user}\n[sessions.seal]\nkey = {{ env = \"SEAL_KEY\" }}\n\
                 [sessions.redis]\n{redis}\ntimeout = \"500ms\"\nstale_for = \"1s\"\n\
                 [[apps]]\napp_id = \"{APP}\"\nsecret = {{ env = \"APP_SECRET\" }}\napi_base = \"{}\"\n\
                 [[upstreams]]\nname = \"app\"\nservers = [\"http://{}\"]\n[[routes]]\npath = \"/\"\nupstream = \"app\"\n",
                wechat.api_base(),
                upstream.addr(),
            );
            Binary::serve(&format!("{name}_{n}"), &config, &env)
        };
        let gateways = redis.into_iter().enumerate().map(serve).collect();
        let fleet = Self { gateways, wechat, _upstream: upstream };
        fleet.gateways.iter().for_each(until_ready);
        fleet
    }

    /// All of them on the one server.
    fn on<const N: usize>(name: &str, server: &RedisServer, per_user: usize) -> Self {
        Self::start(name, [0; N].map(|_| format!("url = \"redis://{}\"", server.addr())), per_user)
    }

    fn try_login(&self, at: usize, openid: &str) -> Reply {
        let code = self.wechat.make_code(APP, openid).expect("a code");
        let body = serde_json::json!({ "jsCode": code, "appId": APP });
        self.gateways[at].client().post("/v1/verify", &body.to_string())
    }

    fn login(&self, at: usize, openid: &str) -> Visitor {
        let reply = self.try_login(at, openid);
        assert_eq!(reply.status, 200, "{reply:?}");
        let token = reply.json()["token"].as_str().expect("a token").to_owned();
        Visitor { openid: openid.to_owned(), token, refused_by: Cell::new(0) }
    }

    /// Ends all sessions of a user, as an operator does.
    fn revoke(&self, at: usize, openid: &str) {
        let bearer = [("Authorization", "Bearer operators-token!")];
        let path = format!("/v1/users/{APP}/{openid}/sessions");
        assert_eq!(self.gateways[at].admin().request("DELETE", &path, &bearer, "").status, 200);
    }

    /// Waits until each of these gets this at each gateway, and nothing else before but what may come.
    fn until_all(&self, visitors: &[&Visitor], expected: u16, meanwhile: &[u16]) {
        until(&format!("{expected} for everybody"), || {
            let mut all = true;
            for visitor in visitors {
                for status in visitor.statuses(self) {
                    let may_be = status == expected || meanwhile.contains(&status);
                    assert!(may_be, "{status} for {} and not yet {expected}", visitor.openid);
                    all &= status == expected;
                }
            }
            all.then_some(())
        });
    }
}

impl Visitor {
    fn asks(&self, gateway: &Binary, method: &str, path: &str, body: &str) -> Reply {
        gateway.client().request(method, path, &[("Authorization", &format!("Bearer {}", self.token))], body)
    }

    /// What each of the gateways answers. With 200 it is them whom the upstream sees.
    fn statuses(&self, fleet: &Fleet) -> Vec<u16> {
        let ask = |(n, gateway): (usize, &Binary)| {
            let reply = self.asks(gateway, "GET", "/orders", "");
            let (refused, here) = (self.refused_by.get(), 1_u32 << n);
            match reply.status {
                200 => assert!(refused & here == 0, "{} was logged out and is back at {n}", self.openid),
                401 => self.refused_by.set(refused | here),
                _ => {}
            }
            assert!(reply.status != 200 || reply.text() == self.openid, "{} as {}", self.openid, reply.text());
            reply.status
        };
        fleet.gateways.iter().enumerate().map(ask).collect()
    }

    fn logs_out(&self, gateway: &Binary, body: &str) -> u16 {
        self.asks(gateway, "POST", "/v1/logout", body).status
    }

    /// Whether this server has the session.
    fn is_in(&self, server: &RedisServer) -> bool {
        let digest: [u8; 32] = Sha256::digest(self.token.as_bytes()).into();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let names = format!("{:?}", server.tell("KEYS wxg:s:*"));
        names.contains(&hex)
    }
}

fn until_ready(gateway: &Binary) {
    until("ready", || (gateway.admin().get("/readyz").status == 200).then_some(()));
}

#[test]
fn three_binaries_know_and_refuse_the_same_people() {
    let server = RedisServer::start();
    let fleet = Fleet::on::<3>("three", &server, 2);
    let [phone, tablet] = [fleet.login(0, "oAlice"), fleet.login(1, "oAlice")];
    let [bob, carol, dave] = [fleet.login(2, "oBob"), fleet.login(0, "oCarol"), fleet.login(1, "oDave")];
    fleet.until_all(&[&phone, &tablet, &bob, &carol, &dave], 200, &[]);

    let laptop = fleet.login(2, "oAlice");
    fleet.until_all(&[&phone], 401, &[200]);
    fleet.until_all(&[&tablet, &laptop], 200, &[]);
    assert_eq!(tablet.logs_out(&fleet.gateways[1], r#"{"everywhere":true}"#), 204);
    fleet.until_all(&[&tablet, &laptop], 401, &[200]);
    assert_eq!(bob.logs_out(&fleet.gateways[0], ""), 204);
    fleet.until_all(&[&bob], 401, &[200]);
    fleet.revoke(2, "oCarol");
    fleet.until_all(&[&carol], 401, &[200]);
    fleet.until_all(&[&dave], 200, &[]);
    fleet.until_all(&[&phone, &tablet, &laptop, &bob, &carol], 401, &[]);
}

#[test]
fn binaries_outlive_a_redis_that_dies_and_comes_back_empty() {
    let mut server = RedisServer::start();
    let fleet = Fleet::on::<2>("empty", &server, 0);
    let (alice, bob, eve) = (fleet.login(0, "oAlice"), fleet.login(1, "oBob"), fleet.login(0, "oEve"));
    fleet.until_all(&[&alice, &bob, &eve], 200, &[]);
    assert_eq!(eve.logs_out(&fleet.gateways[1], ""), 204);
    fleet.until_all(&[&eve], 401, &[200]);

    server.kill();
    fleet.until_all(&[&alice, &bob], 503, &[200]);
    assert_eq!(fleet.try_login(0, "oCarol").status, 503);
    assert_eq!(bob.logs_out(&fleet.gateways[1], ""), 503, "nobody is told that they are out");
    fleet.until_all(&[&eve], 503, &[401]);

    server.restart();
    // That is a real loss, and the only reason for a 401 here.
    fleet.until_all(&[&alice, &bob, &eve], 401, &[503]);
    fleet.gateways.iter().for_each(until_ready);
    fleet.until_all(&[&fleet.login(0, "oAlice"), &fleet.login(1, "oBob")], 200, &[]);
}

#[test]
fn binaries_outlive_a_redis_that_stands_still_for_longer_than_memory_counts() {
    let server = RedisServer::start();
    let fleet = Fleet::on::<2>("paused", &server, 0);
    let (alice, bob, eve) = (fleet.login(0, "oAlice"), fleet.login(1, "oBob"), fleet.login(0, "oEve"));
    fleet.until_all(&[&alice, &bob, &eve], 200, &[]);
    fleet.revoke(0, "oEve");
    fleet.until_all(&[&eve], 401, &[200]);
    for _ in 0..2 {
        server.pause();
        fleet.until_all(&[&alice, &bob], 503, &[200]);
        fleet.until_all(&[&eve], 503, &[401]);
        assert_eq!(fleet.try_login(1, "oCarol").status, 503);
        server.resume();
        fleet.until_all(&[&alice, &bob], 200, &[503]);
        fleet.until_all(&[&eve], 401, &[503]);
        fleet.gateways.iter().for_each(until_ready);
    }
}

#[test]
fn a_binary_that_is_cut_off_serves_nobody_who_was_ended_elsewhere_for_longer_than_agreed() {
    let server = RedisServer::start();
    let cable = Cable::to(server.addr());
    let lines = [server.addr(), cable.addr()].map(|addr| format!("url = \"redis://{addr}\""));
    let fleet = Fleet::start("cut_off", lines, 0);
    let (alice, bob) = (fleet.login(0, "oAlice"), fleet.login(1, "oBob"));
    fleet.until_all(&[&alice, &bob], 200, &[]);

    cable.hold();
    fleet.revoke(0, "oAlice");
    // It can't know better, and when it can't any more, it says nothing of anybody.
    let until_both = |expected: [u16; 2]| {
        until(&format!("{expected:?}"), || {
            let [near, far] = alice.statuses(&fleet)[..] else { unreachable!("two gateways") };
            assert!([200, 503].contains(&far), "{far}");
            ([near, far] == expected).then_some(())
        });
    };
    until_both([401, 503]);
    for _ in 0..100 {
        assert_eq!(alice.statuses(&fleet), [401, 503], "it is over for good");
    }
    assert_eq!(bob.statuses(&fleet), [200, 503]);

    cable.let_go();
    fleet.until_all(&[&alice], 401, &[503]);
    fleet.until_all(&[&bob], 200, &[503]);
}

#[test]
fn binaries_outlive_the_masters_of_a_cluster_one_by_one() {
    let mut cluster = RedisCluster::start();
    let seeds = [0, 1].map(|n| format!("cluster = [\"redis://{}\"]", cluster.members[n].addr()));
    let fleet = Fleet::start("cluster", seeds, 0);
    let people: Vec<Visitor> = (0..12).map(|n| fleet.login(n % 2, &format!("oVisitor{n}"))).collect();
    let eve = fleet.login(0, "oEve");
    let everybody: Vec<&Visitor> = people.iter().collect();
    fleet.until_all(&everybody, 200, &[]);
    assert_eq!(eve.logs_out(&fleet.gateways[1], ""), 204);
    fleet.until_all(&[&eve], 401, &[200]);
    let of = |at: usize, cluster: &RedisCluster| -> (Vec<&Visitor>, Vec<&Visitor>) {
        people.iter().partition(|visitor| visitor.is_in(&cluster.members[at]))
    };

    let (there, _) = of(2, &cluster);
    assert!(!there.is_empty(), "twelve people are nowhere near the third master");
    cluster.members[2].pause();
    fleet.until_all(&there, 503, &[200]);
    fleet.until_all(&[&eve], 503, &[401]);
    cluster.members[2].resume();
    fleet.until_all(&everybody, 200, &[503]);
    fleet.until_all(&[&eve], 401, &[503]);

    let (lost, kept) = of(0, &cluster);
    assert!(!lost.is_empty() && !kept.is_empty());
    cluster.members[0].kill();
    fleet.until_all(&lost, 503, &[200]);
    cluster.members[0].restart();
    cluster.until_whole();
    fleet.until_all(&kept, 200, &[503]);
    // That master came back empty.
    fleet.until_all(&lost, 401, &[503]);
    fleet.until_all(&[&eve], 401, &[503]);
    fleet.until_all(&[&fleet.login(0, &lost[0].openid)], 200, &[]);
}
