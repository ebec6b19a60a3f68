//! Certificates of an authority of the test's own, and clients that trust it.

use std::{
    fs, io,
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned, SupportedProtocolVersion,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use wxgate::{
    config::{
        Config,
        sections::{CertificateFiles, Tls},
    },
    model::{Certificate, Secret},
};

use super::{
    Client,
    client::{tcp, unix},
    link::Link,
};

/// Signs what the test wants signed.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: rcgen::Certificate,
    folder: TempDir,
}

/// A chain and its key, both PEM.
pub struct Pair {
    pub chain: String,
    pub key: String,
}

/// Somebody who trusts an authority.
#[derive(Clone)]
pub struct Dialler(ClientConfig);

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("a certificate");
        Self { issuer: Issuer::new(params, key), root, folder: tempfile::tempdir().expect("a folder") }
    }

    /// What one has to have to trust it.
    pub fn pem(&self) -> String {
        self.root.pem()
    }

    /// A certificate for these names.
    pub fn pair(&self, names: &[&str]) -> Pair {
        self.pair_until(names, 2096)
    }

    /// The same, to the end of the year before.
    pub fn pair_until(&self, names: &[&str], year: i32) -> Pair {
        self.pair_with(names, |params| params.not_after = date_time_ymd(year, 1, 1))
    }

    fn pair_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let chain = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Pair { chain, key: key.serialize_pem() }
    }

    /// The same, from the beginning of the year.
    pub fn pair_from(&self, names: &[&str], year: i32) -> Pair {
        self.pair_with(names, |params| params.not_before = date_time_ymd(year, 1, 1))
    }

    /// The same, in files that begin with this word.
    pub fn files(&self, word: &str, names: &[&str]) -> CertificateFiles {
        self.write(word, &self.pair(names))
    }

    /// Puts a pair into files that begin with this word.
    pub fn write(&self, word: &str, pair: &Pair) -> CertificateFiles {
        let at = |end: &str| self.folder.path().join(format!("{word}.{end}"));
        let (cert, key) = (at("pem"), at("key"));
        swap(&cert, &pair.chain);
        swap(&key, &pair.key);
        let certificate = Certificate::parse(&pair.chain, &Secret::new(pair.key.as_str())).expect("a certificate");
        CertificateFiles { cert, key, certificate }
    }

    /// Somebody who trusts it.
    pub fn dialler(&self) -> Dialler {
        Dialler(self.config(&[&TLS13, &TLS12]))
    }

    /// Somebody who speaks one version only.
    pub fn dialler_of(&self, version: &'static SupportedProtocolVersion) -> Dialler {
        Dialler(self.config(&[version]))
    }

    fn config(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(versions).expect("versions");
        builder.with_root_certificates(self.roots()).with_no_client_auth()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).expect("a root");
        roots
    }

    /// The door of a backend with these names, which agrees to one of these protocols. Where `clients` is somebody, they have to vouch
    /// for whoever comes.
    pub fn acceptor(&self, names: &[&str], protocols: &[&str], clients: Option<&Self>) -> TlsAcceptor {
        let (pair, provider) = (self.pair(names), Arc::new(default_provider()));
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients.roots()), provider);
                builder.with_client_cert_verifier(verifier.build().expect("roots"))
            }
        };
        let chain = vec![CertificateDer::from_pem_slice(pair.chain.as_bytes()).expect("PEM")];
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("PEM");
        let mut config = builder.with_single_cert(chain, key).expect("a certificate");
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

impl Dialler {
    /// The same, wanting one of these protocols.
    pub fn offering(mut self, protocols: &[&str]) -> Self {
        self.0.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// The same, showing this certificate where one is asked for.
    pub fn showing(mut self, pair: &Pair) -> Self {
        let chain = CertificateDer::pem_slice_iter(pair.chain.as_bytes()).collect::<Result<Vec<_>, _>>().expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("PEM");
        let key = default_provider().key_provider.load_private_key(key).expect("a key");
        let own = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        self.0.client_auth_cert_resolver = Arc::new(own);
        self
    }

    /// The same, asking for no name.
    pub fn nameless(mut self) -> Self {
        self.0.enable_sni = false;
        self
    }

    /// A connection to somebody of this name; an error where no handshake comes about.
    pub fn try_dial(&self, addr: SocketAddr, name: &str) -> io::Result<Client> {
        self.try_dial_over(Link::Tcp(tcp(addr)), name)
    }

    fn try_dial_over(&self, over: Link, name: &str) -> io::Result<Client> {
        let mut stream = StreamOwned::new(self.session(name), over);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Client::over(Link::Tls(Box::new(stream))).calling(name))
    }

    fn session(&self, name: &str) -> ClientConnection {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        ClientConnection::new(Arc::new(self.0.clone()), name).expect("a client")
    }

    /// What it says first to somebody of this name.
    pub fn hello(&self, name: &str) -> Vec<u8> {
        let mut hello = Vec::new();
        self.session(name).write_tls(&mut hello).expect("a hello");
        hello
    }

    pub fn dial(&self, addr: SocketAddr, name: &str) -> Client {
        self.try_dial(addr, name).expect("a handshake")
    }

    pub fn dial_over(&self, over: TcpStream, name: &str) -> Client {
        self.try_dial_over(Link::Tcp(over), name).expect("a handshake")
    }

    pub fn dial_unix(&self, path: &Path, name: &str) -> Client {
        self.try_dial_over(Link::Unix(unix(path)), name).expect("a handshake")
    }

    /// The same for those who wait for more than one thing at once.
    pub fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::new(self.0.clone()))
    }
}

/// TLS on every listener of `listen`, with these certificates.
pub fn speak_tls(config: &mut Config, certificates: Vec<CertificateFiles>) -> &mut Tls {
    config.server.tls.insert(Tls::new(certificates))
}

/// Changes a file as a careful program does, in one step.
pub fn swap(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("a file");
    fs::rename(&new, path).expect("a file");
}
