//! Tunnels at one instance, and what becomes of their sessions at another.

use wxgate::config::sections::RedisServers;

use super::instances::{A_LITTLE, STALE_FOR, Visitor, gateway_with};
use crate::{
    support::{Client, TestGateway, cable::Cable, endpoint, redis_server::RedisServer, redis_server::section, until},
    websocket::{close, echo, opening, says_hi, sockets},
};

/// A gateway that opens tunnels, behind this Redis.
fn instance(redis: &wxgate::config::sections::Redis) -> TestGateway {
    let gw = gateway_with(redis, sockets);
    echo(&gw);
    gw
}

/// A WebSocket of this visitor's, through which a frame has gone and come back.
fn open(gw: &TestGateway, visitor: &Visitor) -> Client {
    let mut client = gw.client();
    assert_eq!(client.send(opening("/chat", &visitor.token)).interim().status, 101);
    says_hi(&mut client);
    client
}

#[test]
fn who_logs_out_everywhere_loses_the_websockets_at_every_instance() {
    let server = RedisServer::start();
    let gateways = [0; 2].map(|_| instance(&server.section()));
    let [phone, tablet] = [0; 2].map(|_| Visitor::of(&gateways[0], "oAlice"));
    let bob = Visitor::of(&gateways[0], "oBob");
    let mut hers = [open(&gateways[0], &phone), open(&gateways[1], &phone), open(&gateways[1], &tablet)];
    let mut his = open(&gateways[1], &bob);
    tablet.logs_out(&gateways[0], "{\"everywhere\":true}");
    for client in &mut hers {
        assert_eq!(client.rest(), close(1008));
    }
    says_hi(&mut his);
    let line = gateways[1].log.line("\"ended_by\"");
    assert!(line.contains("\"ended_by\":\"session\""), "{line}");
}

/// Nobody is logged out because Redis is away, and nobody stays who was logged out meanwhile.
#[test]
fn websockets_outlast_a_redis_that_is_away_but_not_what_happened_meanwhile() {
    let server = RedisServer::start();
    let cable = Cable::to(server.addr());
    let near = instance(&server.section());
    let far = instance(&section(RedisServers::One(endpoint(cable.addr()))));
    let (alice, bob) = (Visitor::of(&near, "oAlice"), Visitor::of(&near, "oBob"));
    let (mut hers, mut his) = (open(&far, &alice), open(&far, &bob));
    cable.hold();
    cable.cut();
    alice.logs_out(&near, "");
    // As long as it lasts no other request is answered, and those that are open go on.
    far.later(STALE_FOR);
    until("the lost link to be noticed", || {
        far.later(A_LITTLE);
        (far.client().raw(opening("/chat", &bob.token)).status == 503).then_some(())
    });
    says_hi(&mut hers);
    says_hi(&mut his);
    cable.let_go();
    assert_eq!(hers.rest(), close(1008));
    says_hi(&mut his);
}
