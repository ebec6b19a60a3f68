//! Several whole gateways that share a Redis, and what their users see of it when something goes wrong.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread::scope,
    time::Duration,
};

use wxgate::{
    config::{
        Config,
        sections::{NewestSealKey, Redis, RedisServers, Seal},
    },
    model::{SealKey, Secret},
};

use super::sentinel::Watched;
use crate::support::{
    Reply, TestGateway,
    cable::Cable,
    client::head,
    redis_server::{RedisCluster, RedisServer, section},
    until,
    upstream::{Seen, answer},
};

/// The `stale_for` of these stories. The gateways' clocks stand still, so it is over when a story says so.
pub const STALE_FOR: Duration = Duration::from_secs(30);

/// By which the time moves while a story waits for a link to be noticed as lost: never a day, or sessions would run out.
pub const A_LITTLE: Duration = Duration::from_secs(1);

fn gateway(redis: &Redis) -> TestGateway {
    gateway_with(redis, |_| {})
}

/// A gateway whose upstream says who is calling.
pub fn gateway_with(redis: &Redis, change: impl FnOnce(&mut Config)) -> TestGateway {
    let gw = TestGateway::with(|config| {
        config.sessions.redis = Some(Redis { stale_for: STALE_FOR, ..redis.clone() });
        let key = SealKey::parse(&Secret::new("5e".repeat(32))).unwrap();
        config.sessions.seal = Some(Seal { key: NewestSealKey::Given(key), old_keys: Vec::new() });
        change(config);
    });
    gw.upstream.does(|seen: &Seen, out| {
        let who = seen.header("x-wx-openid").unwrap_or("nobody");
        answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{who}", who.len()))
    });
    gw
}

/// Somebody who has a token, and no connection that could remember them.
pub struct Visitor {
    pub openid: String,
    pub token: String,
}

impl Visitor {
    pub fn of(gw: &TestGateway, openid: &str) -> Self {
        Self { openid: openid.to_owned(), token: gw.login(openid).token }
    }

    fn asks(&self, gw: &TestGateway, method: &str, path: &str, body: &str) -> Reply {
        let bearer = format!("Bearer {}", self.token);
        gw.raw(head(method, path, &[("Authorization", &bearer)], body.len()) + body)
    }

    /// The status that they get. With 200 it is them whom the upstream sees.
    pub fn status(&self, gw: &TestGateway) -> u16 {
        let reply = self.asks(gw, "GET", "/orders", "");
        if reply.status == 200 {
            assert_eq!(reply.text(), self.openid, "taken for somebody else");
        }
        reply.status
    }

    pub fn logs_out(&self, gw: &TestGateway, body: &str) {
        assert_eq!(self.asks(gw, "POST", "/v1/logout", body).status, 204);
    }

    /// Refused by all of these, sooner or later, and by then nothing but known.
    fn is_refused_by(&self, gateways: &[TestGateway]) {
        for gw in gateways {
            until("a refusal", || match self.status(gw) {
                401 => Some(()),
                200 => None,
                other => panic!("{other}"),
            });
        }
    }

    fn is_known_again(&self, gw: &TestGateway) {
        until("an answer", || match self.status(gw) {
            200 => Some(()),
            503 => None,
            other => panic!("{other}: a live session is no stranger"),
        });
    }
}

#[test]
fn one_login_is_good_at_every_instance() {
    let server = RedisServer::start();
    let gateways = [0; 3].map(|_| gateway(&server.section()));
    for (n, gw) in gateways.iter().enumerate() {
        let visitor = Visitor::of(gw, &format!("oVisitor{n}"));
        for other in &gateways {
            assert_eq!(visitor.status(other), 200);
        }
    }
    let late = gateway(&server.section());
    let visitor = Visitor::of(&gateways[0], "oLate");
    assert_eq!(visitor.status(&late), 200, "and at one that has just started");
    let token = visitor.token.as_bytes();
    assert!(!server.dump().windows(token.len()).any(|part| part == token), "Redis knows no token");
}

#[test]
fn who_logs_out_at_one_instance_is_out_at_all() {
    let server = RedisServer::start();
    let gateways = [0; 3].map(|_| gateway(&server.section()));
    let [phone, tablet, laptop] = [0; 3].map(|_| Visitor::of(&gateways[0], "oAlice"));
    let stranger = Visitor::of(&gateways[0], "oBob");
    for gw in &gateways {
        assert!([&phone, &tablet, &laptop, &stranger].iter().all(|visitor| visitor.status(gw) == 200));
    }
    phone.logs_out(&gateways[0], "");
    phone.is_refused_by(&gateways);
    assert_eq!(phone.status(&gateways[0]), 401, "where it happened it is so at once");
    assert!(gateways.iter().all(|gw| tablet.status(gw) == 200 && laptop.status(gw) == 200));

    tablet.logs_out(&gateways[1], r#"{"everywhere":true}"#);
    tablet.is_refused_by(&gateways);
    laptop.is_refused_by(&gateways);
    assert!(gateways.iter().all(|gw| stranger.status(gw) == 200));
}

#[test]
fn a_login_too_many_at_one_instance_ends_the_oldest_at_all() {
    let server = RedisServer::start();
    let gateways = [0; 2].map(|_| gateway_with(&server.section(), |config| config.sessions.per_user = 1));
    let first = Visitor::of(&gateways[0], "oAlice");
    assert!(gateways.iter().all(|gw| first.status(gw) == 200));
    let second = Visitor::of(&gateways[1], "oAlice");
    first.is_refused_by(&gateways);
    assert!(gateways.iter().all(|gw| second.status(gw) == 200));
}

#[test]
fn while_redis_is_gone_nobody_is_a_stranger() {
    let mut server = RedisServer::start();
    let gw = gateway(&server.section());
    let (seen_here, not_here) = (Visitor::of(&gw, "oAlice"), Visitor::of(&gateway(&server.section()), "oBob"));
    assert_eq!(seen_here.status(&gw), 200);
    server.kill();
    until("a refusal", || (gw.verify_code(&gw.code("oEve")).status == 503).then_some(()));
    assert_eq!(not_here.status(&gw), 503);
    assert_eq!(seen_here.status(&gw), 200, "memory counts for a while");
    assert_eq!(seen_here.asks(&gw, "POST", "/v1/logout", "").status, 503, "nobody is told that they are out");
    until("not ready", || (gw.admin().get("/readyz").status == 503).then_some(()));

    gw.later(STALE_FOR);
    until("the link to be given up", || (seen_here.status(&gw) == 503).then_some(()));

    server.restart();
    until("ready", || (gw.admin().get("/readyz").status == 200).then_some(()));
    // It came back empty, and says so: that is a real loss, and the only reason for a 401.
    until("an answer", || (seen_here.status(&gw) == 401).then_some(()));
    until("an answer", || (not_here.status(&gw) == 401).then_some(()));
    assert_eq!(Visitor::of(&gw, "oAlice").status(&gw), 200);
}

#[test]
fn after_a_pause_everybody_is_known_again() {
    let server = RedisServer::start();
    let gateways = [0; 2].map(|_| gateway(&server.section()));
    let (alice, bob) = (Visitor::of(&gateways[0], "oAlice"), Visitor::of(&gateways[0], "oBob"));
    assert!(gateways.iter().all(|gw| alice.status(gw) == 200));
    server.pause();
    assert_eq!(bob.status(&gateways[1]), 503, "he was never there");
    assert_eq!(alice.status(&gateways[1]), 200);
    until("the link to be given up", || {
        gateways[1].later(A_LITTLE);
        (alice.status(&gateways[1]) == 503).then_some(())
    });
    server.resume();
    for gw in &gateways {
        alice.is_known_again(gw);
        bob.is_known_again(gw);
    }
}

#[test]
fn where_nothing_stale_is_wanted_a_lost_link_is_503_at_once() {
    let mut server = RedisServer::start();
    let gw = gateway_with(&server.section(), |config| {
        let redis = config.sessions.redis.as_mut().unwrap();
        redis.stale_for = Duration::ZERO;
    });
    let alice = Visitor::of(&gw, "oAlice");
    assert_eq!(alice.status(&gw), 200);
    server.kill();
    until("503", || match alice.status(&gw) {
        503 => Some(()),
        200 => None,
        other => panic!("{other}"),
    });
}

#[test]
fn an_instance_that_can_t_hear_serves_what_others_ended_no_longer_than_agreed() {
    let server = RedisServer::start();
    let cable = Cable::to(server.addr());
    let endpoint = crate::support::endpoint(cable.addr());
    let (near, far) = (gateway(&server.section()), gateway(&section(RedisServers::One(endpoint))));
    let (alice, bob) = (Visitor::of(&near, "oAlice"), Visitor::of(&near, "oBob"));
    assert!(alice.status(&far) == 200 && bob.status(&far) == 200);

    cable.hold();
    alice.logs_out(&near, "");
    assert_eq!(alice.status(&near), 401);
    // The far one does not know, and can't. When it has noticed that, its time begins to run.
    until("the far one to notice", || {
        far.later(A_LITTLE);
        let status = alice.status(&far);
        assert!(status == 200 || status == 503, "{status}");
        (status == 503).then_some(())
    });
    assert_eq!(bob.status(&far), 503, "of nobody else it knows anything either");

    cable.let_go();
    until("an answer", || match alice.status(&far) {
        401 => Some(()),
        503 => None,
        other => panic!("{other}: a dead session came back"),
    });
    bob.is_known_again(&far);
}

#[test]
fn a_link_that_breaks_and_heals_hides_no_log_out() {
    let server = RedisServer::start();
    let cable = Cable::to(server.addr());
    let endpoint = crate::support::endpoint(cable.addr());
    let (near, far) = (gateway(&server.section()), gateway(&section(RedisServers::One(endpoint))));
    for n in 0..10 {
        let alice = Visitor::of(&near, &format!("oAlice{n}"));
        alice.is_known_again(&far);
        cable.hold();
        cable.cut();
        alice.logs_out(&near, "");
        cable.let_go();
        until("a refusal", || match alice.status(&far) {
            401 => Some(()),
            200 | 503 => None,
            other => panic!("{other}"),
        });
    }
}

#[test]
fn under_fire_nobody_is_a_stranger_or_somebody_else() {
    let server = RedisServer::start();
    let gateways = [0; 2].map(|_| gateway(&server.section()));
    let visitors: Vec<Visitor> = (0..8).map(|n| Visitor::of(&gateways[n % 2], &format!("oVisitor{n}"))).collect();
    let (over, good) = (AtomicBool::new(false), AtomicUsize::new(0));
    scope(|scope| {
        for visitor in &visitors {
            let (gateways, over, good) = (&gateways, &over, &good);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    for gw in gateways {
                        let status = visitor.status(gw);
                        assert!(status == 200 || status == 503, "{status}");
                        good.fetch_add(usize::from(status == 200), Ordering::SeqCst);
                    }
                }
            });
        }
        for _ in 0..6 {
            let before = good.load(Ordering::SeqCst);
            server.cut_connections();
            until("answers between the cuts", || (good.load(Ordering::SeqCst) > before + 50).then_some(()));
        }
        server.pause();
        until("it to be noticed", || (gateways[0].admin().get("/readyz").status == 503).then_some(()));
        server.resume();
        until("it to be over", || (gateways[0].admin().get("/readyz").status == 200).then_some(()));
        over.store(true, Ordering::SeqCst);
    });
    for visitor in &visitors {
        for gw in &gateways {
            visitor.is_known_again(gw);
        }
    }
}

#[test]
fn a_fail_over_logs_nobody_out_and_lets_nobody_back_in() {
    let mut watched = Watched::start();
    let gateways = [0; 2].map(|_| gateway(&watched.section()));
    let (alice, bob) = (Visitor::of(&gateways[0], "oAlice"), Visitor::of(&gateways[0], "oBob"));
    assert!(gateways.iter().all(|gw| alice.status(gw) == 200 && bob.status(gw) == 200));
    bob.logs_out(&gateways[1], "");
    bob.is_refused_by(&gateways);
    watched.until_copied();
    watched.master.kill();
    for gw in &gateways {
        // Until it is over either memory has them or nothing is known.
        until("the new master", || {
            let (alice, bob) = (alice.status(gw), bob.status(gw));
            assert!(alice == 200 || alice == 503, "{alice}");
            assert!(bob == 401 || bob == 503, "{bob}");
            (gw.admin().get("/readyz").status == 200).then_some(())
        });
        alice.is_known_again(gw);
    }
    let carol = Visitor::of(&gateways[1], "oCarol");
    assert!(gateways.iter().all(|gw| carol.status(gw) == 200));
    alice.logs_out(&gateways[1], "");
    alice.is_refused_by(&gateways);
}

#[test]
fn a_cluster_is_as_good_as_one_server() {
    let cluster = RedisCluster::start();
    let gateways = [0; 3].map(|_| gateway(&cluster.section()));
    let visitors: Vec<Visitor> = (0..24).map(|n| Visitor::of(&gateways[n % 3], &format!("oVisitor{n}"))).collect();
    for (n, visitor) in visitors.iter().enumerate() {
        assert!(gateways.iter().all(|gw| visitor.status(gw) == 200));
        visitor.logs_out(&gateways[(n + 1) % 3], if n % 2 == 0 { "" } else { r#"{"everywhere":true}"# });
        visitor.is_refused_by(&gateways);
    }
}
