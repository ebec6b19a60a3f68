//! Which connection a request gets that can't have any: one whose last request is not written, or one that is only coming about.

use std::{pin::pin, task::Poll};

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{self, LocalOptions},
    sync::oneshot,
    task::yield_now,
};

use super::*;
use crate::{
    config::sections::{self, Endpoint, ServerAddress},
    model::{ManualClock, Timestamp},
};

/// For a connection; nothing here waits for one.
const PATIENCE: Duration = Duration::from_secs(20);

/// More than a kernel takes for a peer that reads nothing.
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
    lease.send(Box::new(request.into()));
    let answer = std::future::poll_fn(|cx| lease.poll_answer(cx));
    let (answer, ()) = tokio::join!(answer, async {
        upstream.read_u8().await.unwrap();
        upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    assert!(answer.is_ok_and(|answer| answer.body.is_end_stream()), "it is read whole");
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

/// A server, and its group, which has so many connections to it at most.
async fn limited(connections: usize) -> (TcpListener, Arc<Group>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Endpoint { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
    let mut section = sections::Upstream::new("app", vec![server]);
    section.max_connections = connections;
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(0)));
    (listener, Arc::new(Group::new(&section, clock).unwrap()))
}

/// Two workers, and one connection for both of them. The one that had it turns its own requests with it for as long as there were
/// any, and those of the other waited in vain.
#[test]
fn whoever_has_waited_longest_gets_the_next_connection_on_whatever_worker() {
    on_a_worker(async {
        let (listener, group) = limited(1).await;
        let [one, other] = [(), ()].map(|()| Rc::new(Pool::<Full<Bytes>>::new(&group, 0)));
        // Their ends stay open.
        spawn_local(async move {
            let mut servers = Vec::new();
            while let Ok((server, _)) = listener.accept().await {
                servers.push(server);
            }
        });
        let first = one.lease(Reuse::Allowed, PATIENCE).await.unwrap();
        let turns = Rc::new(RefCell::new(Vec::new()));
        let give_backs: Vec<_> = ["other", "one", "one", "other", "one"]
            .into_iter()
            .enumerate()
            .map(|(nth, whose)| {
                let pool = Rc::clone(if whose == "one" { &one } else { &other });
                let (turns, (give_back, done)) = (Rc::clone(&turns), oneshot::channel::<()>());
                spawn_local(async move {
                    let lease = pool.wait(Reuse::Allowed, PATIENCE).await.unwrap();
                    turns.borrow_mut().push((nth, lease.reused()));
                    done.await.unwrap();
                    lease.give_back();
                });
                give_back
            })
            .collect();
        let waiting = || one.waiting.get() + other.waiting.get();
        while waiting() < 5 {
            yield_now().await;
        }
        assert!(other.lease(Reuse::Allowed, PATIENCE).await.is_err(), "nobody gets ahead of them");
        first.give_back();
        for (nth, give_back) in give_backs.into_iter().enumerate() {
            while turns.borrow().len() <= nth {
                // What a worker does four times a second.
                if nth > 2 {
                    for pool in [&one, &other] {
                        pool.sweep();
                    }
                }
                yield_now().await;
            }
            give_back.send(()).unwrap();
        }
        let turns = turns.borrow();
        let kept = turns.iter().filter(|(_, reused)| *reused).count();
        let order: Vec<_> = turns.iter().map(|(nth, _)| *nth).collect();
        assert_eq!((order, kept), (vec![0, 1, 2, 3, 4], 1), "a connection that is kept goes to the worker that has it");
    });
}

/// Two connections are given back in one turn. The one that may use none of them was told of both, again and again.
#[test]
fn of_two_connections_given_back_at_once_one_goes_to_each_who_waits() {
    on_a_worker(async {
        let (listener, group) = limited(2).await;
        let pool = Rc::new(Pool::<Full<Bytes>>::new(&group, 0));
        let mut ends = Vec::new();
        let mut leases = Vec::new();
        for _ in 0..2 {
            leases.push(pool.lease(Reuse::Allowed, PATIENCE).await.unwrap());
            ends.push(listener.accept().await.unwrap());
        }
        let (mut again, mut usual) =
            (pin!(pool.wait(Reuse::Forbidden, PATIENCE)), pin!(pool.wait(Reuse::Allowed, PATIENCE)));
        std::future::poll_fn(|cx| {
            assert!(again.as_mut().poll(cx).is_pending() && usual.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        for lease in leases {
            lease.give_back();
        }
        let (again, usual) = tokio::join!(again, usual);
        assert!(!again.unwrap().reused() && usual.unwrap().reused());
    });
}

/// A request that is sent again may use no kept connection, and must not wait beside one.
#[test]
fn who_may_not_use_a_kept_connection_leaves_it_to_others_or_takes_its_place() {
    on_a_worker(async {
        let (listener, group) = limited(1).await;
        let pool = Rc::new(Pool::<Full<Bytes>>::new(&group, 0));
        let first = pool.lease(Reuse::Allowed, PATIENCE).await.unwrap();
        let _server = listener.accept().await.unwrap();
        let (mut again, mut usual) =
            (pin!(pool.wait(Reuse::Forbidden, PATIENCE)), pin!(pool.wait(Reuse::Allowed, PATIENCE)));
        std::future::poll_fn(|cx| {
            assert!(again.as_mut().poll(cx).is_pending() && usual.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        first.give_back();
        let second = tokio::select! {
            _ = &mut again => panic!("there is no other connection yet"),
            second = &mut usual => second.unwrap(),
        };
        assert!(second.reused());
        second.give_back();
        assert!(!again.await.unwrap().reused());
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
