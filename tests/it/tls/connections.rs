//! Behind a handshake a connection is what it is without one: idle ones are parked and wake, deadlines hold, hang-ups are
//! noticed.

use std::{sync::mpsc, time::Duration};

use rustls::version::{TLS12, TLS13};
use wxgate::config::Config;

use crate::support::{
    Client, TestGateway,
    client::{Framing, head, taking_little},
    tls::{Authority, Dialler, speak_tls},
    until,
    upstream::{Then, answer},
};

const NAME: &str = "api.example.com";
const SOON: Duration = Duration::from_millis(200);

fn start(change: impl FnOnce(&mut Config)) -> (TestGateway, Dialler) {
    let ca = Authority::new();
    let gw = TestGateway::with(|config| {
        speak_tls(config, vec![ca.files("api", &[NAME])]);
        change(config);
    });
    (gw, ca.dialler())
}

fn echo(gw: &TestGateway) {
    gw.upstream.does(|seen, out| {
        let text = format!("{} {}", seen.target, String::from_utf8_lossy(&seen.body));
        answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()))
    });
}

#[test]
fn a_user_logs_in_and_is_known_over_tls_as_over_anything() {
    let (gw, dialler) = start(|_| {});
    let mut client = dialler.dial(gw.addr(), NAME);
    let code = gw.code("oAlice");
    let reply = client.post("/v1/verify", &format!(r#"{{"jsCode":"{code}","appId":"{}"}}"#, crate::support::APP));
    let bearer = format!("Bearer {}", reply.json()["token"].as_str().unwrap());
    assert_eq!(client.request("GET", "/orders", &[("Authorization", &bearer)], "").status, 200);
    assert_eq!(gw.upstream.last().header("x-wx-openid"), Some("oAlice"));
}

#[test]
fn a_parked_connection_wakes_and_is_as_good_as_new() {
    let ca = Authority::new();
    let gw = TestGateway::with(|config| _ = speak_tls(config, vec![ca.files("api", &[NAME])]));
    echo(&gw);
    for version in [&TLS12, &TLS13] {
        let mut client = ca.dialler_of(version).dial(gw.addr(), NAME);
        for n in 0..2 {
            assert_eq!(client.post(&format!("/public/{n}"), "body").text(), format!("/public/{n} body"));
            // Longer than the connection keeps its buffers.
            assert!(client.stays_silent(Duration::from_millis(1600)));
            client.send("G");
        }
        assert_eq!(client.raw("ET /public/2 HTTP/1.1\r\nHost: a\r\n\r\n").text(), "/public/2 ");
    }
}

#[test]
fn requests_sent_at_once_are_answered_in_order_however_they_are_cut_into_records() {
    let (gw, dialler) = start(|_| {});
    echo(&gw);
    let all: String = (0..50).map(|n| head("POST", &format!("/public/{n}"), &[], 4) + "body").collect();
    for size in [all.len(), 1000, 100, 7] {
        let mut client = dialler.dial(gw.addr(), NAME);
        for piece in all.as_bytes().chunks(size) {
            client.send(piece);
        }
        for n in 0..50 {
            assert_eq!(client.reply().text(), format!("/public/{n} body"), "in pieces of {size}");
        }
    }
}

#[test]
fn large_bodies_go_through_both_ways() {
    let (gw, dialler) = start(|_| {});
    gw.upstream.does(|seen, out| {
        answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", seen.body.len()));
        answer(out, &seen.body)
    });
    let body: String = (b'a'..=b'w').cycle().take(3_000_000).map(char::from).collect();
    let reply = dialler.dial(gw.addr(), NAME).post("/public/", &body);
    assert!(reply.text() == body, "{} bytes of {}", reply.body.len(), body.len());
}

#[test]
fn deadlines_hold_over_tls() {
    let (gw, dialler) = start(|config| config.server.header_timeout = SOON);
    assert_eq!(dialler.dial(gw.addr(), NAME).rest(), b"", "nothing was asked");
    let mut client = dialler.dial(gw.addr(), NAME);
    let reply = client.raw("GET /orders HTTP/1.1\r\nHo");
    assert_eq!((reply.status, reply.code().as_str(), reply.framing), (408, "request_timeout", Framing::Length));
    assert!(client.is_closed());
    let (gw, dialler) = start(|config| config.server.keepalive_timeout = SOON);
    let mut client = dialler.dial(gw.addr(), NAME);
    assert_eq!(client.get("/public/").status, 200);
    assert!(client.try_reply("GET").is_err());
    assert_eq!(client.rest(), b"");
}

/// Whether the other side has said goodbye, and not only hung up: then nothing can have been cut off.
fn says_goodbye(client: &mut Client) -> bool {
    let mut one = [0; 1];
    matches!(client.try_some(&mut one), Ok(0))
}

#[test]
fn an_idle_connection_is_closed_with_a_goodbye() {
    let (gw, dialler) = start(|config| config.server.keepalive_timeout = SOON);
    let mut client = dialler.dial(gw.addr(), NAME);
    assert_eq!(client.get("/public/").status, 200);
    assert!(says_goodbye(&mut client));
}

#[test]
fn an_answer_that_breaks_off_is_not_passed_off_as_whole() {
    let (gw, dialler) = start(|_| {});
    gw.upstream.does(|_, out| {
        answer(out, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
        Then::Close
    });
    // Without a length, so that the close is what ends it.
    gw.upstream.early(|_, out| {
        answer(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        Some(Then::Close)
    });
    let mut client = dialler.dial(gw.addr(), NAME);
    client.send("GET /public/ HTTP/1.0\r\nHost: api.example.com\r\n\r\n");
    let mut all = Vec::new();
    let end = client.try_rest(&mut all);
    assert!(all.ends_with(b"half"), "{}", String::from_utf8_lossy(&all));
    assert!(end.is_err(), "a goodbye would say that this is all");
}

#[test]
fn a_hang_up_ends_the_request_at_the_upstream() {
    type HangUp = fn(Client);
    let with_a_word: HangUp = |mut client| {
        client.say_goodbye();
        drop(client);
    };
    let half: HangUp = |mut client| {
        // The socket stays open: it is the goodbye that counts.
        client.say_goodbye();
        std::mem::forget(client);
    };
    let without: HangUp = |client| drop(client);
    for (n, hang_up) in [with_a_word, half, without].into_iter().enumerate() {
        let (gw, dialler) = start(|_| {});
        let (open, wait) = mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        gw.upstream.does(move |_, _| {
            let _ = wait.lock().unwrap().recv();
            Then::Close
        });
        let mut client = dialler.dial(gw.addr(), NAME);
        client.send(head("GET", "/public/slow", &[], 0));
        gw.upstream.wait_for(1);
        hang_up(client);
        let line = gw.log.line("/public/slow");
        assert!(line.contains("\"status\":499"), "{n}: {line}");
        drop(open);
    }
}

#[test]
fn a_client_that_takes_nothing_is_cut_off_over_tls_too() {
    let (gw, dialler) = start(|config| config.server.write_timeout = SOON);
    gw.upstream.does(|_, out| {
        answer(out, "HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n");
        let piece = vec![b'x'; 64 * 1024];
        while matches!(answer(out, &piece), Then::KeepOpen) {}
        Then::Close
    });
    let mut client = dialler.dial(gw.addr(), NAME);
    client.send(head("GET", "/public/", &[], 0));
    until("the upstream to be let go", || (gw.upstream.connections() == 1 && gw.upstream.open() == 0).then_some(()));
    assert!(gw.log.line("/public/").contains("\"complete\":false"));
}

/// An answer can be so large that all of it but the end fits into the buffers on the way. The end then waits in TLS, and
/// the request is over.
#[test]
fn nor_does_the_end_of_an_answer_wait_for_ever_in_tls() {
    let (gw, dialler) = start(|config| {
        config.server.write_timeout = SOON;
        config.server.keepalive_timeout = SOON;
    });
    gw.upstream.does(|seen, out| {
        let size: usize = seen.target.rsplit('/').next().unwrap().parse().unwrap();
        answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"));
        answer(out, vec![b'x'; size])
    });
    // Whatever the kernel's buffers hold, some of these answers end between them and what TLS holds.
    let clients: Vec<Client> = (1..160)
        .map(|n| {
            let mut client = dialler.dial_over(taking_little(gw.addr()), NAME);
            client.send(head("GET", &format!("/public/{}", n * 8 * 1024), &[], 0));
            client
        })
        .collect();
    let mut admin = gw.admin();
    until("nobody to be left", || admin.get("/metrics").text().contains("wxgate_connections_open 0\n").then_some(()));
    drop(clients);
}

#[test]
fn a_stop_lets_requests_under_way_finish_over_tls() {
    let (gw, dialler) = start(|_| {});
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    gw.upstream.does(move |_, out| {
        let _ = wait.lock().unwrap().recv();
        answer(out, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
    });
    let mut idle = dialler.dial(gw.addr(), NAME);
    let mut client = dialler.dial(gw.addr(), NAME);
    client.send(head("GET", "/public/", &[], 0));
    gw.upstream.wait_for(1);
    let stopping = std::thread::spawn(move || gw.stop());
    assert!(idle.is_closed());
    go_on.send(()).unwrap();
    assert_eq!(client.reply().text(), "late");
    stopping.join().unwrap();
}
