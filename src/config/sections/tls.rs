//! `[server.tls]`: TLS towards clients.

use std::{path::PathBuf, time::Duration};

use crate::model::Certificate;

/// How TLS is spoken with clients.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificates, at least one. The first is for clients that ask for none of the names.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Whether clients that ask for no name of a certificate go without.
    pub strict_sni: bool,
    /// From accept to the end of the handshake.
    pub handshake_timeout: Duration,
    /// Handshakes that a worker begins before it looks after the connections that are there again.
    pub max_handshakes: usize,
    /// Tickets that a client gets to go on with its session; 0 for none.
    pub tickets: usize,
    /// How often the files are looked at; zero for never.
    pub watch: Duration,
}

/// A certificate, and the files it came from.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The chain, the server's own certificate first, as PEM.
    pub cert: PathBuf,
    /// The key, as PEM.
    pub key: PathBuf,
    /// What they held when the configuration was read.
    pub certificate: Certificate,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

impl Tls {
    /// These certificates, with everything else as it is without a word about it.
    pub fn new(certificates: Vec<CertificateFiles>) -> Self {
        Self {
            certificates,
            min_version: TlsVersion::Tls12,
            strict_sni: false,
            handshake_timeout: Duration::from_secs(10),
            max_handshakes: 16,
            tickets: 1,
            watch: Duration::from_secs(5),
        }
    }
}
