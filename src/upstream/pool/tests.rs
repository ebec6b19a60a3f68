//! Which connection a request gets that can't have any: one whose last request is not written, or one that is only coming about.

use std::pin::pin;

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    runtime::{self, LocalOptions},
};

use super::*;
use crate::{
    config::sections::{self, Endpoint, ServerAddress},
    model::{ManualClock, Timestamp},
};

/// For a connection; nothing here waits for one.
const PATIENCE: Duration = Duration::from_secs(20);

/// More than a kernel takes for a peer that reads nothing. It is sent in one piece, so hyper has all of it at once.
const TOO_MUCH: usize = 32 << 20;

/// Does it on one thread, as a worker would.
fn on_a_worker(story: impl Future<Output = ()>) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(story);
}

/// One with a body that the server does not read, and one with such a head.
fn much_to_write() -> [Request<Full<Bytes>>; 2] {
    let much = Bytes::from(vec![b'.'; TOO_MUCH]);
    let head = Request::get("/").header("much", HeaderValue::from_maybe_shared(much.clone()).unwrap());
    [Request::post("/").body(Full::new(much)).unwrap(), head.body(Full::default()).unwrap()]
}

/// A pool with one connection, on which the server has answered a request without reading it whole; and the server's end.
async fn after_an_early_answer(request: Request<Full<Bytes>>) -> (Rc<Pool<Full<Bytes>>>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Endpoint { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
    let section = sections::Upstream::new("app", vec![server]);
    let group = Arc::new(Group::new(&section, Arc::new(ManualClock::starting_at(Timestamp::from_millis(0)))).unwrap());
    let pool = Rc::new(Pool::new(&group, 0));
    let mut lease = pool.lease(Reuse::Allowed, PATIENCE).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let mut answer = pin!(lease.send(request));
    let answer = std::future::poll_fn(|cx| lease.poll_with(cx, |cx| answer.as_mut().poll(cx))).await;
    assert!(answer.is_ok_and(|answer| answer.body().is_end_stream()), "it is read whole");
    assert!(!lease.is_ready());
    // As whoever forgets to ask would do.
    lease.give_back();
    // Its backlog is where a next connection waits.
    spawn_local(async move { listener.accept().await });
    (pool, upstream)
}

#[test]
fn a_kept_connection_whose_last_request_is_not_written_is_not_used_again() {
    on_a_worker(async {
        for request in much_to_write() {
            let (pool, _upstream) = after_an_early_answer(request).await;
            assert!(pool.kept_now(Instant::now()).is_none());
            assert!(!pool.lease(Reuse::Allowed, PATIENCE).await.unwrap().reused());
        }
    });
}

#[test]
fn once_that_request_is_written_the_connection_is_used_again() {
    on_a_worker(async {
        for request in much_to_write() {
            let (pool, mut upstream) = after_an_early_answer(request).await;
            spawn_local(async move { tokio::io::copy(&mut upstream, &mut tokio::io::sink()).await });
            let lease = loop {
                match pool.kept_now(Instant::now()) {
                    Some(lease) => break lease,
                    None => yield_now().await,
                }
            };
            assert!(lease.reused());
        }
    });
}

/// The head of a frame of settings, which allow one stream at a time.
const ONE_AT_A_TIME: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1];

#[test]
fn who_waits_for_another_connection_of_http2_takes_room_on_the_one_there_is() {
    on_a_worker(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Endpoint { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
        let section = sections::Upstream::new("app", vec![ServerAddress::ClearHttp2(server)]);
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(0)));
        let pool = Rc::new(Pool::<Full<Bytes>>::new(&Arc::new(Group::new(&section, clock).unwrap()), 0));
        let (first, server) = tokio::join!(pool.lease(Reuse::Allowed, PATIENCE), async {
            let (mut server, _) = listener.accept().await.unwrap();
            server.write_all(ONE_AT_A_TIME).await.unwrap();
            server
        });
        // The next connection is accepted, and nobody speaks on it: it comes about never.
        let (mut dials, mut waits) =
            (pin!(pool.lease(Reuse::Allowed, PATIENCE)), pin!(pool.lease(Reuse::Allowed, PATIENCE)));
        let mut silent = None;
        while silent.is_none() || pool.http2.dialing().is_none() {
            tokio::select! {
                biased;
                _ = &mut dials => panic!("there is no room yet"),
                _ = &mut waits => panic!("there is no room yet"),
                accepted = listener.accept() => silent = accepted.ok(),
            }
        }
        drop(first.unwrap());
        let dials = dials.await.unwrap();
        drop(dials);
        assert!(waits.await.unwrap().is_http2());
        assert!(pool.http2.dialing().is_some(), "whoever comes next may still find the other one");
        drop(server);
    });
}
