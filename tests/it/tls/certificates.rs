//! Which certificate a client is shown, and which hosts it may ask for then.

use rustls::pki_types::{CertificateDer, pem::PemObject};
use wxgate::config::sections::CertificateFiles;

use crate::support::{
    Client, TestGateway,
    tls::{Authority, speak_tls},
};

/// The certificate that a client was shown.
fn shown(client: &Client) -> CertificateDer<'static> {
    client.tls().peer_certificates().unwrap()[0].clone().into_owned()
}

fn held(files: &CertificateFiles) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&files.cert).unwrap()
}

fn three(ca: &Authority) -> Vec<CertificateFiles> {
    vec![
        ca.files("a", &["a.example"]),
        ca.files("star", &["*.b.example"]),
        ca.files("c", &["c.b.example", "127.0.0.1"]),
    ]
}

#[test]
fn a_client_is_shown_the_certificate_of_the_name_it_asks_for() {
    let ca = Authority::new();
    let files = three(&ca);
    let gw = TestGateway::with(|config| _ = speak_tls(config, files.clone()));
    for (name, expected) in [("a.example", 0), ("x.b.example", 1), ("c.b.example", 2)] {
        let mut client = ca.dialler().dial(gw.addr(), name);
        assert_eq!(shown(&client), held(&files[expected]), "{name}");
        assert_eq!(client.get("/public/").status, 200);
    }
    // Who asks for a name of none gets the first, and is free not to like it.
    assert!(ca.dialler().try_dial(gw.addr(), "d.example").is_err());
    let client = ca.dialler().nameless().dial(gw.addr(), "a.example");
    assert_eq!(shown(&client), held(&files[0]));
}

#[test]
fn where_names_count_nobody_is_shown_the_certificate_of_another() {
    let ca = Authority::new();
    let gw = TestGateway::with(|config| speak_tls(config, three(&ca)).strict_sni = true);
    assert_eq!(ca.dialler().dial(gw.addr(), "x.b.example").get("/public/").status, 200);
    for dialler in [ca.dialler(), ca.dialler().nameless()] {
        let error = dialler.try_dial(gw.addr(), "d.example").map(drop).unwrap_err();
        assert!(error.to_string().contains("AccessDenied"), "{error}");
    }
}

#[test]
fn a_request_for_the_host_of_another_certificate_is_misdirected() {
    let ca = Authority::new();
    let gw = TestGateway::with(|config| _ = speak_tls(config, three(&ca)));
    for (host, status) in [("a.example", 200), ("A.Example.:443", 200), ("d.example", 200), ("192.0.2.1", 200)] {
        let mut client = ca.dialler().dial(gw.addr(), "a.example").calling(host);
        assert_eq!(client.get("/public/").status, status, "{host}");
    }
    for host in ["x.b.example", "c.b.example", "C.B.example:8443", "127.0.0.1"] {
        let mut client = ca.dialler().dial(gw.addr(), "a.example").calling(host);
        let reply = client.get("/public/");
        let sentence = "This connection is not for the host that the request names.";
        gw.says_no(&reply, 421, "misdirected_request", sentence, &[("connection", "close")]);
        assert!(client.is_closed());
    }
    assert_eq!(gw.upstream.seen().len(), 4);
}

#[test]
fn where_names_count_a_connection_is_for_its_own_hosts_only() {
    let ca = Authority::new();
    let gw = TestGateway::with(|config| speak_tls(config, three(&ca)).strict_sni = true);
    for (host, verdict) in
        [("a.example", "200"), ("d.example", "421 misdirected_request"), ("192.0.2.1", "421 misdirected_request")]
    {
        let mut client = ca.dialler().dial(gw.addr(), "a.example").calling(host);
        assert_eq!(client.get("/public/").verdict(), verdict, "{host}");
    }
}
