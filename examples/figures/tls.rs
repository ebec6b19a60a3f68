//! A certificate for what is measured over TLS, and what a client needs to believe it.

use std::{fs, io, net::SocketAddr, path::Path, process::Command, sync::Arc};

use rustls::{ClientConfig, RootCertStore, client::Resumption, crypto::aws_lc_rs::default_provider};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::proxies;

pub(super) const NAME: &str = "api.example.com";

pub(super) const CERT: &str = "cert.pem";
pub(super) const KEY: &str = "key.pem";

/// What signs in a handshake.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key {
    /// Dear for the server and cheap for the client.
    Rsa4096,
    P256,
}

impl Key {
    fn args(self) -> &'static [&'static str] {
        match self {
            Self::Rsa4096 => &["-newkey", "rsa:4096"],
            Self::P256 => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        }
    }
}

/// Writes a certificate into the folder. Whoever believes it makes a whole handshake each time.
pub(super) fn certificate(folder: &Path, key: Key) -> io::Result<Arc<ClientConfig>> {
    let cert = folder.join(CERT);
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=figures"]).args(key.args());
    command.args(["-addext", &format!("subjectAltName=DNS:{NAME}"), "-addext", "basicConstraints=critical,CA:FALSE"]);
    proxies::output(command.arg("-out").arg(&cert).arg("-keyout").arg(folder.join(KEY)))?;
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from_pem_slice(&fs::read(cert)?).map_err(io::Error::other)?;
    roots.add(der).map_err(io::Error::other)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let mut trust = builder.with_root_certificates(roots).with_no_client_auth();
    trust.resumption = Resumption::disabled();
    Ok(Arc::new(trust))
}

/// wxgate's configuration, with TLS on its listener, and with one more in the clear where somebody logs in.
pub(super) fn served(config: &str, in_the_clear: Option<SocketAddr>) -> String {
    let tls = format!("[server.tls]\ncert = \"{CERT}\"\nkey = \"{KEY}\"\n\n[admin]");
    let more = in_the_clear.map(|addr| format!("\n[[server.listeners]]\nlisten = \"{addr}\"\n"));
    config.replacen("[admin]", &tls, 1) + &more.unwrap_or_default()
}

/// The same in a server of nginx.
pub(super) fn served_by_nginx(folder: &Path) -> String {
    let at = folder.display();
    format!("ssl_certificate {at}/{CERT}; ssl_certificate_key {at}/{KEY};")
}
