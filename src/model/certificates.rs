//! The certificates that a server has, which of them a client is shown, and which hosts a connection is good for.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::SignatureScheme;

use super::Certificate;

/// Some certificates. The first is for clients that ask for no name, or for one that none is for, unless strictness
/// leaves these without.
#[derive(Clone, Debug)]
pub struct Certificates {
    all: Vec<Arc<Certificate>>,
    strict: bool,
}

/// The certificates of the moment: read at each handshake, and swapped whole.
#[derive(Debug)]
pub struct CertificateShelf(RwLock<Arc<Certificates>>);

/// What is known of a connection whose client has been shown a certificate.
#[derive(Clone, Debug)]
pub struct Secured {
    /// The version of TLS: `1.2` or `1.3`.
    pub version: &'static str,
    /// The certificate that the client was shown, now or when the session that it resumes began.
    pub shown: Arc<Certificate>,
    /// It and the others there were.
    pub offered: Arc<Certificates>,
}

impl Certificates {
    /// These certificates. Where `strict` is set, a client has to ask for a name that one is for.
    pub fn new(all: Vec<Arc<Certificate>>, strict: bool) -> Self {
        Self { all, strict }
    }

    /// Each of them, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.all.iter()
    }

    /// The one for a client that asks for this name and knows these signatures. A certificate with the very name goes
    /// before one with a `*`. Of several for the same name, say one with an RSA and one with an ECDSA key, it is the
    /// first that the client can take.
    pub fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<Certificate>> {
        let fits = |wanted: &dyn Fn(&Certificate) -> bool| {
            let mut fitting = self.all.iter().filter(|certificate| wanted(certificate)).peekable();
            let first = fitting.peek().copied();
            fitting.find(|certificate| certificate.suits(schemes)).or(first)
        };
        let named = name.and_then(|name| fits(&|c| c.has(name)).or_else(|| fits(&|c| c.covers(name))));
        if self.strict { named } else { named.or_else(|| fits(&|_| true)) }
    }

    /// Whether one of them is for this host.
    pub fn cover(&self, host: &str) -> bool {
        self.all.iter().any(|certificate| certificate.covers(host))
    }
}

impl CertificateShelf {
    /// A shelf with these on it.
    pub fn new(certificates: Certificates) -> Self {
        Self(RwLock::new(Arc::new(certificates)))
    }

    /// What is on it now.
    pub fn current(&self) -> Arc<Certificates> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a new certificate in the place of the one there. Whoever has been shown the old one keeps it.
    pub fn replace(&self, place: usize, certificate: Certificate) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut certificates = Certificates::clone(&current);
        if let Some(old) = certificates.all.get_mut(place) {
            *old = Arc::new(certificate);
        }
        *current = Arc::new(certificates);
    }

    /// Puts these certificates in the place of all that are there, which were as strict.
    pub fn restock(&self, all: Vec<Arc<Certificate>>) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(Certificates { all, strict: current.strict });
    }
}

impl Secured {
    /// Whether a request for this host may come on this connection. It may not where another certificate would have been
    /// shown to a client that asks for it: that client believes to speak to somebody else. A host that none is for, an
    /// address say, may come where a client that names no host may.
    pub fn is_for(&self, host: &str) -> bool {
        self.shown.covers(host) || (!self.offered.strict && !self.offered.cover(host))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};

    use super::*;
    use crate::model::Secret;

    fn certificate(names: &[&str], algorithm: &'static SignatureAlgorithm) -> Arc<Certificate> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        let chain = params.self_signed(&key).unwrap().pem();
        Arc::new(Certificate::parse(&chain, &Secret::new(key.serialize_pem())).unwrap())
    }

    fn some(strict: bool) -> Certificates {
        let names: [&[&str]; 4] = [&["first.example"], &["*.example"], &["b.example"], &["b.example", "c.other"]];
        let algorithms = [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P256_SHA256, &PKCS_ED25519, &PKCS_ECDSA_P256_SHA256];
        Certificates::new(names.iter().zip(algorithms).map(|(names, a)| certificate(names, a)).collect(), strict)
    }

    const ANY: &[SignatureScheme] = &[SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256];
    const NO_ED25519: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];

    #[test]
    fn a_client_is_shown_the_certificate_of_the_name_it_asks_for() {
        let place = |certificates: &Certificates, name, schemes| {
            let chosen = certificates.choose(name, schemes)?;
            certificates.iter().position(|certificate| Arc::ptr_eq(certificate, chosen))
        };
        let certificates = some(false);
        for (name, schemes, expected) in [
            (Some("first.example"), ANY, 0),
            (Some("a.example"), ANY, 1),
            (Some("b.example"), ANY, 2),
            (Some("b.example"), NO_ED25519, 3),
            (Some("c.other"), ANY, 3),
            (Some("a.b.example"), ANY, 0),
            (Some("unheard.of"), ANY, 0),
            (None, ANY, 0),
        ] {
            assert_eq!(place(&certificates, name, schemes), Some(expected), "{name:?}");
        }
        let strict = some(true);
        assert_eq!(place(&strict, Some("a.example"), ANY), Some(1));
        assert_eq!((place(&strict, Some("unheard.of"), ANY), place(&strict, None, ANY)), (None, None));
    }

    #[test]
    fn a_connection_is_good_for_the_hosts_of_its_certificate_and_for_those_of_none() {
        let secured = |strict| {
            let offered = Arc::new(some(strict));
            let shown = Arc::clone(offered.choose(Some("b.example"), ANY).unwrap());
            Secured { version: "1.3", shown, offered }
        };
        for (host, lenient, strict) in [
            ("b.example", true, true),
            ("a.example", false, false),
            ("c.other", false, false),
            ("unheard.of", true, false),
            ("192.0.2.1", true, false),
            ("", true, false),
        ] {
            assert_eq!((secured(false).is_for(host), secured(true).is_for(host)), (lenient, strict), "{host}");
        }
    }

    #[test]
    fn a_swap_leaves_those_who_have_the_old_one_alone() {
        let shelf = CertificateShelf::new(some(false));
        let before = shelf.current();
        let new = certificate(&["new.other"], &PKCS_ED25519);
        shelf.replace(1, Certificate::clone(&new));
        assert!(before.cover("a.example") && !before.cover("new.other"));
        assert!(!shelf.current().cover("a.example") && shelf.current().cover("new.other"));
        shelf.replace(9, Certificate::clone(&new));
        assert_eq!(shelf.current().iter().count(), 4);
    }
}
