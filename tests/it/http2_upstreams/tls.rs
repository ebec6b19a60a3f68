//! HTTP/2 over TLS, to which a server has to agree.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;
use wxgate::config::sections::{Endpoint, ServerAddress, UpstreamTls};

use super::gateway;
use crate::support::{TestGateway, http2_backend::Backend, tls::Authority};

/// A backend that agrees to one of these protocols.
fn backend(ca: &Authority, protocols: &[&str]) -> Backend {
    let pair = ca.pair(&["localhost"]);
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let chain = vec![CertificateDer::from_pem_slice(pair.chain.as_bytes()).unwrap()];
    let mut config =
        builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap()).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Backend::over(Some(TlsAcceptor::from(Arc::new(config))))
}

fn before(ca: &Authority, backend: &Backend) -> TestGateway {
    let (ca, port) = (ca.pem(), backend.addr().port());
    gateway(&[], |config| {
        config.upstreams[0].servers =
            vec![ServerAddress::Http2(Endpoint { host: "localhost".to_owned(), port }).into()];
        config.upstreams[0].tls = UpstreamTls { ca: Some(ca), ..UpstreamTls::default() };
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
