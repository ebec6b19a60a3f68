//! A token among the subprotocols that a client offers: it is for us, and the backend chooses of the others.

use super::{KEY, OPENED, OPENING, says_hi, sockets};
use crate::support::{
    Reply, TestGateway,
    client::head,
    upstream::{Then, answer},
};

/// A gateway that takes tokens from subprotocols, and a backend that chooses this one.
fn start(chosen: Option<&'static str>) -> TestGateway {
    let gw = TestGateway::with(|config| {
        sockets(config);
        config.routes[0].token_subprotocol = true;
    });
    gw.upstream.does(move |_, out| {
        let line = chosen.map(|chosen| format!("\r\nSec-WebSocket-Protocol: {chosen}\r\n\r\n"));
        answer(out, line.map_or(OPENED.to_owned(), |line| OPENED.replace("\r\n\r\n", &line)));
        super::send_back(out);
        Then::Close
    });
    gw
}

/// The answer to an opening that offers this, after which a frame has gone and come back.
fn offering(gw: &TestGateway, offer: &str) -> Reply {
    let mut client = gw.client();
    let lines = [&OPENING[..], &[("Sec-WebSocket-Protocol", offer)]].concat();
    let reply = client.send(head("GET", "/chat", &lines, 0)).interim();
    if reply.status == 101 {
        says_hi(&mut client);
    }
    reply
}

#[test]
fn the_backend_is_offered_the_others_and_what_it_chooses_is_told() {
    let gw = start(Some("v2.chat"));
    let alice = gw.login("oAlice");
    let reply = offering(&gw, &format!("wxgate, chat, {}, v2.chat", alice.token));
    assert_eq!((reply.status, reply.header("sec-websocket-protocol")), (101, Some("v2.chat")), "{reply:?}");
    let seen = gw.upstream.last();
    assert_eq!(seen.header("sec-websocket-protocol"), Some("chat, v2.chat"));
    assert_eq!((seen.header("x-wx-openid"), seen.header("sec-websocket-key")), (Some("oAlice"), Some(KEY.1)));
}

/// Browsers close a WebSocket for which they have offered subprotocols and been told of none.
#[test]
fn where_the_backend_chooses_none_the_answer_is_ours_and_never_the_token() {
    let gw = start(None);
    let alice = gw.login("oAlice");
    for (offer, told) in [
        (format!("wxgate, {}", alice.token), Some("wxgate")),
        (format!("chat, wxgate,{}", alice.token), Some("wxgate")),
        (format!("{}, chat", alice.token), None),
        (alice.token.clone(), None),
    ] {
        let reply = offering(&gw, &offer);
        assert_eq!((reply.status, reply.header("sec-websocket-protocol")), (101, told), "{reply:?}");
        let seen = gw.upstream.last();
        assert_eq!(seen.header("sec-websocket-protocol"), offer.contains("chat").then_some("chat"), "{offer}");
    }
}

/// Every proxy on the way may write down what an answer chooses.
#[test]
fn a_backend_that_gets_the_token_can_not_send_it_back() {
    let (gone, chosen) = std::sync::mpsc::channel::<String>();
    let chosen = std::sync::Mutex::new(chosen);
    let gw = TestGateway::with(|config| {
        sockets(config);
        (config.routes[0].token_subprotocol, config.routes[0].forward_token) = (true, true);
    });
    gw.upstream.does(move |_, out| {
        let line = format!("\r\nSec-WebSocket-Protocol: {}\r\n\r\n", chosen.lock().unwrap().recv().unwrap());
        answer(out, OPENED.replace("\r\n\r\n", &line));
        super::send_back(out);
        Then::Close
    });
    let alice = gw.login("oAlice");
    for (choice, status) in [(alice.token.as_str(), 502), ("chat", 101)] {
        gone.send(choice.to_owned()).unwrap();
        assert_eq!(offering(&gw, &format!("{}, chat", alice.token)).status, status);
    }
}

#[test]
fn a_backend_can_not_choose_what_was_for_us() {
    for chosen in ["wxgate", "wxg_x"] {
        let gw = start(Some(chosen));
        let alice = gw.login("oAlice");
        assert_eq!(offering(&gw, &format!("wxgate, {}, chat", alice.token)).code(), "upstream_unreachable", "{chosen}");
        assert_eq!(offering(&gw, "wxgate, wxg_x, chat").code(), "token_invalid");
    }
}
