//! A connection whose other end says nothing, on a clock that runs a thousand times as fast.

use std::{future::poll_fn, sync::Arc};

use http::Request;
use http_body_util::{Empty, Full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{self, LocalOptions},
};

use super::{
    super::{Payload, Reuse, dial, group::Group, socket::Place},
    *,
};
use crate::{
    config::sections::{self, Endpoint},
    model::{ManualClock, Timestamp},
};

const TICK: Duration = Duration::from_millis(1);
const PREFACE: usize = 24;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

fn on_a_worker(story: impl Future<Output = ()>) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(story);
}

/// A connection, and its server's end, which has said that it speaks HTTP/2.
async fn connection() -> (Connections, Rc<State>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let endpoint = Endpoint { host: addr.ip().to_string(), port: addr.port() };
    let section = sections::Upstream::new("app", vec![endpoint]);
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(0)));
    let group = Arc::new(Group::new(&section, clock).unwrap());
    let room = Rc::new(Notify::new());
    let place = Place::take(&group, 0).unwrap();
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    server.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await.unwrap();
    let socket = Socket::new(dial::Stream::Tcp(stream.into()), place);
    let connection = Connection::open_ticking(socket, None, Scheme::HTTP, &room, TICK).await.unwrap();
    let (connections, state) = (Connections::default(), Rc::clone(&connection.state));
    assert!(connections.dial().ends(Ok(connection)).is_ok());
    let mut preface = [0; PREFACE];
    server.read_exact(&mut preface).await.unwrap();
    (connections, state, server)
}

/// The next frame of this kind, payload and all. None at the end.
async fn next(server: &mut TcpStream, kind: u8) -> Option<Vec<u8>> {
    loop {
        let mut head = [0; 9];
        server.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        server.read_exact(&mut payload).await.ok()?;
        if head[3] == kind && head[4] == 0 {
            return Some(payload);
        }
    }
}

async fn outcome<B: Payload>(exchange: &mut Exchange<B>, mut asked: Asked) -> Result<u16, Unanswered> {
    let head = poll_fn(|cx| {
        exchange.poll_upload(cx);
        Pin::new(&mut asked).poll(cx)
    });
    head.await.map(|head| head.status().as_u16())
}

fn get() -> Request<Empty<Bytes>> {
    Request::get("/").header("host", "a").body(Empty::new()).unwrap()
}

#[test]
fn a_server_that_does_not_even_answer_a_ping_is_gone() {
    on_a_worker(async {
        let (connections, _, mut server) = connection().await;
        let mut exchange = connections.begin(Reuse::Allowed).unwrap();
        let asked = exchange.send(get().into());
        let (outcome, pinged) = tokio::join!(outcome(&mut exchange, asked), next(&mut server, PING));
        assert!(pinged.is_some());
        let error = outcome.unwrap_err();
        assert!(!error.has_heard && matches!(error.fault, Fault::Http2(error) if error.is_io()));
        assert!(connections.begin::<Empty<Bytes>>(Reuse::Allowed).is_none(), "nobody else is sent there");
    });
}

#[test]
fn one_that_answers_it_is_waited_for() {
    on_a_worker(async {
        let (connections, state, mut server) = connection().await;
        let mut exchange = connections.begin(Reuse::Allowed).unwrap();
        let asked = exchange.send(get().into());
        let server = async {
            let ping = next(&mut server, PING).await.unwrap();
            server.write_all(&[&[0, 0, 8, PING, 1, 0, 0, 0, 0][..], &ping].concat()).await.unwrap();
            // Longer than one that is gone is waited for.
            while state.quiet.get() < 30 {
                tokio::task::yield_now().await;
            }
            server.write_all(&[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x89]).await.unwrap();
        };
        assert_eq!(tokio::join!(outcome(&mut exchange, asked), server).0.unwrap(), 204);
    });
}

#[test]
fn one_that_nobody_needs_any_more_is_told_so() {
    on_a_worker(async {
        let (connections, _, mut server) = connection().await;
        connections.let_unused_go();
        assert_eq!(next(&mut server, GOAWAY).await.map(|goaway| goaway[4..].to_vec()), Some(vec![0; 4]));
    });
}

/// A body is read only for a server that has room for it.
#[test]
fn a_body_is_taken_as_far_as_there_is_room() {
    on_a_worker(async {
        let (connections, _, _server) = connection().await;
        let mut exchange = connections.begin(Reuse::Allowed).unwrap();
        let request = Request::post("/").header("host", "a").body(Full::new(Bytes::from(vec![7; 1_000_000]))).unwrap();
        let _asked = exchange.send(request.into());
        for _ in 0..10 {
            poll_fn(|cx| {
                exchange.poll_upload(cx);
                Poll::Ready(())
            })
            .await;
            tokio::task::yield_now().await;
        }
        assert!(!exchange.is_sent());
    });
}
