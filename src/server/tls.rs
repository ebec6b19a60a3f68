//! TLS towards clients: how a listener speaks it, and what a handshake can come to.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustls::{
    HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection,
    crypto::aws_lc_rs::{Ticketer, default_provider},
    pki_types::{CertificateDer, pem::PemObject},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use crate::{
    config::sections::{self, TlsVersion},
    model::{Certificate, CertificateShelf, Certificates, Secured},
};

/// What TLS may hold of an answer that the client has not taken. A record is as long as this; without a limit it would be
/// four of them for each slow client.
const HELD_BACK: usize = 16 * 1024;

/// The protocols that may be spoken behind a handshake, the best first.
const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

/// How listeners speak TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    shelf: Arc<CertificateShelf>,
    handshake_timeout: Duration,
    max_handshakes: usize,
}

/// What a handshake came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// A connection.
    Full,
    /// A connection that goes on with the session of an earlier one.
    Resumed,
    /// Nothing was sent before the client hung up or the time was over.
    Silent,
    /// Not whole in time.
    TimedOut,
    /// The client speaks HTTP without TLS.
    PlainHttp,
    /// What the client speaks is no TLS, or bad TLS.
    Garbage,
    /// The client wants a version, a cipher or a protocol that is not spoken here, or has no certificate where one is asked
    /// for.
    Incompatible,
    /// No certificate is for the name that the client asks for, and strictness leaves it without.
    UnknownName,
    /// The client does not want to go on: most often it does not trust the certificate.
    Refused,
    /// The client hung up in the middle.
    Broken,
    /// Something of ours.
    Failed,
}

impl Handshake {
    /// All there are.
    pub const ALL: [Self; 11] = [
        Self::Full,
        Self::Resumed,
        Self::Silent,
        Self::TimedOut,
        Self::PlainHttp,
        Self::Garbage,
        Self::Incompatible,
        Self::UnknownName,
        Self::Refused,
        Self::Broken,
        Self::Failed,
    ];

    /// The word for it in logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::Silent => "silent",
            Self::TimedOut => "timeout",
            Self::PlainHttp => "plain_http",
            Self::Garbage => "garbage",
            Self::Incompatible => "incompatible",
            Self::UnknownName => "unknown_name",
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::Failed => "failed",
        }
    }
}

impl Tls {
    /// TLS as the section asks for it, with the certificates of this shelf.
    pub fn new(section: &sections::Tls, http2: bool, shelf: Arc<CertificateShelf>) -> Result<Self, rustls::Error> {
        Self::with(section, http2, shelf, None)
    }

    /// The same for those alone who show a certificate that comes from one of these, which are PEM. They show it each time:
    /// there are no tickets.
    pub fn asking(
        section: &sections::Tls,
        http2: bool,
        shelf: Arc<CertificateShelf>,
        ca: &str,
    ) -> Result<Self, rustls::Error> {
        Self::with(section, http2, shelf, Some(ca))
    }

    fn with(
        section: &sections::Tls,
        http2: bool,
        shelf: Arc<CertificateShelf>,
        ca: Option<&str>,
    ) -> Result<Self, rustls::Error> {
        let versions: &[_] = match section.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(versions)?;
        let builder = match ca {
            Some(ca) => builder.with_client_cert_verifier(from_whom(ca)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Offer::of(&shelf)));
        // A memory of sessions would be shared between the workers, or useless. A ticket is the client's to keep. Its key is
        // made here, changes every few hours, and is not kept when the process ends.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // With a ticket, a certificate that was good once would be so for as long as the tickets are.
        let tickets = if ca.is_none() { section.tickets } else { 0 };
        config.send_tls13_tickets = tickets;
        if tickets > 0 {
            config.ticketer = Ticketer::new()?;
        }
        let spoken = PROTOCOLS.iter().filter(|name| http2 || **name != b"h2");
        config.alpn_protocols = spoken.map(|name| name.to_vec()).collect();
        let (handshake_timeout, max_handshakes) = (section.handshake_timeout, section.max_handshakes);
        Ok(Self { config: Arc::new(config), shelf, handshake_timeout, max_handshakes })
    }

    /// For a handshake, from the first byte to the last.
    pub(super) fn handshake_timeout(&self) -> Duration {
        self.handshake_timeout
    }

    /// Hellos that a worker answers before it looks after those who are there already.
    pub(super) fn max_handshakes(&self) -> usize {
        self.max_handshakes
    }

    /// For one handshake: what is offered to this client, and a configuration that offers it. It is a copy, so that what
    /// was shown is known and not guessed a second time, of certificates that may have been swapped meanwhile.
    pub(super) fn offer(&self) -> (Arc<Offer>, Arc<ServerConfig>) {
        let offer = Arc::new(Offer::of(&self.shelf));
        let mut config = ServerConfig::clone(&self.config);
        config.cert_resolver = Arc::<Offer>::clone(&offer);
        (offer, Arc::new(config))
    }
}

/// What there is for one client, and what it is shown of that.
#[derive(Debug)]
pub(super) struct Offer {
    offered: Arc<Certificates>,
    shown: Mutex<Shown>,
}

#[derive(Debug)]
enum Shown {
    /// The client has asked for nothing yet.
    NotYet,
    /// There is nothing for it.
    Nothing,
    This(Arc<Certificate>),
}

impl Offer {
    fn of(shelf: &CertificateShelf) -> Self {
        Self { offered: shelf.current(), shown: Mutex::new(Shown::NotYet) }
    }

    /// Whether the client was left without.
    pub(super) fn is_empty(&self) -> bool {
        matches!(*self.shown(), Shown::Nothing)
    }

    /// The handshake is over, and well.
    pub(super) fn settle(&self, session: &mut ServerConnection) -> Option<(Secured, Handshake)> {
        let Shown::This(shown) = &*self.shown() else { return None };
        session.set_buffer_limit(Some(HELD_BACK));
        let version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "1.2",
        };
        let how = match session.handshake_kind() {
            Some(HandshakeKind::Resumed) => Handshake::Resumed,
            _ => Handshake::Full,
        };
        Some((Secured { version, shown: Arc::clone(shown), offered: Arc::clone(&self.offered) }, how))
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Offer {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = choose(&self.offered, &hello);
        *self.shown() = chosen.map_or(Shown::Nothing, |chosen| Shown::This(Arc::clone(chosen)));
        chosen.map(|certificate| certificate.certified_key())
    }
}

/// Asks for a certificate that comes from one of these.
fn from_whom(ca: &str) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.map_err(|_| rustls::Error::General("client_ca can't be read as PEM".to_owned()))?)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider())).build();
    verifier.map_err(|error| rustls::Error::General(error.to_string()))
}

fn choose<'c>(certificates: &'c Certificates, hello: &ClientHello<'_>) -> Option<&'c Arc<Certificate>> {
    let name = hello.server_name().map(str::to_ascii_lowercase);
    certificates.choose(name.as_deref(), hello.signature_schemes())
}

/// What an error of a handshake says of the client.
pub(super) fn failed(error: &io::Error) -> Handshake {
    let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) else {
        return Handshake::Broken;
    };
    match error {
        rustls::Error::AlertReceived(_) => Handshake::Refused,
        rustls::Error::PeerIncompatible(_)
        | rustls::Error::NoApplicationProtocol
        | rustls::Error::NoCertificatesPresented
        | rustls::Error::InvalidCertificate(_) => Handshake::Incompatible,
        rustls::Error::InvalidMessage(_)
        | rustls::Error::InappropriateMessage { .. }
        | rustls::Error::InappropriateHandshakeMessage { .. }
        | rustls::Error::PeerMisbehaved(_)
        | rustls::Error::PeerSentOversizedRecord
        | rustls::Error::DecryptError => Handshake::Garbage,
        _ => Handshake::Failed,
    }
}
