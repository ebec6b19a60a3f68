//! How many tunnels one user may have open: who is refused, and that a place is free again however its tunnel ends.

use std::{io::Read, time::Duration};

use serde_json::json;
use wxgate::config::{
    Config,
    sections::{AuthRule, Route},
};

use super::{HI, OPENED, close, echo, line, open, opening, says_hi, sockets};
use crate::support::{
    Client, OTHER_APP, TestGateway, User,
    refusal::shows_no,
    until,
    upstream::{Then, answer},
};

const FULL: &str = "This user has as many WebSockets open here as there may be. Close one of them first.";

/// Each user may have so many on `/`.
fn at_most(most: usize, change: impl FnOnce(&mut Config)) -> TestGateway {
    let gw = TestGateway::with(|config| {
        sockets(config);
        config.routes[0].websocket_per_user = Some(most);
        change(config);
    });
    echo(&gw);
    gw
}

/// The same user once more, on another connection.
fn again(gw: &TestGateway, user: &User) -> User {
    User { client: gw.client(), token: user.token.clone(), openid: user.openid.clone() }
}

/// What somebody hears first who asks for a WebSocket.
fn asks(client: &mut Client, token: &str) -> u16 {
    client.send(opening("/chat", token)).interim().status
}

#[test]
fn a_user_has_no_more_websockets_open_than_the_route_says_whoever_serves_them() {
    let gw = at_most(2, |config| config.server.workers = 2);
    let (mut phone, mut tablet) = (gw.login("oAlice"), gw.login("oAlice"));
    open(&mut phone);
    open(&mut tablet);
    let reached = gw.upstream.count();
    for _ in 0..4 {
        let reply = gw.client().raw(opening("/chat", &phone.token));
        shows_no(&reply, 429, "too_many_websockets", FULL, &[("retry-after", "1")]);
    }
    let told = line(&gw, "too_many_websockets");
    let cause = "a limit of the route was reached: websocket_per_user";
    assert_eq!(json!([told["route"], told["cause"]]), json!(["/", cause]), "{told}");
    let series = "wxgate_requests_limited_total{route=\"/\",limit=\"websocket\"} 4\n";
    until(series, || gw.admin().get("/metrics").text().contains(series).then_some(()));
    assert_eq!(gw.upstream.count(), reached, "nothing of it reaches the backend");

    assert_eq!(again(&gw, &phone).get("/chat").text(), "ok", "who asks for none is not counted");
    open(&mut gw.login("oBob"));
    open(&mut gw.login_to(OTHER_APP, "oAlice"));
    says_hi(&mut phone.client);
    says_hi(&mut tablet.client);
}

#[test]
fn the_connection_that_was_refused_one_goes_on() {
    let gw = at_most(1, |_| {});
    let (mut alice, mut other) = (gw.login("oAlice"), gw.login("oAlice"));
    open(&mut alice);
    assert_eq!(other.client.raw(opening("/chat", &other.token)).code(), "too_many_websockets");
    assert_eq!(other.get("/chat").text(), "ok");
    drop(alice);
    until("a place", || (asks(&mut other.client, &other.token) == 101).then_some(()));
    says_hi(&mut other.client);
}

/// Whoever hears that it has ended may come back at once.
#[test]
fn a_place_is_free_before_anybody_hears_that_the_websocket_has_ended() {
    let short = Duration::from_millis(300);
    for (ends_by, code) in [("log-out", 1008), ("idle", 1001), ("age", 1001)] {
        let gw = at_most(1, |config| match ends_by {
            "idle" => config.routes[0].websocket_idle = short,
            "age" => config.routes[0].websocket_max_age = Some(short),
            _ => {}
        });
        for _ in 0..3 {
            let mut alice = gw.login("oAlice");
            open(&mut alice);
            if ends_by == "log-out" {
                assert_eq!(again(&gw, &alice).post("/v1/logout", "").status, 204);
            }
            assert_eq!(alice.client.some(4), close(code), "{ends_by}");
        }
    }
}

#[test]
fn a_place_is_free_again_whatever_becomes_of_the_opening() {
    let gw = at_most(1, |_| {});
    let alice = gw.login("oAlice");
    for says_no in ["HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 101 No\r\n\r\n", ""] {
        gw.upstream.does(move |_, out| {
            answer(out, says_no);
            Then::Close
        });
        assert!([403, 502].contains(&asks(&mut gw.client(), &alice.token)), "{says_no}");
    }
    // A backend that never answers, and a client that does not wait.
    gw.upstream.does(|_, out| {
        let _ = out.read(&mut [0]);
        Then::Close
    });
    let before = gw.upstream.count();
    let mut gone = gw.client();
    gone.send(opening("/chat", &alice.token));
    gw.upstream.wait_for(before + 1);
    assert_eq!(gw.client().raw(opening("/chat", &alice.token)).code(), "too_many_websockets");
    drop(gone);
    echo(&gw);
    until("a place", || {
        let mut client = gw.client();
        (asks(&mut client, &alice.token) == 101).then_some(())
    });
}

#[test]
fn what_a_backend_ends_makes_room() {
    let gw = at_most(1, |_| {});
    let alice = gw.login("oAlice");
    gw.upstream.does(|_, out| {
        answer(out, OPENED);
        Then::Close
    });
    for _ in 0..3 {
        let mut client = gw.client();
        until("a place", || (asks(&mut client, &alice.token) == 101).then_some(()));
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn those_without_a_session_are_not_counted() {
    let gw = at_most(1, |config| config.routes[0].auth = AuthRule::Optional);
    let mut open: Vec<_> = (0..3).map(|_| gw.client()).collect();
    for client in &mut open {
        assert_eq!(asks(client, ""), 101);
        assert_eq!(client.send(HI).some(HI.len()), HI);
    }
}

/// What is open counts, however the rule came about.
#[test]
fn another_limit_counts_those_that_are_open() {
    let mut gw = at_most(3, |_| {});
    let [mut one, mut other] = [0; 2].map(|_| gw.login("oAlice"));
    open(&mut one);
    open(&mut other);
    gw.reload(|config| config.routes[0].websocket_per_user = Some(1));
    until("the new limit", || {
        let mut client = gw.client();
        (asks(&mut client, &one.token) == 429).then_some(())
    });
    drop(one);
    until("the end of one", || gw.log.text().contains("\"ended_by\"").then_some(()));
    assert_eq!(gw.client().raw(opening("/chat", &other.token)).code(), "too_many_websockets");
    says_hi(&mut other.client);
}

/// Takes another limit over, and waits until it counts: that is when a new route answers without a token.
fn takes_over(gw: &mut TestGateway, most: Option<usize>, marker: &str) {
    gw.reload(|config| {
        config.routes[0].websocket_per_user = most;
        config.routes.push(Route { auth: AuthRule::None, ..Route::new(marker, "app") });
    });
    until(marker, || (gw.client().get(marker).status == 200).then_some(()));
}

#[test]
fn a_limit_that_comes_back_counts_those_that_are_open() {
    let mut gw = at_most(2, |config| config.server.workers = 1);
    let [mut before, mut between] = [0; 2].map(|_| gw.login("oAlice"));
    open(&mut before);
    takes_over(&mut gw, None, "/without");
    open(&mut between);
    takes_over(&mut gw, Some(2), "/with");
    assert_eq!(gw.client().raw(opening("/chat", &between.token)).code(), "too_many_websockets");
    drop(before);
    until("the place of one that has ended", || (asks(&mut gw.client(), &between.token) == 101).then_some(()));
    says_hi(&mut between.client);
}
