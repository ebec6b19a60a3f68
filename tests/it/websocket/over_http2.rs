//! Tunnels over HTTP/2 (RFC 8441): to the backend they are like any other, and so they are to every rule.

use std::{
    net::SocketAddr,
    sync::{Mutex, mpsc},
    thread::spawn,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use h2::ext::Protocol;
use http::{Request, Response};
use serde_json::json;
use sha1_smol::Sha1;
use tokio::task::{LocalSet, spawn_local};
use wxgate::config::{
    Config,
    sections::{AuthRule, Route},
};

use super::{HI, OPENED, close, line, send_back, sockets};
use crate::support::{
    TestGateway, User,
    http2::{DATA, END_STREAM, GET, GOAWAY, Http2, Outcome, PING, RESET},
    until,
    upstream::{Then, answer},
};

/// The setting that says that a client may ask for a WebSocket (RFC 8441, 3).
const ENABLE_CONNECT_PROTOCOL: (u16, u32) = (8, 1);

/// Every WebSocket is opened, with the answer that its key asks for; what comes is sent back.
fn start(change: impl FnOnce(&mut Config)) -> TestGateway {
    let gw = TestGateway::with(|config| {
        config.server.http2.prior_knowledge = true;
        sockets(config);
        change(config);
    });
    gw.upstream.does(|seen, out| {
        let Some(key) = seen.header("sec-websocket-key") else {
            return answer(out, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        };
        answer(out, opened(key));
        send_back(out);
        Then::Close
    });
    gw
}

/// The right answer to an opening with this key.
fn opened(key: &str) -> String {
    let hash = Sha1::from(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")).digest().bytes();
    OPENED.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &BASE64_STANDARD.encode(hash))
}

fn dial(gw: &TestGateway) -> Http2 {
    Http2::over(gw.client())
}

/// Asks for a WebSocket, with more fields.
fn asking<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http")];
    let fields = [(":authority", "api.example.com"), (":path", path), ("sec-websocket-version", "13")];
    [&pseudo[..], &fields, more].concat()
}

/// A WebSocket of this user's, through which a frame has gone and come back.
fn open(client: &mut Http2, user: &User) -> u32 {
    let bearer = format!("Bearer {}", user.token);
    let stream = client.open(&asking("/chat", &[("authorization", &bearer)]), false);
    assert!(client.agrees(stream));
    says_hi(client, stream);
    stream
}

fn says_hi(client: &mut Http2, stream: u32) {
    client.frame(DATA, 0, stream, HI);
    assert_eq!(client.data(stream, HI.len()), (HI.to_vec(), false));
}

#[test]
fn a_websocket_counts_as_a_request_under_way_for_as_long_as_it_is_open() {
    let gw = start(|config| {
        (config.server.workers, config.server.max_connections, config.server.http2.max_streams) = (1, 2, 2);
    });
    let alice = gw.login("oAlice");
    let (mut client, mut other) = (dial(&gw), dial(&gw));
    let streams = [open(&mut client, &alice), open(&mut client, &alice)];
    assert_eq!(other.ask(&GET).verdict(), "overloaded");
    client.frame(RESET, 0, streams[0], &8_u32.to_be_bytes());
    until("a free place", || (other.ask(&GET).verdict() == "token_missing").then_some(()));
}

#[test]
fn a_websocket_is_a_stream_to_its_client_and_like_any_other_to_the_backend() {
    let gw = start(|_| {});
    let alice = gw.login("oAlice");
    let bearer = format!("Bearer {}", alice.token);
    let mut client = dial(&gw);
    let forged = [("authorization", &*bearer), ("x-wx-openid", "oMallory"), ("sec-websocket-key", "forged")];
    let stream = client.open(&asking("/chat?room=1", &forged), false);
    assert!(client.agrees(stream));
    says_hi(&mut client, stream);
    let seen = gw.upstream.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/chat?room=1"));
    assert_eq!((seen.header("x-wx-openid"), seen.header("upgrade")), (Some("oAlice"), Some("websocket")));
    let key = BASE64_STANDARD.decode(seen.header("sec-websocket-key").unwrap());
    assert_eq!(
        (key.unwrap().len(), seen.header("connection"), seen.header("host")),
        (16, Some("Upgrade"), Some("api.example.com"))
    );
    assert_eq!(client.ask(&[&GET[..3], &[(":path", "/open/")]].concat()).verdict(), "200", "beside it");
    client.frame(DATA, END_STREAM, stream, HI);
    assert_eq!(client.data(stream, 100), (HI.to_vec(), true));
    let line = line(&gw, "\"ended_by\"");
    let told =
        json!([line["method"], line["status"], line["bytes"], line["received"], line["ended_by"], line["complete"]]);
    assert_eq!(told, json!(["GET", 101, 16, 16, "client", true]), "{line}");
}

#[test]
fn two_at_once_on_one_connection_do_not_mix() {
    let gw = start(|_| {});
    let (alice, bob) = (gw.login("oAlice"), gw.login("oBob"));
    let mut client = dial(&gw);
    let (one, other) = (open(&mut client, &alice), open(&mut client, &bob));
    let bearer = format!("Bearer {}", alice.token);
    assert_eq!(gw.client().request("POST", "/v1/logout", &[("Authorization", &bearer)], "").status, 204);
    assert_eq!(client.data(one, 100), (close(1008), true));
    says_hi(&mut client, other);
    let sent = vec![7; 10_000];
    client.frame(DATA, 0, other, &sent);
    assert_eq!(client.data(other, sent.len()), (sent, false));
}

#[test]
fn clients_are_told_that_they_may_ask_where_a_route_says_so_and_nowhere_else() {
    assert!(dial(&start(|_| {})).settings().contains(&ENABLE_CONNECT_PROTOCOL));
    let mut gw = start(|config| config.routes.iter_mut().for_each(|route| route.websocket = false));
    let mut client = dial(&gw);
    assert!(!client.settings().iter().any(|(id, _)| *id == ENABLE_CONNECT_PROTOCOL.0));
    assert_eq!(client.ask(&asking("/open/", &[])).verdict(), "reset 1");
    gw.reload(|config| config.routes[1].websocket = true);
    until("new clients to be told so", || dial(&gw).settings().contains(&ENABLE_CONNECT_PROTOCOL).then_some(()));
}

/// Threat 35, CVE-2026-71324, and 34: neither another protocol nor another place.
#[test]
fn nothing_else_is_agreed_to_and_nothing_of_it_reaches_the_backend() {
    let gw = start(|config| config.routes.push(Route { auth: AuthRule::None, ..Route::new("/public/", "app") }));
    let alice = gw.login("oAlice");
    let bearer = format!("Bearer {}", alice.token);
    let other = |protocol| {
        asking("/open/", &[]).into_iter().map(move |(n, v)| (n, if n == ":protocol" { protocol } else { v }))
    };
    let without = |name: &'static str| asking("/open/", &[]).into_iter().filter(move |(n, _)| *n != name);
    for (fields, verdict) in [
        (other("h2c").collect::<Vec<_>>(), "method_not_allowed"),
        (other("connect-udp").collect(), "method_not_allowed"),
        (other("WebSocket").collect(), "method_not_allowed"),
        (
            without(":protocol").filter(|(n, _)| ![":scheme", ":path"].contains(n)).collect(),
            "bad_request method_not_allowed",
        ),
        (without("sec-websocket-version").collect(), "bad_request"),
        (without(":path").collect(), "reset 1"),
        (asking("/chat", &[]), "token_missing"),
        (asking("/open/../chat", &[]), "bad_request"),
        (asking("/plain/", &[("authorization", &bearer)]), "method_not_allowed"),
        (asking("/v1/session", &[("authorization", &bearer)]), "method_not_allowed"),
        (asking("/open/", &[("upgrade", "websocket")]), "reset 1"),
        ([&[(":method", "GET"), (":protocol", "websocket")], &GET[1..]].concat(), "reset 1"),
    ] {
        let mut told = String::new();
        let reached = gw.reached(|| told = dial(&gw).ask(&fields).verdict()).1;
        assert!(verdict.split(' ').collect::<Vec<_>>().contains(&&*told) || told == verdict, "{fields:?}: {told}");
        assert_eq!(reached, 0, "{fields:?}");
    }
}

/// To HTTP/2 a success says that the WebSocket is open.
#[test]
fn what_is_no_101_never_looks_like_one() {
    let gw = start(|_| {});
    for (declined, verdict) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "upstream_unreachable"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "upstream_unreachable"),
        (OPENED, "upstream_unreachable"),
        ("HTTP/1.1 403 No\r\nContent-Length: 14\r\n\r\n{\"code\":\"nay\"}", "nay"),
    ] {
        gw.upstream.answers(declined);
        let mut client = dial(&gw);
        assert_eq!(client.ask(&asking("/open/", &[])).verdict(), verdict, "{declined}");
        gw.upstream.answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.ask(&[&GET[..3], &[(":path", "/open/")]].concat()), Outcome::Answer(true, "ok".to_owned()));
    }
}

/// CVE-2026-2833.
#[test]
fn what_a_client_sends_before_the_answer_waits_for_it() {
    let gw = start(|_| {});
    let (agree, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    gw.upstream.does(move |seen, out| {
        let _ = wait.lock().unwrap().recv();
        answer(out, opened(seen.header("sec-websocket-key").unwrap()));
        send_back(out);
        Then::Close
    });
    let mut client = dial(&gw);
    let stream = client.open(&asking("/open/", &[]), false);
    client.frame(DATA, 0, stream, HI);
    let head = gw.upstream.wait_for(1)[0].head.len();
    client.settings();
    client.client.stays_silent(Duration::from_millis(300));
    assert_eq!(gw.upstream.bytes(), head, "nothing but the head");
    agree.send(()).unwrap();
    assert!(client.agrees(stream));
    assert_eq!(client.data(stream, HI.len()).0, HI);
}

#[test]
fn time_and_a_stop_end_it_as_any_other() {
    let short = Duration::from_millis(300);
    let gw = start(|config| config.routes[0].websocket_idle = short);
    let alice = gw.login("oAlice");
    let mut client = dial(&gw);
    let stream = open(&mut client, &alice);
    assert_eq!(client.data(stream, 100), (close(1001), true));
    assert_eq!(line(&gw, "\"ended_by\"")["ended_by"], "idle");

    let gw = start(|config| {
        config.server.drain_timeout = Duration::from_hours(1);
        config.server.keepalive_timeout = short;
    });
    let alice = gw.login("oAlice");
    let mut client = dial(&gw);
    let stream = open(&mut client, &alice);
    let log = gw.log.clone();
    let stopping = spawn(move || gw.stop());
    client.until(GOAWAY);
    assert_eq!(client.data(stream, 100), (close(1001), true));
    client.frame(DATA, END_STREAM, stream, b"");
    client.last_words();
    stopping.join().unwrap();
    assert!(log.text().contains("\"ended_by\":\"stop\""), "{}", log.text());
}

#[test]
fn a_connection_that_only_carries_websockets_is_in_use() {
    let short = Duration::from_millis(100);
    let gw = start(|config| {
        (config.server.keepalive_timeout, config.server.header_timeout) = (short, short);
        config.routes[0].websocket_idle = 4 * short;
    });
    let alice = gw.login("oAlice");
    let mut client = dial(&gw);
    let stream = open(&mut client, &alice);
    // Its own time ends it, which is later than the connection's would be.
    assert_eq!(client.data(stream, 100), (close(1001), true));
    assert_eq!(client.last_words(), Some(0));
}

#[test]
fn a_client_that_takes_its_stream_back_or_goes_is_noticed() {
    let gw = start(|_| {});
    let alice = gw.login("oAlice");
    let mut client = dial(&gw);
    let stream = open(&mut client, &alice);
    client.frame(RESET, 0, stream, &8_u32.to_be_bytes());
    assert_eq!(line(&gw, "\"ended_by\":\"client\"")["received"], 8);
    until("the backend's side to close", || (gw.upstream.open() == 0).then_some(()));
    open(&mut client, &alice);
    drop(client);
    until("the other one to end", || (gw.log.text().matches("\"ended_by\"").count() == 2).then_some(()));
    until("the backend's side to close", || (gw.upstream.open() == 0).then_some(()));
}

#[test]
fn those_of_one_user_are_counted_whatever_connection_and_version_they_come_over() {
    let gw = start(|config| config.routes[0].websocket_per_user = Some(2));
    let mut alice = gw.login("oAlice");
    let bearer = format!("Bearer {}", alice.token);
    let mut client = dial(&gw);
    let stream = open(&mut client, &alice);
    assert_eq!(alice.client.send(super::opening("/chat", &alice.token)).interim().status, 101);
    let fields = asking("/chat", &[("authorization", &bearer)]);
    assert_eq!(client.ask(&fields).verdict(), "too_many_websockets");
    assert_eq!(dial(&gw).ask(&fields).verdict(), "too_many_websockets");
    says_hi(&mut client, stream);
    client.frame(RESET, 0, stream, &8_u32.to_be_bytes());
    until("a place", || {
        let stream = client.open(&fields, false);
        client.agrees(stream).then_some(())
    });
    assert_eq!(client.ask(&fields).verdict(), "too_many_websockets");
    drop(alice);
    until("the other's", || {
        let stream = client.open(&fields, false);
        client.agrees(stream).then_some(())
    });
}

/// A client that keeps its window shut holds back its own WebSocket and nobody else's.
#[test]
fn who_reads_slowly_holds_back_nobody_else() {
    let gw = start(|_| {});
    let alice = gw.login("oAlice");
    let mut client = Http2::with_settings(gw.client(), &[(4, 10)]);
    let (slow, other) = (open_wide(&mut client, &alice), open_wide(&mut client, &alice));
    client.frame(DATA, 0, slow, &[7; 10_000]);
    client.frame(DATA, 0, other, b"\x81\x82\0\0\0\0ho");
    assert_eq!(client.data(other, 8), (b"\x81\x82\0\0\0\0ho".to_vec(), false));
}

/// What was said last waits for a window that is never opened, and nobody is there any more who could give up.
#[test]
fn what_a_client_does_not_take_of_a_websocket_that_has_ended_is_not_kept_for_it() {
    let short = Duration::from_millis(300);
    let gw = start(|config| {
        (config.server.write_timeout, config.routes[0].websocket_idle) = (short, short);
    });
    let alice = gw.login("oAlice");
    let mut client = Http2::with_settings(gw.client(), &[(4, 0)]);
    let stream = open_wide(&mut client, &alice);
    client.frame(DATA, 0, stream, HI);
    assert_eq!(client.until(RESET).stream, stream);
    // The connection goes on.
    client.frame(PING, 0, 0, &[7; 8]);
    assert_eq!(client.until(PING).payload, [7; 8]);
}

/// Without a frame that goes through: the window has room for one only.
fn open_wide(client: &mut Http2, user: &User) -> u32 {
    let bearer = format!("Bearer {}", user.token);
    let stream = client.open(&asking("/chat", &[("authorization", &bearer)]), false);
    assert!(client.agrees(stream));
    stream
}

/// The same with a client that others have written.
#[test]
fn a_real_client_opens_one_with_a_token_among_the_subprotocols() {
    let gw = start(|config| config.routes[0].token_subprotocol = true);
    let offer = format!("wxgate, {}", gw.login("oAlice").token);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (response, echoed) = runtime.block_on(LocalSet::new().run_until(echo(gw.addr(), &offer)));
    let headers = response.headers();
    assert_eq!((response.status().as_u16(), headers["sec-websocket-protocol"].as_bytes()), (200, &b"wxgate"[..]));
    assert!(["upgrade", "connection", "sec-websocket-accept"].iter().all(|name| !headers.contains_key(*name)));
    assert_eq!((echoed.as_slice(), gw.upstream.last().header("sec-websocket-protocol")), (HI, None));
}

/// The answer to a real client that offers this, and what comes back before it closes.
async fn echo(addr: SocketAddr, offer: &str) -> (Response<()>, Vec<u8>) {
    let socket = tokio::net::TcpStream::connect(addr).await.unwrap();
    let (send, connection) = h2::client::handshake(socket).await.unwrap();
    spawn_local(connection);
    while !send.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let request = Request::builder().method("CONNECT").uri("http://api.example.com/chat");
    let request = request.header("sec-websocket-version", "13").header("sec-websocket-protocol", offer);
    let request = request.extension(Protocol::from_static("websocket")).body(()).unwrap();
    let (response, mut out) = send.ready().await.unwrap().send_request(request, false).unwrap();
    let (head, mut body) = response.await.unwrap().into_parts();
    out.send_data(Bytes::from_static(HI), false).unwrap();
    let mut echoed = body.data().await.unwrap().unwrap().to_vec();
    out.send_data(Bytes::new(), true).unwrap();
    while let Some(more) = body.data().await {
        echoed.extend_from_slice(&more.unwrap());
    }
    (Response::from_parts(head, ()), echoed)
}
