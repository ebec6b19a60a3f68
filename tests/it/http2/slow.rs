//! Clients that take their time: what they are sent arrives, and who takes nothing is not waited for.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Mutex, mpsc},
    thread::spawn,
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use wxgate::{
    app::World,
    config::{
        Config,
        sections::{Http2 as Section, ListenAt},
    },
    server::systemd::{Passed, PassedSockets},
};

use super::{dial, start};
use crate::support::{
    Client, TestGateway,
    client::taking_little,
    http2::{DATA, GET, Http2, Outcome, PING, WINDOW_UPDATE},
    link::Link,
    tls::{Authority, speak_tls},
    until,
    upstream::answer,
};

const SOON: Duration = Duration::from_millis(300);

/// The number of the setting for it.
const WINDOW: u16 = 4;
/// More than any of the answers here.
const ROOM: u32 = 0x4000_0000;

/// A gateway whose sockets hold but little of what a client does not read. The upstream answers with as many bytes as the
/// path says.
fn narrow(change: impl FnOnce(&mut Config)) -> (TestGateway, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_send_buffer_size(8192).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(1024).unwrap();
    let listener = TcpListener::from(socket);
    let addr = listener.local_addr().unwrap();
    let sockets = PassedSockets::of([("narrow".to_owned(), Passed::Tcp(listener))]);
    let gw = TestGateway::try_in(World { sockets, ..World::default() }, |config| {
        config.server.listen = vec![ListenAt::Systemd("narrow".to_owned())];
        config.server.http2 = Section { prior_knowledge: true, ..Section::default() };
        change(config);
    })
    .unwrap();
    gw.upstream.does(|seen, out| {
        let size: usize = seen.target.rsplit('/').next().unwrap().parse().unwrap();
        answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"));
        answer(out, vec![b'x'; size])
    });
    (gw, addr)
}

/// A client that lets everything be sent, whether or not it reads.
fn roomy(client: Client) -> Http2 {
    let mut client = Http2::with_settings(client, &[(WINDOW, ROOM)]);
    client.frame(WINDOW_UPDATE, 0, 0, &ROOM.to_be_bytes());
    client
}

fn ask_for(client: &mut Http2, size: usize) -> u32 {
    client.open(&[&GET[..3], &[(":path", &format!("/public/{size}"))]].concat(), true)
}

fn logged(gw: &TestGateway, lines: usize) {
    until("the answers", || (gw.log.text().lines().count() >= lines).then_some(()));
}

/// An answer can be so large that all of it but the end fits into the buffers on the way. The end then waits in TLS, and
/// nothing is written any more when it has gone.
#[test]
fn a_write_that_was_slow_once_is_held_against_nobody() {
    let ca = Authority::new();
    let (gw, addr) = narrow(|config| {
        speak_tls(config, vec![ca.files("api", &["api.example.com"])]);
        // Long enough for a busy machine to read all the answers below.
        config.server.write_timeout = Duration::from_secs(4);
    });
    let dialler = ca.dialler().offering(&["h2"]);
    let dial = || roomy(dialler.dial_over(taking_little(addr), "api.example.com"));
    // Whatever the kernel's buffers hold, some of these answers end between them and what TLS holds.
    let mut clients: Vec<_> = (1..20).map(|n| (dial(), n * 4 * 1024)).collect();
    let streams: Vec<_> = clients.iter_mut().map(|(client, size)| ask_for(client, *size)).collect();
    logged(&gw, streams.len());
    for ((client, size), stream) in clients.iter_mut().zip(streams) {
        assert_eq!(client.outcome(stream), Outcome::Answer(true, "x".repeat(*size)));
    }
    clients[0].0.client.stays_silent(Duration::from_secs(5));
    for (client, _) in &mut clients {
        let stream = ask_for(client, 2);
        assert_eq!(client.outcome(stream), Outcome::Answer(true, "xx".to_owned()));
    }
}

/// What a client says of its window must not meet a closed socket: the system would throw away what lies in it.
#[test]
fn what_was_said_before_the_end_arrives_however_slowly_it_is_read() {
    let gw = start(|_| {});
    let (open, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    gw.upstream.does(move |_, out| {
        let _ = wait.lock().unwrap().recv();
        answer(out, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        answer(out, vec![b'x'; 1_000_000])
    });
    let mut client = roomy(Client::over(Link::Tcp(taking_little(gw.addr()))));
    let stream = client.open(&GET, true);
    gw.upstream.wait_for(1);
    let (log, stopping) = (gw.log.clone(), spawn(move || gw.stop()));
    client.until(PING);
    open.send(()).unwrap();
    log.line("/public/");
    let outcome = client.outcome(stream);
    assert!(outcome == Outcome::Answer(true, "x".repeat(1_000_000)), "{}", outcome.verdict());
    client.last_words();
    stopping.join().unwrap();
}

#[test]
fn who_takes_a_little_now_and_then_is_waited_for() {
    let gw = start(|config| config.server.write_timeout = Duration::from_secs(1));
    // What comes from the upstream at once takes several seconds.
    let size = 9 * 1024;
    gw.upstream.answers(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{}", "x".repeat(size)));
    let mut client = Http2::with_settings(gw.client(), &[(WINDOW, 256)]);
    let stream = client.open(&GET, true);
    let mut taken = 0;
    while taken < size {
        let n = client.until(DATA).payload.len();
        client.client.stays_silent(Duration::from_millis(100));
        client.frame(WINDOW_UPDATE, 0, stream, &u32::try_from(n).unwrap().to_be_bytes());
        taken += n;
    }
}

/// Nobody has anything to do with such an answer any more, but what is left of it lies here.
#[test]
fn who_does_not_take_the_end_of_an_answer_is_told_to_go() {
    let gw = start(|config| config.server.write_timeout = SOON);
    gw.upstream.answers(format!("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{}", "x".repeat(5000)));
    let mut client = Http2::with_settings(gw.client(), &[(WINDOW, 1)]);
    client.open(&GET, true);
    assert_eq!(client.until(DATA).payload, b"x");
    gw.log.line("/public/");
    assert_eq!(client.last_words(), Some(0));
}

#[test]
fn who_is_told_to_go_does_not_stay_by_asking_whether_we_are_there() {
    let gw = start(|config| config.server.header_timeout = SOON);
    let mut client = dial(&gw);
    until("the end", || {
        client.frame(PING, 0, 0, &[0; 8]);
        matches!(client.client.try_some(&mut [0; 1024]), Ok(0) | Err(_)).then_some(())
    });
}
