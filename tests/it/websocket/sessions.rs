//! What becomes of a tunnel when its user logs out somewhere else, or has been in for long enough.

use std::time::Duration;

use serde_json::json;

use super::{OPENING, close, line, open, opening, says_hi, start, start_with};
use crate::support::client::head;

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn a_log_out_everywhere_ends_all_websockets_of_its_user_and_no_other() {
    let gw = start();
    let [mut phone, mut tablet, mut laptop] = [0; 3].map(|_| gw.login("oAlice"));
    let mut bob = gw.login("oBob");
    for user in [&mut phone, &mut tablet, &mut bob] {
        open(user);
    }
    assert_eq!(laptop.post("/v1/logout", "{\"everywhere\":true}").status, 204);
    assert_eq!((phone.client.rest(), tablet.client.rest()), (close(1008), close(1008)));
    says_hi(&mut bob.client);
    let told = line(&gw, "\"ended_by\"");
    assert_eq!(json!([told["ended_by"], told["complete"]]), json!(["session", true]), "{told}");
    assert_eq!(gw.client().raw(opening("/chat", &phone.token)).code(), "token_invalid");
}

#[test]
fn a_lifetime_ends_a_websocket_however_busy_it_is() {
    let gw = start_with(|config| (config.sessions.idle, config.sessions.lifetime) = (2 * HOUR, 5 * HOUR));
    let mut alice = gw.login("oAlice");
    open(&mut alice);
    for _ in 0..4 {
        gw.later(HOUR);
        says_hi(&mut alice.client);
        // It counts as used by what passes; a request says so at once.
        assert_eq!(session(&gw, &alice.token), 200);
    }
    says_hi(&mut alice.client);
    gw.later(HOUR);
    assert_eq!(alice.client.rest(), close(1008));
    assert_eq!(session(&gw, &alice.token), 401);
}

fn session(gw: &crate::support::TestGateway, token: &str) -> u16 {
    gw.client().request("GET", "/v1/session", &[("Authorization", &format!("Bearer {token}"))], "").status
}

#[test]
fn a_websocket_may_be_opened_with_the_header_of_its_route_and_ends_with_that_session() {
    let gw = start_with(|config| config.routes[0].token_header = Some("x-session-token".parse().unwrap()));
    let alice = gw.login("oAlice");
    let header = ("X-Session-Token", &*alice.token);
    let mut client = gw.client();
    let reply = client.send(head("GET", "/chat", &[&OPENING[..], &[header]].concat(), 0)).interim();
    assert_eq!(reply.status, 101, "{reply:?}");
    says_hi(&mut client);
    let seen = gw.upstream.last();
    assert_eq!((seen.header("x-wx-openid"), seen.header(header.0)), (Some("oAlice"), None));
    let bearer = format!("Bearer {}", alice.token);
    assert_eq!(gw.client().request("POST", "/v1/logout", &[("Authorization", &bearer)], "").status, 204);
    assert_eq!(client.rest(), close(1008));
    assert_eq!(gw.raw(head("GET", "/chat", &[&OPENING[..], &[header]].concat(), 0)).code(), "token_invalid");
}
