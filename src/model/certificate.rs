//! A TLS certificate and the key that belongs to it: which hosts it is for, and until when.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use rustls::{
    Error as TlsError, InconsistentKeys, SignatureScheme,
    crypto::aws_lc_rs::default_provider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{FromDer, ParsedExtension},
};

use super::{Secret, Timestamp};

/// A chain of certificates, the server's own first, with its key. `Debug` shows nothing of the key.
#[derive(Clone)]
pub struct Certificate {
    names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
    key: Arc<CertifiedKey>,
}

/// Why a chain and a key make no certificate. Nothing of either is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCertificate {
    /// The chain is no PEM, or has none of its blocks.
    #[error("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// The first of the chain can't be read as X.509.
    #[error("begins with a certificate that can't be read")]
    Unreadable,
    /// No client of these days looks at a certificate's common name.
    #[error("begins with a certificate that names no host in its subjectAltName")]
    NoNames,
    /// The key is no PEM, or has none of its blocks.
    #[error("holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)")]
    NoKey,
    /// There is nobody to ask for the passphrase.
    #[error("holds a private key under a passphrase; keep it without one, readable by its owner only")]
    EncryptedKey,
    /// Some other kind of key than RSA, ECDSA on P-256, P-384 or P-521, or Ed25519.
    #[error("holds a private key of a kind that TLS has no use for")]
    UnknownKey,
    /// Each is fine, and they don't belong together.
    #[error("holds a private key that does not belong to the first certificate of the chain")]
    Mismatch,
}

impl InvalidCertificate {
    /// Whether it is the file of the key that has to be mended; otherwise the chain's.
    pub fn is_of_the_key(self) -> bool {
        match self {
            Self::NoCertificate | Self::Unreadable | Self::NoNames => false,
            Self::NoKey | Self::EncryptedKey | Self::UnknownKey | Self::Mismatch => true,
        }
    }
}

impl Certificate {
    /// Reads a chain and a key, both PEM.
    pub fn parse(chain: &str, key: &Secret) -> Result<Self, InvalidCertificate> {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(InvalidCertificate::NoCertificate)?;
        let (_, own) =
            chain.first().and_then(|own| X509Certificate::from_der(own).ok()).ok_or(InvalidCertificate::Unreadable)?;
        let names = names(&own);
        if names.is_empty() {
            return Err(InvalidCertificate::NoNames);
        }
        let validity = own.validity();
        let (not_before, not_after) = (moment(validity.not_before.timestamp()), moment(validity.not_after.timestamp()));
        let key =
            CertifiedKey::from_der(chain, private_key(key)?, &default_provider()).map_err(|error| match error {
                TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => InvalidCertificate::Mismatch,
                TlsError::InvalidCertificate(_) => InvalidCertificate::Unreadable,
                _ => InvalidCertificate::UnknownKey,
            })?;
        Ok(Self { names, not_before, not_after, key: Arc::new(key) })
    }

    /// What it is called where one word has to do: the first of its hosts.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// The hosts it is for, in lower case: names, names with a `*` for their first label, addresses.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When it begins to be valid.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// When it ceases to be.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether it is valid at this moment, as far as its own dates go.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// Whether it has this very name.
    pub fn has(&self, host: &str) -> bool {
        self.names.iter().any(|name| name == host)
    }

    /// Whether it is for this host, as `Host` is compared: in lower case, without port and final dot.
    pub fn covers(&self, host: &str) -> bool {
        self.has(host) || self.names.iter().any(|name| is_within(host, name))
    }

    /// Whether a client that knows these signatures can take it.
    pub fn suits(&self, schemes: &[SignatureScheme]) -> bool {
        self.key.key.choose_scheme(schemes).is_some()
    }

    /// Whether it is the very same chain.
    pub fn is_same(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }

    /// For a handshake.
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// RFC 6125, 6.4.3: a `*` stands for one label, and no more.
fn is_within(host: &str, wildcard: &str) -> bool {
    let Some(domain) = wildcard.strip_prefix("*.") else { return false };
    host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == domain)
}

fn private_key(pem: &Secret) -> Result<PrivateKeyDer<'static>, InvalidCertificate> {
    let text = pem.expose();
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        // PKCS#8 says it in the label, the older forms in a header.
        pem::Error::NoItemsFound if text.contains("BEGIN ENCRYPTED PRIVATE KEY") => InvalidCertificate::EncryptedKey,
        _ if text.contains("Proc-Type: 4,ENCRYPTED") => InvalidCertificate::EncryptedKey,
        _ => InvalidCertificate::NoKey,
    })
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternatives = certificate.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    alternatives
        .flatten()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        })
        .collect()
}

/// An address as a `Host` has it.
fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::from(Ipv4Addr::from(bytes)));
    let v6 = <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::from(Ipv6Addr::from(bytes)));
    match v4.or(v6).ok()? {
        IpAddr::V4(ip) => Some(ip.to_string()),
        IpAddr::V6(ip) => Some(format!("[{ip}]")),
    }
}

fn moment(seconds: i64) -> Timestamp {
    // Before 1970 is long enough ago to be 1970.
    Timestamp::from_millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, date_time_ymd};

    use super::*;

    fn pair(names: &[&str]) -> (String, String) {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 12, 31);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn parse(chain: &str, key: &str) -> Result<Certificate, InvalidCertificate> {
        Certificate::parse(chain, &Secret::new(key))
    }

    #[test]
    fn a_certificate_says_what_it_is_for_and_until_when() {
        let (chain, key) = pair(&["API.Example.com", "*.example.org", "192.0.2.7", "2001:db8::7"]);
        let certificate = parse(&chain, &key).unwrap();
        assert_eq!(certificate.names(), ["api.example.com", "*.example.org", "192.0.2.7", "[2001:db8::7]"]);
        assert_eq!(certificate.name(), "api.example.com");
        assert_eq!(certificate.not_after().as_secs(), 1_798_675_200);
        let at = |seconds: u64| certificate.is_valid_at(Timestamp::from_millis(seconds * 1000));
        assert!(at(1_790_000_000) && !at(1_767_225_599) && !at(1_798_675_200));
    }

    #[test]
    fn a_star_stands_for_one_label() {
        let (chain, key) = pair(&["example.com", "*.example.com"]);
        let certificate = parse(&chain, &key).unwrap();
        for host in ["example.com", "a.example.com", "xn--a.example.com"] {
            assert!(certificate.covers(host), "{host}");
        }
        for host in ["", "com", ".example.com", "a.b.example.com", "aexample.com", "a.example.com.evil", "example.org"]
        {
            assert!(!certificate.covers(host), "{host}");
        }
    }

    #[test]
    fn what_makes_no_certificate_is_refused_and_says_which_file_to_mend() {
        let ((chain, key), (other_chain, other_key)) = (pair(&["a.example"]), pair(&["b.example"]));
        let nameless = {
            let key = KeyPair::generate().unwrap();
            CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap().pem()
        };
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let old_locked = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        let odd_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let cases = [
            ("", key.as_str(), InvalidCertificate::NoCertificate),
            (&key, &key, InvalidCertificate::NoCertificate),
            (broken, &key, InvalidCertificate::Unreadable),
            (&nameless, &key, InvalidCertificate::NoNames),
            (&chain, "", InvalidCertificate::NoKey),
            (&chain, &chain, InvalidCertificate::NoKey),
            (&chain, locked, InvalidCertificate::EncryptedKey),
            (&chain, old_locked, InvalidCertificate::EncryptedKey),
            (&chain, odd_key, InvalidCertificate::UnknownKey),
            (&chain, &other_key, InvalidCertificate::Mismatch),
            (&other_chain, &key, InvalidCertificate::Mismatch),
        ];
        for (chain, key, why) in cases {
            assert_eq!(parse(chain, key).map(drop), Err(why), "{chain}");
            assert_eq!(why.is_of_the_key(), why.to_string().contains("private key"));
        }
    }

    #[test]
    fn the_key_of_a_certificate_is_not_printed() {
        let (chain, key) = pair(&["a.example"]);
        let printed = format!("{:?}", parse(&chain, &key).unwrap());
        assert_eq!(printed, "Certificate { names: [\"a.example\"], not_after: Timestamp(1798675200000), .. }");
    }
}
