//! Which server a request goes to.

use std::sync::{Mutex, mpsc};

use wxgate::{config::sections::Balance, upstream::Standing};

use super::{Backend, OK, gateway, until_they_stand};
use crate::support::{TestGateway, client::head, until, upstream::answer};

fn counts(backends: &[&Backend]) -> Vec<usize> {
    backends.iter().map(|backend| backend.recorder.count()).collect()
}

#[test]
fn servers_get_requests_by_their_weights() {
    let (light, heavy) = (Backend::start(), Backend::start());
    let gw = gateway(&[&light, &heavy], |upstream| {
        upstream.balance = Balance::RoundRobin;
        upstream.servers[1].weight = 3;
    });
    for _ in 0..40 {
        assert_eq!(gw.client().get("/public/").status, 200);
    }
    assert_eq!(counts(&[&light, &heavy]), [10, 30]);
}

#[test]
fn whoever_has_nothing_to_do_gets_the_next_request() {
    let (one, other) = (Backend::start(), Backend::start());
    let (finish, finished) = mpsc::channel::<()>();
    let finished = std::sync::Arc::new(Mutex::new(finished));
    for backend in [&one, &other] {
        let finished = finished.clone();
        backend.recorder.does(move |seen, out| {
            if seen.target == "/public/long" {
                finished.lock().unwrap().recv().unwrap();
            }
            answer(out, OK)
        });
    }
    let gw = gateway(&[&one, &other], |_| {});
    let mut long = gw.client();
    long.send(head("GET", "/public/long", &[], 0));
    until("the long one", || (one.recorder.count() + other.recorder.count() == 1).then_some(()));
    let (busy, idle) = if one.recorder.count() == 1 { (&one, &other) } else { (&other, &one) };
    for _ in 0..20 {
        assert_eq!(gw.client().get("/public/").status, 200);
    }
    assert_eq!((busy.recorder.count(), idle.recorder.count()), (1, 20));
    finish.send(()).unwrap();
    assert_eq!(long.reply().status, 200);
}

/// The servers that have seen requests of this user.
fn homes(user: &str, backends: &[&Backend]) -> Vec<usize> {
    let saw = |backend: &Backend| backend.recorder.seen().iter().any(|seen| seen.header("x-wx-openid") == Some(user));
    (0..backends.len()).filter(|at| saw(backends[*at])).collect()
}

#[test]
fn a_user_stays_with_a_server_and_goes_elsewhere_only_while_it_is_away() {
    let backends = [Backend::start(), Backend::start(), Backend::start()];
    let all: Vec<&Backend> = backends.iter().collect();
    let gw = gateway(&all, |upstream| upstream.balance = Balance::HashOpenid);
    let mut user = gw.login("oAlice");
    let mut get = |gw: &TestGateway| {
        let before = counts(&all);
        assert_eq!((user.get("/orders").status, gw.client().get("/public/").status), (200, 200));
        let after = counts(&all);
        assert_eq!(after.iter().sum::<usize>(), before.iter().sum::<usize>() + 2);
    };
    (0..10).for_each(|_| get(&gw));
    let [home] = homes("oAlice", &all)[..] else { panic!("{:?}", homes("oAlice", &all)) };
    backends[home].cable.pull();
    (0..10).for_each(|_| get(&gw));
    assert_eq!(homes("oAlice", &all).len(), 2, "one more server, and the same one each time");
    let mut stands = [Standing::Up; 3];
    stands[home] = Standing::Ejected;
    until_they_stand(&gw, &stands);
}

#[test]
fn users_are_spread_over_the_servers() {
    let backends = [Backend::start(), Backend::start()];
    let all: Vec<&Backend> = backends.iter().collect();
    let gw = gateway(&all, |upstream| upstream.balance = Balance::HashOpenid);
    for n in 0..20 {
        assert_eq!(gw.login(&format!("oUser{n}")).get("/orders").status, 200);
    }
    assert!(counts(&all).iter().all(|count| *count > 0), "{:?}", counts(&all));
}
