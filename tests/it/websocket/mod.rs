//! Tunnels: who may open a web socket, what passes and when, and what ends it.

mod counts;
mod limits;
mod over_http2;
mod sessions;
mod subprotocols;
mod upstreams;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Mutex, mpsc},
    thread::spawn,
    time::Duration,
};

use serde_json::{Value, json};
use wxgate::{
    config::{
        Config,
        sections::{AuthRule, Route},
    },
    model::Clock,
};

use crate::support::{
    Client, Recorder, Seen, TestGateway, User,
    client::head,
    endpoint,
    scripted::Scripted,
    tls::{Authority, speak_tls},
    until,
    upstream::{Then, answer},
};

/// The example of RFC 6455, 1.3.
const KEY: (&str, &str) = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
const OPENED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const OPENING: [(&str, &str); 4] =
    [("Connection", "Upgrade"), ("Upgrade", "websocket"), KEY, ("Sec-WebSocket-Version", "13")];
/// `hi` in a frame, as a client sends it with a mask of zeros.
const HI: &[u8] = b"\x81\x82\0\0\0\0hi";

/// A close frame of ours.
pub fn close(code: u16) -> Vec<u8> {
    [&[0x88, 2][..], &code.to_be_bytes()].concat()
}

pub fn sockets(config: &mut Config) {
    let route = |path: &str| Route { websocket: true, ..Route::new(path, "app") };
    config.routes = vec![route("/"), Route { auth: AuthRule::None, ..route("/open/") }, Route::new("/plain/", "app")];
}

/// Every WebSocket is opened; what comes is sent back.
pub fn echo(gw: &TestGateway) {
    gw.upstream.does(echoed);
}

/// The same, as what a backend does with a request.
pub fn echoed(seen: &Seen, out: &mut TcpStream) -> Then {
    if seen.header("upgrade").is_none() {
        return answer(out, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
    answer(out, OPENED);
    send_back(out);
    Then::Close
}

fn send_back(out: &mut TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(n @ 1..) = out.read(&mut bytes) {
        if out.write_all(&bytes[..n]).is_err() {
            return;
        }
    }
}

fn start() -> TestGateway {
    start_with(|_| {})
}

fn start_with(change: impl FnOnce(&mut Config)) -> TestGateway {
    let gw = TestGateway::with(|config| {
        sockets(config);
        change(config);
    });
    echo(&gw);
    gw
}

pub fn opening(path: &str, token: &str) -> String {
    let bearer = format!("Bearer {token}");
    let mut lines = OPENING.to_vec();
    if !token.is_empty() {
        lines.push(("Authorization", &bearer));
    }
    head("GET", path, &lines, 0)
}

/// A WebSocket of this user's, through which a frame has gone and come back.
fn open(user: &mut User) -> &mut Client {
    let reply = user.client.send(opening("/chat", &user.token)).interim();
    assert_eq!(reply.status, 101, "{reply:?}");
    says_hi(&mut user.client);
    &mut user.client
}

/// Opens a WebSocket that the backend ends at once.
pub fn visit(gw: &TestGateway, path: &str) {
    gw.upstream.does(|_, out| {
        answer(out, OPENED);
        Then::Close
    });
    let mut client = gw.client();
    assert_eq!(client.send(opening(path, "")).interim().status, 101);
    client.rest();
}

pub fn says_hi(client: &mut Client) {
    assert_eq!(client.send(HI).some(HI.len()), HI);
}

fn line(gw: &TestGateway, part: &str) -> Value {
    serde_json::from_str(&gw.log.line(part)).unwrap()
}

#[test]
fn the_upstream_hears_who_opens_a_websocket_and_bytes_go_both_ways() {
    let gw = start();
    let mut alice = gw.login("oAlice");
    let forged = opening("/chat?room=1", &alice.token).replace("Host:", "X-WX-OPENID: oMallory\r\nHost:");
    let reply = alice.client.send(forged).interim();
    let (connection, upgrade) = (reply.header("connection"), reply.header("upgrade"));
    assert_eq!((reply.status, connection, upgrade), (101, Some("Upgrade"), Some("websocket")), "{reply:?}");
    assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let seen = gw.upstream.last();
    assert_eq!((seen.target.as_str(), seen.header("x-wx-openid")), ("/chat?room=1", Some("oAlice")));
    assert_eq!((seen.header("connection"), seen.header("upgrade")), (Some("Upgrade"), Some("websocket")));
    assert_eq!((seen.header("sec-websocket-key"), seen.header("authorization")), (Some(KEY.1), None));
    (0..3).for_each(|_| says_hi(&mut alice.client));
    assert_eq!(alice.client.finish().rest(), b"");
    let line = line(&gw, "\"path\":\"/chat\"");
    let told = json!([line["status"], line["bytes"], line["received"], line["ended_by"], line["complete"]]);
    assert_eq!(told, json!([101, 24, 24, "client", true]), "{line}");
}

#[test]
fn a_websocket_is_the_same_over_tls() {
    let ca = Authority::new();
    let gw = start_with(|config| _ = speak_tls(config, vec![ca.files("api", &["api.example.com"])]));
    let mut client = ca.dialler().dial(gw.addr(), "api.example.com");
    assert_eq!(client.send(opening("/open/", "")).interim().status, 101);
    let long: Vec<u8> = (0..200_000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    for piece in long.chunks(10_000) {
        assert_eq!(client.send(piece).some(piece.len()), piece);
    }
}

#[test]
fn nobody_opens_one_without_a_session_or_where_the_route_does_not_say_so() {
    let gw = start();
    let alice = gw.login("oAlice");
    assert_eq!(gw.raw(opening("/chat", "")).code(), "token_missing");
    assert_eq!(gw.upstream.count(), 0);
    assert_eq!(gw.raw(opening("/plain/", &alice.token)).text(), "ok");
    let seen = gw.upstream.last();
    assert_eq!((seen.header("upgrade"), seen.header("connection")), (None, None));
}

/// CVE-2026-2833: a proxy passed on what stood behind an Upgrade before the upstream had agreed to it.
#[test]
fn what_follows_an_opening_waits_for_the_101() {
    let gw = start();
    let (agree, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    gw.upstream.does(move |_, out| {
        let _ = wait.lock().unwrap().recv();
        answer(out, OPENED);
        send_back(out);
        Then::Close
    });
    let mut client = gw.client();
    client.send([opening("/open/", "").as_bytes(), HI].concat());
    let head = gw.upstream.wait_for(1)[0].head.len();
    assert!(client.stays_silent(Duration::from_millis(300)));
    assert_eq!(gw.upstream.bytes(), head, "nothing but the head");
    agree.send(()).unwrap();
    assert_eq!(client.interim().status, 101);
    assert_eq!(client.some(HI.len()), HI);
}

#[test]
fn what_follows_an_opening_that_is_declined_is_a_request_like_any_other() {
    let gw = start();
    for declined in ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 426 No\r\nContent-Length: 2\r\n\r\nok"]
    {
        gw.upstream.answers(declined);
        let before = gw.upstream.count();
        let mut client = gw.client();
        client.send(opening("/open/", "") + &head("GET", "/admin", &[], 0));
        assert_eq!(client.reply().text(), "ok");
        assert_eq!(client.reply().code(), "token_missing");
        assert_eq!(gw.upstream.count(), before + 1, "{declined}");
        assert_eq!(client.get("/open/").text(), "ok");
    }
}

#[test]
fn an_opening_that_is_not_well_formed_reaches_nobody() {
    let gw = start();
    let whole = opening("/open/", "");
    for (from, to) in [
        ("GET", "POST"),
        ("Upgrade: websocket", "Upgrade: websocket, h2c"),
        ("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: websocket"),
        ("Connection: Upgrade", "Connection: close"),
        ("dGhl", "dGhlIA=="),
        ("Sec-WebSocket-Key", "X-Key"),
        ("Version: 13", "Version: 12"),
        ("Host", "Content-Length: 0\r\nSec-WebSocket-Version: 13\r\nHost"),
    ] {
        let reply = gw.raw(whole.replace(from, to));
        assert_eq!((reply.status, reply.code().as_str()), (400, "bad_request"), "{to}");
    }
    assert_eq!(gw.upstream.count(), 0);
}

#[test]
fn nothing_but_a_websocket_is_upgraded_to() {
    let gw = start();
    for other in ["h2c", "TLS/1.0", "websocket2"] {
        let lines = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", other), ("HTTP2-Settings", "AAMAAABk")];
        assert_eq!(gw.client().request("GET", "/open/", &lines, "").text(), "ok");
        let seen: Seen = gw.upstream.last();
        assert_eq!([seen.header("upgrade"), seen.header("connection"), seen.header("http2-settings")], [None; 3]);
    }
}

#[test]
fn a_101_that_does_not_fit_is_a_bad_gateway() {
    let gw = start();
    for (from, to) in [
        ("xOo=", "xOoA"),
        ("Sec-WebSocket-Accept", "X-Accept"),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Connection: Upgrade", "X-Connection: Upgrade"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
    ] {
        gw.upstream.answers(OPENED.replace(from, to));
        let mut client = gw.client();
        assert_eq!(client.raw(opening("/open/", "")).code(), "upstream_unreachable", "{to}");
        echo(&gw);
        assert_eq!(client.get("/open/").text(), "ok", "the connection is as good as before");
    }
}

#[test]
fn a_session_that_is_ended_takes_its_websockets_along() {
    let gw = start();
    let (mut alice, mut bob) = (gw.login("oAlice"), gw.login("oBob"));
    open(&mut bob);
    open(&mut alice);
    let bearer = format!("Bearer {}", alice.token);
    assert_eq!(gw.client().request("POST", "/v1/logout", &[("Authorization", &bearer)], "").status, 204);
    assert_eq!(alice.client.rest(), close(1008));
    assert_eq!(line(&gw, "\"ended_by\"")["ended_by"], "session");
    says_hi(&mut bob.client);
    until("the upstream's side to close", || (gw.upstream.open() == 1).then_some(()));
}

#[test]
fn a_session_that_runs_out_takes_its_websockets_along() {
    let gw = start();
    let mut alice = gw.login("oAlice");
    open(&mut alice);
    gw.later(Duration::from_hours(24 * 365));
    assert_eq!(alice.client.rest(), close(1008));
}

#[test]
fn a_session_is_used_as_long_as_something_passes() {
    let store = Scripted::own();
    let gw = TestGateway::on(Some(store.clone()), |config| {
        sockets(config);
        config.sessions.idle = Duration::from_secs(4);
    });
    echo(&gw);
    let mut alice = gw.login("oAlice");
    open(&mut alice);
    for _ in 0..3 {
        gw.later(Duration::from_secs(2));
        says_hi(&mut alice.client);
        let now = gw.clock.now();
        until("the use to be written down", || store.written().iter().any(|seen| seen.at >= now).then_some(()));
    }
    says_hi(&mut alice.client);
}

#[test]
fn who_says_nothing_for_too_long_is_told_so() {
    let gw = start_with(|config| config.routes[0].websocket_idle = Duration::from_millis(300));
    let mut alice = gw.login("oAlice");
    open(&mut alice);
    assert_eq!(alice.client.rest(), close(1001));
    assert_eq!(line(&gw, "\"ended_by\"")["ended_by"], "idle");
}

#[test]
fn a_websocket_grows_no_older_than_it_may_however_busy() {
    let gw = start_with(|config| config.routes[0].websocket_max_age = Some(Duration::from_millis(300)));
    let mut alice = gw.login("oAlice");
    let client = open(&mut alice);
    let mut last = Vec::new();
    until("the end", || {
        let mut bytes = [0; 64];
        let n = client.send(HI).try_some(&mut bytes).unwrap_or(0);
        last.extend_from_slice(&bytes[..n]);
        (n == 0).then_some(())
    });
    assert!(last.ends_with(&close(1001)), "{:?}", &last[last.len() - 16..]);
}

#[test]
fn no_frame_of_ours_is_put_into_one_that_has_not_ended() {
    let gw = start_with(|config| config.routes[0].websocket_idle = Duration::from_millis(300));
    let mut alice = gw.login("oAlice");
    open(&mut alice);
    assert_eq!(alice.client.send(b"\x82\x7dhalf").rest(), b"\x82\x7dhalf");
}

#[test]
fn a_stop_says_goodbye_and_does_not_wait_for_websockets_to_end_by_themselves() {
    let gw = start_with(|config| config.server.drain_timeout = Duration::from_hours(1));
    let mut alice = gw.login("oAlice");
    open(&mut alice);
    let log = gw.log.clone();
    let stopping = spawn(move || gw.stop());
    assert_eq!(alice.client.rest(), close(1001));
    drop(alice);
    stopping.join().unwrap();
    assert!(log.text().contains("\"ended_by\":\"stop\""), "{}", log.text());
}

#[test]
fn an_upstream_hears_a_goodbye_that_it_can_read() {
    let gw = start_with(|config| config.routes[0].websocket_idle = Duration::from_millis(300));
    let (tell, told) = mpsc::channel();
    gw.upstream.does(move |_, out| {
        answer(out, OPENED);
        let mut rest = Vec::new();
        let _ = out.read_to_end(&mut rest);
        tell.send(rest).unwrap();
        Then::Close
    });
    let mut alice = gw.login("oAlice");
    assert_eq!(alice.client.send(opening("/chat", &alice.token)).interim().status, 101);
    let goodbye = told.recv_timeout(Duration::from_secs(20)).unwrap();
    let [0x88, 0x82, mask @ .., high, low] = goodbye.as_slice() else { panic!("{goodbye:?}") };
    assert_eq!(u16::from_be_bytes([high ^ mask[0], low ^ mask[1]]), 1001);
}

#[test]
fn an_upstream_that_closes_closes_the_client() {
    let gw = start();
    gw.upstream.does(|_, out| {
        answer(out, OPENED.to_owned() + "\u{1}\u{2}by");
        Then::Close
    });
    let mut client = gw.client();
    assert_eq!(client.send(opening("/open/", "")).interim().status, 101);
    assert_eq!(client.some(4), b"\x01\x02by");
    // Before the client says that it is done too: or else it could have been the first.
    assert!(client.is_closed());
    client.finish();
    assert_eq!(line(&gw, "\"ended_by\"")["ended_by"], "upstream");
}

#[test]
fn a_websocket_stays_open_through_changes_and_still_ends_with_its_session() {
    let mut gw = start();
    let mut alice = gw.login("oAlice");
    open(&mut alice);
    for path in ["/n1/", "/n2/", "/n3/"] {
        gw.reload(|config| config.routes.push(Route { auth: AuthRule::None, ..Route::new(path, "app") }));
        until("the route", || (gw.client().get(path).status == 200).then_some(()));
        says_hi(&mut alice.client);
    }
    let other = Recorder::start();
    gw.reload(|config| config.upstreams[0].servers = vec![endpoint(other.addr()).into()]);
    says_hi(&mut alice.client);
    gw.client().request("POST", "/v1/logout", &[("Authorization", &format!("Bearer {}", alice.token))], "");
    assert_eq!(alice.client.rest(), close(1008));
}
