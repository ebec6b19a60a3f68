//! HTTP/2 over TLS, to which a server has to agree.

use std::time::Duration;

use wxgate::{
    config::sections::{ClientCertificate, Endpoint, ServerAddress, Upstream, UpstreamTls},
    model::Secret,
    upstream::Standing,
};

use super::gateway;
use crate::support::{
    TestGateway,
    http2_backend::{Answer, Backend},
    tls::Authority,
    until,
};

/// A backend that agrees to one of these protocols.
fn backend(ca: &Authority, protocols: &[&str]) -> Backend {
    Backend::over(Some(ca.acceptor(&["localhost"], protocols, None)))
}

fn before(ca: &Authority, backend: &Backend) -> TestGateway {
    before_with(ca, backend, |_| {})
}

fn before_with(ca: &Authority, backend: &Backend, change: impl FnOnce(&mut Upstream)) -> TestGateway {
    let (ca, port) = (ca.pem(), backend.addr().port());
    gateway(&[], |config| {
        let upstream = &mut config.upstreams[0];
        upstream.servers = vec![ServerAddress::Http2(Endpoint { host: "localhost".to_owned(), port }).into()];
        upstream.tls = UpstreamTls { ca: Some(ca), ..UpstreamTls::default() };
        change(upstream);
    })
}

#[test]
fn a_server_that_agrees_is_spoken_to() {
    let ca = Authority::new();
    let backend = backend(&ca, &["http/1.1", "h2"]);
    let gw = before(&ca, &backend);
    for _ in 0..3 {
        assert_eq!(gw.client().post("/public/", "{}").status, 200);
    }
    assert_eq!((backend.connections(), &*backend.last().uri), (1, "https://api.example.com/public/"));
}

/// It would be sent to what may be somebody else's server, or one that takes it for something else.
#[test]
fn a_server_that_does_not_agree_gets_nothing() {
    let ca = Authority::new();
    for (protocols, why) in [(&[][..], "it has not agreed to HTTP/2"), (&["http/1.1"], "NoApplicationProtocol")] {
        let backend = backend(&ca, protocols);
        let gw = before(&ca, &backend);
        assert_eq!(gw.client().get("/public/").code(), "upstream_unreachable");
        assert!(gw.log.line("no connection to h2://localhost").contains(why), "{why}");
        assert_eq!(backend.count(), 0);
    }
}

#[test]
fn a_server_that_can_not_prove_its_name_gets_nothing() {
    let backend = backend(&Authority::new(), &["h2"]);
    let gw = before(&Authority::new(), &backend);
    assert_eq!(gw.client().get("/public/").code(), "upstream_unreachable");
    assert_eq!(backend.count(), 0);
}

#[test]
fn a_server_may_ask_who_we_are() {
    let (ca, ours, others) = (Authority::new(), Authority::new(), Authority::new());
    let client = |by: &Authority| {
        let pair = by.pair(&["wxgate"]);
        ClientCertificate { cert: pair.chain, key: Secret::new(pair.key) }
    };
    for (client, status) in [(Some(client(&ours)), 200), (Some(client(&others)), 502), (None, 502)] {
        let backend = Backend::over(Some(ca.acceptor(&["localhost"], &["h2"], Some(&ours))));
        let gw = before_with(&ca, &backend, |upstream| upstream.tls.client = client);
        let reply = gw.client().post("/public/", "{}");
        assert_eq!((reply.status, backend.count()), (status, usize::from(status == 200)), "{reply:?}");
    }
}

#[test]
fn over_tls_too_a_server_is_asked_whether_it_is_well() {
    let ca = Authority::new();
    let backend = backend(&ca, &["h2"]);
    let gw = before_with(&ca, &backend, |upstream| {
        upstream.health.path = Some("/health".to_owned());
        upstream.health.interval = Duration::from_millis(20);
    });
    backend.wait_for(1);
    assert_eq!(backend.last().uri, format!("https://localhost:{}/health", backend.addr().port()));
    let mut sick = Answer::default();
    *sick.head.status_mut() = 503.try_into().unwrap();
    backend.answers(sick);
    let standing = || gw.app().upstreams().status()[0].servers[0].standing;
    until("the server is not well", || (standing() == Standing::Unhealthy).then_some(()));
}
