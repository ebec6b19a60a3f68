//! Tunnels to backends of every kind: behind TLS, and at a socket of the file system.

use std::net::SocketAddr;

use wxgate::config::{
    Config,
    sections::{Endpoint, ServerAddress},
};

use super::{opening, says_hi, start_with};
use crate::support::{
    TestGateway,
    tls::Authority,
    until,
    ways::{through_a_socket, through_tls},
};

/// Where the backend of the harness is.
fn backend(config: &Config) -> SocketAddr {
    config.upstreams[0].servers[0].address.endpoint().unwrap().to_string().parse().unwrap()
}

/// Bytes go both ways through a WebSocket, few and many, and its end is told to the backend.
fn works(gw: &TestGateway) {
    let mut client = gw.client();
    assert_eq!(client.send(opening("/open/", "")).interim().status, 101);
    (0..3).for_each(|_| says_hi(&mut client));
    let long: Vec<u8> = (0..200_000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    for piece in long.chunks(10_000) {
        assert_eq!(client.send(piece).some(piece.len()), piece);
    }
    assert_eq!(client.finish().rest(), b"");
    until("the backend's side to close", || (gw.upstream.open() == 0).then_some(()));
}

#[test]
fn a_websocket_leads_to_a_backend_behind_tls() {
    let ca = Authority::new();
    let gw = start_with(|config| {
        let port = through_tls(backend(config), ca.acceptor(&["localhost"], &["http/1.1"], None)).port();
        let upstream = &mut config.upstreams[0];
        upstream.servers = vec![ServerAddress::Https(Endpoint { host: "localhost".to_owned(), port }).into()];
        upstream.tls.ca = Some(ca.pem());
    });
    works(&gw);
}

#[test]
fn a_websocket_leads_to_a_backend_at_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let gw = start_with(|config| {
        through_a_socket(backend(config), &path);
        config.upstreams[0].servers = vec![ServerAddress::Unix(path.clone()).into()];
    });
    works(&gw);
}
