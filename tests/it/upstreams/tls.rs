//! Servers that are spoken to over TLS: who they have to be, and who we are to them.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use wxgate::{
    config::sections::{AuthRule, ClientCertificate, Endpoint, Route, ServerAddress, UpstreamTls},
    model::Secret,
};

use super::OK;
use crate::support::{
    TestGateway,
    binary::{Binary, folder},
    cable::Cable,
    client::head,
    tls::swap,
    until,
};

/// Who vouches for others.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for this name, and its key.
    fn vouches_for(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        roots
    }
}

/// A server with a certificate, which counts whom it has answered.
struct Server {
    addr: SocketAddr,
    answered: Arc<AtomicUsize>,
    /// Why nothing could be said.
    refusals: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Under a name that `ca` vouches for. Clients have to be vouched for by `clients`.
    fn start(ca: &Authority, name: &str, clients: Option<&Authority>) -> Self {
        let (cert, key) = ca.vouches_for(name);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients.roots()), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
        let mut config =
            builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let this = Self { addr: listener.local_addr().unwrap(), answered: Arc::default(), refusals: Arc::default() };
        let (answered, refusals) = (this.answered.clone(), this.refusals.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, answered, refusals) = (config.clone(), answered.clone(), refusals.clone());
                thread::spawn(move || {
                    if let Err(error) = serve(stream, config, &answered) {
                        refusals.lock().unwrap().push(error.to_string());
                    }
                });
            }
        });
        this
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, answered: &AtomicUsize) -> std::io::Result<()> {
    let session = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(session, stream));
    let mut line = String::new();
    let mut closes = false;
    while stream.read_line(&mut line)? > 0 {
        closes |= line.starts_with("GET /public/close");
        if line == "\r\n" {
            if answered.fetch_add(1, Ordering::SeqCst) > 0 && std::mem::take(&mut closes) {
                // Without a word: many servers leave the end of TLS out.
                return Ok(());
            }
            assert_eq!(stream.get_ref().conn.alpn_protocol(), Some(&b"http/1.1"[..]));
            stream.get_mut().write_all(OK.as_bytes())?;
        }
        line.clear();
    }
    Ok(())
}

/// A gateway that asks this server by `host`.
fn gateway(server: &Server, host: &str, tls: UpstreamTls) -> TestGateway {
    TestGateway::with(|config| {
        config.server.workers = 1;
        let endpoint = Endpoint { host: host.to_owned(), port: server.addr.port() };
        config.upstreams[0].servers = vec![ServerAddress::Https(endpoint).into()];
        config.upstreams[0].tls = tls;
    })
}

fn trusting(ca: &Authority) -> UpstreamTls {
    UpstreamTls { ca: Some(ca.pem.clone()), ..UpstreamTls::default() }
}

fn client(ca: &Authority) -> ClientCertificate {
    let (cert, key) = ca.vouches_for("wxgate");
    ClientCertificate { cert, key: Secret::new(key) }
}

#[test]
fn a_server_is_spoken_to_over_tls() {
    let ca = Authority::new("backends");
    for (name, host) in [("localhost", "localhost"), ("127.0.0.1", "127.0.0.1")] {
        let server = Server::start(&ca, name, None);
        let gw = gateway(&server, host, trusting(&ca));
        for n in 1..=5 {
            assert_eq!((gw.client().post("/public/", "").status, server.answered()), (200, n));
        }
        assert_eq!(gw.app().upstreams().status()[0].servers[0].connections, 1, "and its connection is kept");
    }
}

#[test]
fn a_server_that_can_not_prove_its_name_gets_nothing() {
    let (ca, other) = (Authority::new("backends"), Authority::new("others"));
    let named = |name: &str| UpstreamTls { server_name: Some(name.to_owned()), ..trusting(&ca) };
    for (name, tls, why) in [
        ("localhost", trusting(&other), "UnknownIssuer"),
        ("localhost", UpstreamTls::default(), "UnknownIssuer"),
        ("app.internal", trusting(&ca), "not valid for name"),
        ("localhost", named("app.internal"), "not valid for name"),
    ] {
        let server = Server::start(&ca, name, None);
        let gw = gateway(&server, "localhost", tls);
        assert_eq!(gw.client().get("/public/").code(), "upstream_unreachable", "{name}");
        let line = gw.log.line("no connection to https://localhost");
        assert!(line.contains(why), "{line}");
        assert_eq!(server.answered(), 0);
    }
}

#[test]
fn a_server_may_have_another_name_than_its_address() {
    let ca = Authority::new("backends");
    let server = Server::start(&ca, "app.internal", None);
    let tls = UpstreamTls { server_name: Some("app.internal".to_owned()), ..trusting(&ca) };
    assert_eq!(gateway(&server, "127.0.0.1", tls).client().get("/public/").status, 200);
}

#[test]
fn a_server_may_ask_who_we_are() {
    let (ca, ours, others) = (Authority::new("backends"), Authority::new("gateways"), Authority::new("others"));
    for (client, status) in [(Some(client(&ours)), 200), (Some(client(&others)), 502), (None, 502)] {
        let server = Server::start(&ca, "localhost", Some(&ours));
        let gw = gateway(&server, "localhost", UpstreamTls { client, ..trusting(&ca) });
        let reply = gw.client().post("/public/", "");
        assert_eq!((reply.status, server.answered()), (status, usize::from(status == 200)), "{reply:?}");
    }
}

/// Threats 3, item 12, over TLS.
#[test]
fn a_kept_connection_that_closes_as_it_is_used_costs_nobody_anything_over_tls() {
    let ca = Authority::new("backends");
    let server = Server::start(&ca, "localhost", None);
    let gw = gateway(&server, "localhost", trusting(&ca));
    assert_eq!(gw.client().get("/public/").status, 200);
    assert_eq!((gw.client().get("/public/close").status, gw.retries()), (502, 1), "once more, and closed once more");
    assert_eq!((gw.client().get("/public/").status, server.answered()), (200, 4));
}

#[test]
fn what_speaks_no_tls_gets_nothing() {
    let ca = Authority::new("backends");
    let gw = TestGateway::with(|config| {
        let endpoint = config.upstreams[0].servers[0].address.endpoint().unwrap().clone();
        config.upstreams[0].servers = vec![ServerAddress::Https(endpoint).into()];
        config.upstreams[0].tls = trusting(&ca);
        config.upstreams[0].connect_timeout = Duration::from_millis(200);
    });
    assert_eq!(gw.client().get("/public/").code(), "upstream_unreachable");
    assert_eq!(gw.upstream.count(), 0);
}

/// Its connections come about as far as the system is concerned, and no further.
#[test]
fn a_route_waits_for_a_connection_as_long_as_it_says_and_others_as_long_as_the_upstream() {
    let ca = Authority::new("backends");
    let server = Server::start(&ca, "localhost", None);
    let cable = Cable::to(server.addr);
    let gw = TestGateway::with(|config| {
        let endpoint = Endpoint { host: "localhost".to_owned(), port: cable.addr().port() };
        config.upstreams[0].servers = vec![ServerAddress::Https(endpoint).into()];
        config.upstreams[0].tls = trusting(&ca);
        config.upstreams[0].connect_timeout = Duration::from_hours(1);
        let connect_timeout = Some(Duration::from_millis(50));
        config.routes.push(Route { auth: AuthRule::None, connect_timeout, ..Route::new("/hasty/", "app") });
    });
    cable.hold();
    let mut patient = gw.client();
    patient.send(head("GET", "/public/", &[], 0));
    assert_eq!(gw.client().get("/hasty/").code(), "upstream_unreachable");
    assert!(gw.log.line("upstream_unreachable").contains("no connection to https://localhost"));
    cable.let_go();
    assert_eq!((patient.reply().status, gw.client().get("/hasty/").status), (200, 200));
}

#[test]
fn other_files_than_at_the_start_are_taken_over_while_it_runs() {
    let (ca, ours, others) = (Authority::new("backends"), Authority::new("gateways"), Authority::new("others"));
    let (server, place) = (Server::start(&ca, "localhost", Some(&ours)), folder("upstream_files"));
    let write = |ca: &Authority, by: &Authority| {
        let (cert, key) = by.vouches_for("wxgate");
        for (file, text) in [("key.pem", &key), ("cert.pem", &cert), ("ca.pem", &ca.pem)] {
            swap(&place.join(file), text);
        }
    };
    std::fs::create_dir_all(&place).unwrap();
    write(&others, &others);
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\nwatch = \"20ms\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[apps]]\napp_id = \"wx4f4bc4dec97d474b\"\nsecret = \"not used here\"\n\
         [[upstreams]]\nname = \"app\"\nservers = [\"https://localhost:{}\"]\n\
         tls = {{ ca = \"ca.pem\", cert = \"cert.pem\", key = \"key.pem\" }}\n\
         [[routes]]\npath = \"/\"\nupstream = \"app\"\nauth = \"none\"\n",
        server.addr.port()
    );
    let gw = Binary::serve("upstream_files", &config, &[]);
    assert_eq!(gw.client().get("/").status, 502);
    write(&ca, &ours);
    until("what both sides trust", || (gw.client().get("/").status == 200).then_some(()));
}
