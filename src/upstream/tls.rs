//! TLS towards servers with `https://` or `h2://`: whose certificates count, and who we say we are.

use std::{fmt, io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{Error as PemError, PemObject},
    },
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    config::sections::{ClientCertificate, UpstreamTls},
    web::Tcp,
};

/// What is spoken inside, one or the other.
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// Why TLS can't be set up as `[upstreams.tls]` has it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is no PEM, or its base64 is broken.
    #[error("{file} can't be read as PEM")]
    Pem {
        /// Which key of the section.
        file: &'static str,
        /// What is wrong with it.
        #[source]
        source: PemError,
    },
    /// A certificate of `ca` can't be one to trust.
    #[error("ca has a certificate that can't be trusted")]
    Ca(#[source] rustls::Error),
    /// The system has none to trust.
    #[error("the system trusts no certificate; write ca")]
    NobodyTrusted,
    /// Our own can't be used, or its key is another one's.
    #[error("cert and key can't be used")]
    Client(#[source] rustls::Error),
    /// `server_name` is none.
    #[error("server_name is no name")]
    Name,
    /// The library does not do what it is to do.
    #[error("TLS can't be set up")]
    Library(#[source] rustls::Error),
}

/// Speaks TLS to the servers of one upstream.
pub(super) struct Tls {
    http1: TlsConnector,
    http2: TlsConnector,
    name: Option<ServerName<'static>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Tls {
    pub(super) fn new(section: &UpstreamTls) -> Result<Self, TlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Library)?
            .with_root_certificates(roots(section.ca.as_deref())?);
        let mut config = match &section.client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let (chain, key) = ours(client)?;
                builder.with_client_auth_cert(chain, key).map_err(TlsError::Client)?
            }
        };
        let mut speaking = |protocol: &[u8]| {
            config.alpn_protocols = vec![protocol.to_vec()];
            TlsConnector::from(Arc::new(config.clone()))
        };
        let name = section.server_name.clone().map(ServerName::try_from).transpose().map_err(|_| TlsError::Name)?;
        Ok(Self { http1: speaking(HTTP1), http2: speaking(HTTP2), name })
    }

    /// Shakes hands on a fresh connection. `host` is the name that the server has to prove, unless another was given.
    pub(super) async fn shake_hands(&self, stream: Tcp, host: &str) -> io::Result<TlsStream<Tcp>> {
        self.connect(&self.http1, stream, host).await
    }

    /// The same for HTTP/2, to which the server has to agree: one that says nothing of it speaks something else.
    pub(super) async fn agree_on_http2(&self, stream: Tcp, host: &str) -> io::Result<TlsStream<Tcp>> {
        let stream = self.connect(&self.http2, stream, host).await?;
        if stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "it has not agreed to HTTP/2"));
        }
        Ok(stream)
    }

    async fn connect(&self, connector: &TlsConnector, stream: Tcp, host: &str) -> io::Result<TlsStream<Tcp>> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
        };
        connector.connect(name, stream).await
    }
}

/// Whom to believe: those of `ca` and nobody else, or whom the system believes.
fn roots(ca: Option<&str>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(pem) = ca else {
        // Some that the system has may be of a kind that is not understood; the others count.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() { Err(TlsError::NobodyTrusted) } else { Ok(roots) };
    };
    for certificate in certificates(pem, "ca")? {
        roots.add(certificate).map_err(TlsError::Ca)?;
    }
    Ok(roots)
}

fn ours(client: &ClientCertificate) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let key = PrivateKeyDer::from_pem_slice(client.key.expose().as_bytes());
    Ok((certificates(&client.cert, "cert")?, key.map_err(|source| TlsError::Pem { file: "key", source })?))
}

fn certificates(pem: &str, file: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsError::Pem { file, source: PemError::NoItemsFound }),
        found => found.map_err(|source| TlsError::Pem { file, source }),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::model::Secret;

    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["wxgate".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn with(ca: &str, cert: &str, key: &str) -> Result<Tls, TlsError> {
        let client = ClientCertificate { cert: cert.to_owned(), key: Secret::new(key) };
        Tls::new(&UpstreamTls { ca: Some(ca.to_owned()), client: Some(client), server_name: None })
    }

    #[test]
    fn what_can_not_be_used_is_refused_at_the_start() {
        let ((cert, key), (_, others_key)) = (pair(), pair());
        assert!(with(&cert, &cert, &key).is_ok());
        assert!(matches!(with(&cert, &cert, &others_key), Err(TlsError::Client(_))));
        let broken = cert.replacen("MII", "", 1);
        for (ca, cert, key) in [(&broken, &cert, &key), (&key, &cert, &key), (&cert, &key, &key), (&cert, &cert, &cert)]
        {
            let refused = with(ca, cert, key).expect_err("a refusal");
            assert!(matches!(refused, TlsError::Pem { .. } | TlsError::Ca(_)), "{refused:?}");
        }
    }

    #[test]
    fn nothing_of_the_key_is_printed() {
        let (cert, key) = pair();
        let printed = format!("{:?}", with(&cert, &cert, &key).unwrap());
        assert!(!printed.contains(key.lines().nth(1).unwrap()), "{printed}");
    }
}
