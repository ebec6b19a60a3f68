//! Servers that are asked whether they are well.

use std::time::Duration;

use wxgate::{
    config::sections::{Endpoint, ServerAddress, Upstream},
    upstream::Standing,
};

use super::{Backend, OK, gateway, standings, until_they_stand};
use crate::support::{
    Seen,
    tls::Authority,
    until,
    upstream::{Then, answer},
    ways::{through_a_socket, through_tls},
};

fn checked(upstream: &mut Upstream) {
    upstream.health.path = Some("/health?deep=1".to_owned());
    upstream.health.interval = Duration::from_millis(20);
    upstream.health.timeout = Duration::from_millis(200);
    upstream.slow_start = Duration::ZERO;
}

fn says(backend: &Backend, health: &'static str) {
    backend.recorder.does(move |seen, out| answer(out, if is_check(seen) { health } else { OK }));
}

fn is_check(seen: &Seen) -> bool {
    seen.target == "/health?deep=1"
}

fn requests(backend: &Backend) -> usize {
    backend.recorder.seen().iter().filter(|seen| !is_check(seen)).count()
}

const SICK: &str = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_server_that_says_that_it_is_not_well_gets_nothing_until_it_is() {
    let (sick, well) = (Backend::start(), Backend::start());
    let gw = gateway(&[&sick, &well], checked);
    says(&sick, SICK);
    until_they_stand(&gw, &[Standing::Unhealthy, Standing::Up]);
    until("the worker to know it", || {
        let before = requests(&sick);
        (0..10).for_each(|_| assert_eq!(gw.client().get("/public/").status, 200));
        (requests(&sick) == before).then_some(())
    });
    says(&sick, OK);
    until_they_stand(&gw, &[Standing::Up, Standing::Up]);
    let before = requests(&sick);
    until("its next request", || {
        assert_eq!(gw.client().get("/public/").status, 200);
        (requests(&sick) > before).then_some(())
    });
}

#[test]
fn no_answer_and_a_strange_answer_are_bad_answers() {
    let (sick, well) = (Backend::start(), Backend::start());
    let gw = gateway(&[&sick, &well], checked);
    let breakages: [&dyn Fn(); 4] = [
        &|| sick.cable.pull(),
        &|| sick.recorder.does(|_, _| Then::Close),
        &|| sick.recorder.does(|_, _| Then::KeepOpen),
        &|| says(&sick, "SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    ];
    for (n, breakage) in breakages.into_iter().enumerate() {
        breakage();
        until_they_stand(&gw, &[Standing::Unhealthy, Standing::Up]);
        if n == 0 {
            sick.cable.plug();
        }
        says(&sick, OK);
        until_they_stand(&gw, &[Standing::Up, Standing::Up]);
    }
}

/// Its failures alone would keep it away until the clock had moved on.
#[test]
fn a_server_that_was_left_alone_comes_back_when_its_checks_say_so() {
    let (bad, good) = (Backend::start(), Backend::start());
    let gw = gateway(&[&bad, &good], |upstream| {
        checked(upstream);
        upstream.health.unhealthy_after = 100;
    });
    bad.recorder.does(|_, _| Then::Close);
    until("the ejection", || {
        assert_eq!(gw.client().get("/public/").status, 200);
        (standings(&gw)[0] == Standing::Ejected).then_some(())
    });
    says(&bad, OK);
    until_they_stand(&gw, &[Standing::Up; 2]);
    let before = requests(&bad);
    until("its next request", || {
        assert_eq!(gw.client().get("/public/").status, 200);
        (requests(&bad) > before).then_some(())
    });
}

#[test]
fn where_nobody_is_well_everybody_is_asked() {
    let (one, other) = (Backend::start(), Backend::start());
    let gw = gateway(&[&one, &other], checked);
    for backend in [&one, &other] {
        says(backend, SICK);
    }
    until_they_stand(&gw, &[Standing::Unhealthy; 2]);
    until("both to get requests", || {
        assert_eq!(gw.client().get("/public/").status, 200);
        (requests(&one) > 0 && requests(&other) > 0).then_some(())
    });
}

#[test]
fn a_check_says_who_asks_and_of_whom() {
    let only = Backend::start();
    let _gw = gateway(&[&only], checked);
    let seen = only.recorder.wait_for(1).remove(0);
    let addr = only.cable.addr().to_string();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/health?deep=1"));
    assert_eq!((seen.header("host"), seen.header("user-agent")), (Some(addr.as_str()), Some("wxgate-health")));
    assert_eq!(seen.header("connection"), Some("close"));
}

#[test]
fn a_server_behind_tls_or_at_a_socket_is_asked_there() {
    let (ca, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (secret, near) = (Backend::start(), Backend::start());
    let port = through_tls(secret.recorder.addr(), ca.acceptor(&["localhost"], &["http/1.1"], None)).port();
    let path = folder.path().join("app.sock");
    through_a_socket(near.recorder.addr(), &path);
    let gw = gateway(&[], |upstream| {
        checked(upstream);
        upstream.tls.ca = Some(ca.pem());
        let https = ServerAddress::Https(Endpoint { host: "localhost".to_owned(), port });
        upstream.servers = vec![https.into(), ServerAddress::Unix(path).into()];
    });
    for (backend, host) in [(&secret, format!("localhost:{port}")), (&near, "localhost".to_owned())] {
        let seen = backend.recorder.wait_for(1).remove(0);
        assert!(is_check(&seen), "{}", seen.head);
        assert_eq!((seen.header("host"), seen.header("user-agent")), (Some(&*host), Some("wxgate-health")));
    }
    says(&secret, SICK);
    until_they_stand(&gw, &[Standing::Unhealthy, Standing::Up]);
    says(&near, SICK);
    until_they_stand(&gw, &[Standing::Unhealthy; 2]);
    says(&secret, OK);
    says(&near, OK);
    until_they_stand(&gw, &[Standing::Up; 2]);
}
