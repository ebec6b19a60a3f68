//! Who gets in: with which token, by which certificate, under which name.

use std::{
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::Duration,
};

use rustls::{
    HandshakeKind,
    version::{TLS12, TLS13},
};
use serde_json::Value;
use wxgate::{
    app::World,
    config::{
        Difference,
        sections::{Internal, InternalTls, ListenAt},
    },
    model::Secret,
    server::{
        Place,
        systemd::{Passed, PassedSockets},
    },
};

use super::{BEARER, TOKEN, asks, listening, profile_of, start};
use crate::support::{Client, TestGateway, tls::Authority};

#[test]
fn without_its_token_a_backend_hears_nothing() {
    let gw = start();
    let missing = gw.internal().get(&profile_of("oAlice"));
    assert_eq!((missing.status, missing.code().as_str()), (401, "internal_token_missing"));
    let session = format!("Bearer {}", gw.login("oAlice").token);
    for value in ["", "Bearer ", "Bearer the-backends-toke", "Basic the-backends-token", TOKEN, &session] {
        for (method, path) in
            [("GET", profile_of("oAlice")), ("POST", "/internal/v1/decrypt".into()), ("GET", "/x".into())]
        {
            let reply = gw.internal().request(method, &path, &[("Authorization", value)], "");
            assert_eq!((reply.status, reply.code().as_str()), (401, "internal_token_invalid"), "{value}");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        }
    }
    assert_eq!(
        gw.internal().request("GET", &profile_of("oAlice"), &[BEARER, BEARER], "").code(),
        "internal_token_invalid"
    );
}

#[test]
fn a_section_without_any_proof_lets_nobody_in() {
    let gw = TestGateway::with(|config| {
        listening(config);
        config.internal.as_mut().unwrap().token = None;
    });
    for headers in [&[][..], &[("Authorization", "Bearer ")], &[BEARER]] {
        assert_eq!(gw.internal().request("GET", &profile_of("oAlice"), headers, "").status, 401);
    }
}

#[test]
fn a_foreign_name_and_a_foreign_page_get_nothing() {
    let gw = start();
    for host in ["evil.example", "localhost.evil.example", "10.0.0.1"] {
        let reply = gw.internal().calling(host).request("GET", &profile_of("oAlice"), &[BEARER], "");
        assert_eq!((reply.status, reply.code().as_str()), (403, "host_not_allowed"), "{host}");
    }
    let page = ("Origin", "http://evil.example");
    let reply = gw.internal().request("GET", &profile_of("oAlice"), &[BEARER, page], "");
    assert_eq!((reply.status, reply.code().as_str()), (403, "origin_not_allowed"));
}

#[test]
fn another_token_counts_from_a_reload_on() {
    let mut gw = start();
    gw.reload(|config| config.internal.as_mut().unwrap().token = Some(Secret::new("the-next-token-of-all")));
    let next = ("Authorization", "Bearer the-next-token-of-all");
    crate::support::until("the next token", || {
        (gw.internal().request("GET", &profile_of("oAlice"), &[next], "").status == 200).then_some(())
    });
    assert_eq!(asks(&gw, "GET", &profile_of("oAlice"), &Value::Null).code(), "internal_token_invalid");
}

#[test]
fn a_unix_socket_is_asked_with_the_token_too() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("backends.sock");
    let gw = TestGateway::with(|config| {
        let at = ListenAt::Unix(path.clone());
        config.internal = Some(Internal { token: Some(Secret::new(TOKEN)), ..Internal::new(at) });
    });
    assert_eq!(gw.app().internal_place(), Some(&Place::Unix(path.clone())));
    let ask = |headers: &[(&str, &str)]| {
        Client::connect_unix(&path).calling("localhost").request("GET", &profile_of("oAlice"), headers, "").status
    };
    assert_eq!((ask(&[BEARER]), ask(&[])), (200, 401));
    gw.stop();
    assert!(!path.exists());
}

/// Backends come over TLS, asked for a certificate of `of`, and for the token where there is to be one.
pub(super) fn section_over_tls(server: &Authority, of: Option<&Authority>, token: Option<&str>) -> Internal {
    let files = server.files("internal", &["backends.example"]);
    let tls = Some(InternalTls { files, client_ca: of.map(Authority::pem) });
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let hosts = vec!["backends.example".to_owned()];
    Internal { tls, hosts, token: token.map(Secret::new), ..Internal::new(free.into()) }
}

/// A gateway with such a section.
pub fn over_tls(server: &Authority, of: Option<&Authority>, token: Option<&str>) -> TestGateway {
    TestGateway::with(|config| config.internal = Some(section_over_tls(server, of, token)))
}

#[test]
fn where_certificates_are_asked_for_nobody_comes_in_without_one() {
    let (server, backends, others) = (Authority::new(), Authority::new(), Authority::new());
    let gw = over_tls(&server, Some(&backends), None);
    let ask = |mut client: Client| client.request("GET", &profile_of("oAlice"), &[], "").status;
    let shown = server.dialler().showing(&backends.pair(&["orders"]));
    assert_eq!(ask(shown.dial(gw.internal_addr(), "backends.example")), 200);
    for stranger in [server.dialler(), server.dialler().showing(&others.pair(&["orders"]))] {
        // With TLS 1.3 a client learns of it only when it reads.
        let heard = stranger.try_dial(gw.internal_addr(), "backends.example").map(|mut client| {
            client.send(format!("GET {} HTTP/1.1\r\nHost: backends.example\r\n\r\n", profile_of("oAlice")));
            client.try_reply("GET").map(|reply| reply.status)
        });
        assert!(heard.and_then(|reply| reply).is_err());
    }
    let mut plain = Client::connect(gw.internal_addr()).calling("backends.example");
    assert_eq!(plain.get(&profile_of("oAlice")).status, 400, "nothing is told in the clear");
}

#[test]
fn with_a_certificate_and_a_token_both_are_asked_for() {
    let (server, backends) = (Authority::new(), Authority::new());
    let gw = over_tls(&server, Some(&backends), Some(TOKEN));
    let shown = server.dialler().showing(&backends.pair(&["orders"]));
    let ask = |headers: &[(&str, &str)]| {
        shown.dial(gw.internal_addr(), "backends.example").request("GET", &profile_of("oAlice"), headers, "").status
    };
    assert_eq!((ask(&[BEARER]), ask(&[])), (200, 401));
}

#[test]
fn over_tls_a_token_is_enough() {
    let server = Authority::new();
    let gw = over_tls(&server, None, Some(TOKEN));
    let mut client = server.dialler().dial(gw.internal_addr(), "backends.example");
    assert_eq!(client.request("GET", &profile_of("oAlice"), &[BEARER], "").status, 200);
    assert_eq!(client.request("GET", &profile_of("oAlice"), &[], "").status, 401);
}

#[test]
fn a_backend_with_a_certificate_shows_it_at_each_connection() {
    let (server, backends) = (Authority::new(), Authority::new());
    let gw = over_tls(&server, Some(&backends), None);
    for version in [&TLS12, &TLS13] {
        let shown = server.dialler_of(version).showing(&backends.pair(&["orders"]));
        for _ in 0..2 {
            let mut client = shown.dial(gw.internal_addr(), "backends.example");
            assert_eq!(client.tls().handshake_kind(), Some(HandshakeKind::Full), "{version:?}");
            assert_eq!(client.get(&profile_of("oAlice")).status, 200);
        }
    }
}

#[test]
fn a_reload_that_would_leave_no_proof_waits_for_a_restart() {
    let (server, backends) = (Authority::new(), Authority::new());
    let mut gw = over_tls(&server, None, Some(TOKEN));
    let change = gw.reload(|config| {
        let section = config.internal.as_mut().unwrap();
        section.token = None;
        section.tls.as_mut().unwrap().client_ca = Some(backends.pem());
        section.data_max_age = Duration::from_secs(1);
    });
    let keys = |all: &[Difference]| all.iter().map(|one| one.key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&change.waiting), ["internal.tls", "internal.token"]);
    assert_eq!(keys(&change.applied), ["internal.data_max_age"]);
    assert!(change.config.internal.unwrap().token.is_some());
}

#[test]
fn sockets_of_one_name_that_nobody_would_listen_at_are_no_start() {
    for (place, section) in [("backends", true), ("admin", false)] {
        let socket = || {
            let socket = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            (place.to_owned(), Passed::Tcp(socket))
        };
        let world = World { sockets: PassedSockets::of([socket(), socket()]), ..World::default() };
        let started = TestGateway::try_in(world, |config| {
            if section {
                let files = Authority::new().files("internal", &["backends.example"]);
                let at = ListenAt::Systemd(place.to_owned());
                let tls = Some(InternalTls { files, client_ca: None });
                config.internal = Some(Internal { tls, token: Some(Secret::new(TOKEN)), ..Internal::new(at) });
            }
        });
        let error = started.err().expect("nobody would listen at the second");
        let source = std::error::Error::source(&error).expect("a cause").to_string();
        assert_eq!(source, "2 sockets have been passed under this name, and this listener takes one", "{place}");
    }
}

/// The mode of a socket's file.
fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_socket_of_backends_has_a_mode_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (public, path) = (folder.path().join("public.sock"), folder.path().join("backends.sock"));
    let _gw = TestGateway::with(|config| {
        config.server.listen.push(ListenAt::Unix(public.clone()));
        config.server.socket_mode = 0o666;
        config.internal =
            Some(Internal { token: Some(Secret::new(TOKEN)), ..Internal::new(ListenAt::Unix(path.clone())) });
    });
    assert_eq!((mode(&public), mode(&path)), (0o666, 0o660));
}
