//! Upstreams that change while requests go to them.

use wxgate::{config::sections::Balance, upstream::Standing};

use super::{Backend, OK, gateway, servers, until_they_stand};
use crate::support::{until, upstream::answer};

#[test]
fn what_is_known_of_a_server_outlives_a_change_beside_it() {
    let (bad, good, new) = (Backend::start(), Backend::start(), Backend::start());
    let mut gw = gateway(&[&bad, &good], |upstream| upstream.balance = Balance::RoundRobin);
    bad.cable.pull();
    until("the ejection", || {
        assert_eq!(gw.client().get("/public/").status, 200);
        (servers(&gw)[0].standing == Standing::Ejected).then_some(())
    });
    bad.cable.plug();
    gw.reload(|config| config.upstreams[0].servers.push(new.server()));
    let known: Vec<_> = servers(&gw).iter().map(|server| (server.standing, server.ejections)).collect();
    assert_eq!(known, [(Standing::Ejected, 1), (Standing::Up, 0), (Standing::Up, 0)]);
    let before = bad.recorder.count();
    until("the new one", || {
        assert_eq!(gw.client().get("/public/").status, 200);
        (new.recorder.count() > 0).then_some(())
    });
    (0..20).for_each(|_| assert_eq!(gw.client().get("/public/").status, 200));
    assert_eq!(bad.recorder.count(), before, "nobody asks it for all that it was told of the change");
}

#[test]
fn a_server_that_is_new_is_asked_how_it_is_and_what_others_said_is_kept() {
    let (one, other) = (Backend::start(), Backend::start());
    for backend in [&one, &other] {
        backend.recorder.does(|seen, out| {
            let sick = seen.target == "/health";
            answer(out, if sick { "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" } else { OK })
        });
    }
    let mut gw = gateway(&[&one], |upstream| {
        upstream.health.path = Some("/health".to_owned());
        upstream.health.interval = std::time::Duration::from_millis(5);
    });
    until_they_stand(&gw, &[Standing::Unhealthy]);
    gw.reload(|config| config.upstreams[0].servers.push(other.server()));
    assert_eq!(servers(&gw)[0].standing, Standing::Unhealthy);
    until_they_stand(&gw, &[Standing::Unhealthy; 2]);
    gw.reload(|config| config.upstreams[0].health.path = None);
    assert!(servers(&gw).iter().all(|server| server.standing == Standing::Up), "nobody would ever say otherwise");
}
