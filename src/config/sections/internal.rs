//! `[internal]`: the listener for backends, apart from the public one and from the operators'.

use std::time::Duration;

use super::{CertificateFiles, ListenAt};
use crate::model::Secret;

/// The listener for backends.
#[derive(Clone, Debug)]
pub struct Internal {
    /// Where it listens: on this machine, or over TLS.
    pub listen: ListenAt,
    /// Who may connect where that is a Unix socket, as for chmod.
    pub socket_mode: u32,
    /// Names under which it is asked for beside `localhost` and its own address, in lower case and without a port.
    pub hosts: Vec<String>,
    /// Asked for with every request. Left out only where certificates say who asks.
    pub token: Option<Secret>,
    /// How long ago the data may have been encrypted that a backend wants to be decrypted.
    pub data_max_age: Duration,
    /// How TLS is spoken, where it is.
    pub tls: Option<InternalTls>,
}

/// `[internal.tls]`: TLS towards backends.
#[derive(Clone, Debug)]
pub struct InternalTls {
    /// What backends are shown.
    pub files: CertificateFiles,
    /// The certificates that a backend's own has to come from, as PEM. Without it backends need none.
    pub client_ca: Option<String>,
}

impl Internal {
    /// At this place, with everything else as it is without a word about it.
    pub fn new(listen: ListenAt) -> Self {
        Self {
            listen,
            socket_mode: 0o660,
            hosts: Vec::new(),
            token: None,
            data_max_age: Duration::from_hours(1),
            tls: None,
        }
    }

    /// Whether backends have to show a certificate.
    pub fn asks_for_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
    }
}
