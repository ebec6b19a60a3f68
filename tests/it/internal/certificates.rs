//! The certificate that backends are shown: when it ends, and what becomes of its files.

use wxgate::config::sections::TlsVersion;

use crate::support::{
    TestGateway,
    tls::{Authority, speak_tls},
};

use super::{TOKEN, gate::over_tls};

const EXPIRY: &str = "wxgate_tls_certificate_expiry_timestamp_seconds{name=\"backends.example\",place=\"internal\"} ";

fn metrics(gw: &TestGateway) -> String {
    gw.admin().get("/metrics").text()
}

/// When the certificate ends, as operators are told.
fn expiry(gw: &TestGateway) -> String {
    let page = metrics(gw);
    let line = page.lines().find_map(|line| line.strip_prefix(EXPIRY));
    line.unwrap_or_else(|| panic!("no end in {page}")).to_owned()
}

#[test]
fn what_becomes_of_the_certificate_for_backends_is_told_and_a_hang_up_reads_it_again() {
    let server = Authority::new();
    let gw = over_tls(&server, None, Some(TOKEN));
    let before = expiry(&gw);
    let files = server.write("internal", &server.pair_until(&["backends.example"], 2090));
    gw.app().certificates().reread();
    assert_ne!(expiry(&gw), before);
    std::fs::write(&files.cert, "no certificate").unwrap();
    gw.app().certificates().reread();
    assert!(metrics(&gw).contains("wxgate_tls_certificate_reloads_total{outcome=\"swapped\"} 1\n"));
    assert!(metrics(&gw).contains("wxgate_tls_certificate_reloads_total{outcome=\"failed\"} 1\n"));
}

#[test]
fn backends_speak_no_older_tls_than_clients_do() {
    let (server, public) = (Authority::new(), Authority::new());
    let gw = TestGateway::with(|config| {
        speak_tls(config, vec![public.files("api", &["api.example.com"])]).min_version = TlsVersion::Tls13;
        config.internal = Some(super::gate::section_over_tls(&server, None, Some(TOKEN)));
    });
    assert!(server.dialler_of(&rustls::version::TLS12).try_dial(gw.internal_addr(), "backends.example").is_err());
    assert!(server.dialler_of(&rustls::version::TLS13).try_dial(gw.internal_addr(), "backends.example").is_ok());
}
