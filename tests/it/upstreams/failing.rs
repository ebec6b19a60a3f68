//! Servers that fail: they are left alone, come back slowly, and the last one is never given up.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use wxgate::{config::sections::Balance, upstream::Standing};

use super::{Backend, OK, gateway, hang_up, servers, standings, until_they_stand};
use crate::support::{TestGateway, until, upstream::answer};

/// The whole of a server's disgrace, told by the clock.
#[test]
fn a_server_that_fails_is_left_alone_and_comes_back_slowly() {
    let (bad, good) = (Backend::start(), Backend::start());
    let gw = gateway(&[&bad, &good], |upstream| upstream.balance = Balance::RoundRobin);
    bad.cable.pull();
    until("the ejection", || {
        assert_eq!(gw.client().get("/public/").status, 200);
        (standings(&gw)[0] == Standing::Ejected).then_some(())
    });
    bad.cable.plug();
    let before = bad.recorder.count();
    (0..20).for_each(|_| assert_eq!(gw.client().get("/public/").status, 200));
    assert_eq!(bad.recorder.count(), before, "it is well again, and still left alone");
    assert_eq!((servers(&gw)[0].ejections, servers(&gw)[0].ejected_for), (1, Some(Duration::from_secs(10))));

    gw.later(Duration::from_secs(10));
    until_they_stand(&gw, &[Standing::SlowStart, Standing::Up]);
    until("its first request", || {
        gw.client().get("/public/");
        (bad.recorder.count() > before).then_some(())
    });
    let (slow, other) = spread(&gw, &bad, &good);
    assert!(slow * 5 < other, "a tenth of its share at first: {slow} of {}", slow + other);

    gw.later(Duration::from_secs(10));
    until_they_stand(&gw, &[Standing::Up, Standing::Up]);
    until("its whole share", || (spread(&gw, &bad, &good) == (20, 20)).then_some(()));
}

/// How forty requests are spread.
fn spread(gw: &TestGateway, one: &Backend, other: &Backend) -> (usize, usize) {
    let before = (one.recorder.count(), other.recorder.count());
    (0..40).for_each(|_| assert_eq!(gw.client().get("/public/").status, 200));
    (one.recorder.count() - before.0, other.recorder.count() - before.1)
}

#[test]
fn a_server_that_comes_back_too_early_is_left_alone_for_longer() {
    let (bad, good) = (Backend::start(), Backend::start());
    let gw = gateway(&[&bad, &good], |_| {});
    bad.cable.pull();
    for (ejection, secs) in [(1, 10), (2, 20), (3, 40)] {
        until("the ejection", || {
            assert_eq!(gw.client().get("/public/").status, 200);
            (servers(&gw)[0].ejections == ejection).then_some(())
        });
        assert_eq!(servers(&gw)[0].ejected_for, Some(Duration::from_secs(secs)));
        gw.later(Duration::from_secs(secs));
    }
}

#[test]
fn a_server_that_fails_alone_is_asked_all_the_same() {
    let only = Backend::start();
    hang_up(&only.recorder);
    let gw = gateway(&[&only], |_| {});
    for n in 1..=20 {
        assert_eq!(gw.client().post("/public/", "x").code(), "upstream_unreachable");
        assert_eq!(only.recorder.count(), n);
    }
    only.recorder.answers(OK);
    assert_eq!((gw.client().post("/public/", "x").status, standings(&gw)), (200, vec![Standing::Up]));
}

#[test]
fn where_all_fail_half_are_left_alone_and_all_recover() {
    let backends: Vec<Backend> = (0..4).map(|_| Backend::start()).collect();
    let gw = gateway(&backends.iter().collect::<Vec<_>>(), |_| {});
    for backend in &backends {
        backend.cable.pull();
    }
    for _ in 0..40 {
        assert_eq!(gw.client().get("/public/").code(), "upstream_unreachable");
    }
    let ejected = standings(&gw).iter().filter(|standing| **standing == Standing::Ejected).count();
    assert_eq!(ejected, 2);
    for backend in &backends {
        backend.cable.plug();
    }
    assert_eq!(gw.client().get("/public/").status, 200, "at once: two were never given up");
}

/// Those that are well are gone; one that is left alone is better than none.
#[test]
fn whoever_is_left_alone_is_asked_when_no_other_is_left() {
    let (first, second) = (Backend::start(), Backend::start());
    let gw = gateway(&[&first, &second], |_| {});
    first.cable.pull();
    until("the ejection", || {
        gw.client().get("/public/");
        (standings(&gw)[0] == Standing::Ejected).then_some(())
    });
    first.cable.plug();
    second.cable.pull();
    let before = first.recorder.count();
    assert_eq!((gw.client().get("/public/").status, first.recorder.count()), (200, before + 1));
}

#[test]
fn an_error_of_the_backend_is_an_answer_and_no_failure() {
    let (one, other) = (Backend::start(), Backend::start());
    for backend in [&one, &other] {
        backend.recorder.answers("HTTP/1.1 500 Oh no\r\nContent-Length: 0\r\n\r\n");
    }
    let gw = gateway(&[&one, &other], |_| {});
    (0..40).for_each(|_| assert_eq!(gw.client().get("/public/").status, 500));
    assert_eq!((standings(&gw), gw.retries()), (vec![Standing::Up; 2], 0));
    assert_eq!(one.recorder.count() + other.recorder.count(), 40);
}

#[test]
fn a_server_that_takes_too_long_again_and_again_is_left_alone() {
    let (silent, good) = (Backend::start(), Backend::start());
    let gw = gateway(&[&silent, &good], |upstream| {
        upstream.response_timeout = Duration::from_millis(50);
        upstream.eject.failures = 2;
    });
    silent.cable.hold();
    until("the ejection", || {
        let reply = gw.client().get("/public/");
        assert!(reply.status == 200 || reply.code() == "upstream_timeout", "{reply:?}");
        (standings(&gw)[0] == Standing::Ejected).then_some(())
    });
    assert_eq!(gw.retries(), 0, "the silent one may still be at it");
}

/// A deployment takes one server of two away under load, in the middle of requests, and brings it back.
#[test]
fn while_a_server_dies_under_load_no_request_fails_that_may_be_sent_again() {
    let backends = [Backend::start(), Backend::start()];
    for backend in &backends {
        // Some requests are under way at any moment.
        backend.recorder.does(|_, out| {
            (0..50).for_each(|_| thread::yield_now());
            answer(out, OK)
        });
    }
    let gw = TestGateway::with(|config| {
        config.upstreams[0].servers = backends.iter().map(Backend::server).collect();
    });
    let answered = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = gw.client();
                while answered.fetch_add(1, Ordering::SeqCst) < 3000 {
                    let reply = client.get("/public/");
                    assert_eq!(reply.status, 200, "{reply:?}");
                }
            });
        }
        for (n, backend) in [(500, &backends[0]), (2000, &backends[1])] {
            until("its moment", || (answered.load(Ordering::SeqCst) > n).then_some(()));
            backend.cable.pull();
            until("the others' moment", || (answered.load(Ordering::SeqCst) > n + 500).then_some(()));
            backend.cable.plug();
            gw.later(Duration::from_mins(1));
        }
    });
    assert!(backends.iter().all(|backend| backend.recorder.count() > 100));
}
