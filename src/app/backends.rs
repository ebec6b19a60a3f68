//! The backends' listener: how it speaks TLS, and its answers as a service.

use std::{
    cell::RefCell,
    net::IpAddr,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::sync::watch;

use super::{CertificateKeeper, Error, parts::Parts, services::changed};
use crate::{
    config::{
        Config,
        sections::{self, LogFormat},
    },
    internal::{Ingredients, Internal, Watch},
    model::{CertificateShelf, Certificates},
    server::{self, Arrival, Handshake, Listener, Options, Running, Service, Tls},
    telemetry::{Counters, LineWriter},
    web::{Answer, Refusal, RequestBody, RequestTimer, taken},
};

/// Who writes the access log.
type Lines = Arc<Mutex<LineWriter>>;

/// Connections of backends at once. There are few backends, and each keeps some.
const CONNECTIONS: usize = 1024;

/// How TLS is spoken there, where it is, and the certificate it is spoken with.
pub(super) fn tls(config: &Config) -> Result<Option<(Tls, Arc<CertificateShelf>)>, Error> {
    let Some(section) = config.internal.as_ref().and_then(|internal| internal.tls.as_ref()) else { return Ok(None) };
    let certificate = Arc::new(section.files.certificate.clone());
    let shelf = Arc::new(CertificateShelf::new(Certificates::new(vec![certificate], false)));
    let (spoken, http2) = (spoken(section, config.server.tls.as_ref()), config.server.http2.enabled);
    let tls = match &section.client_ca {
        Some(ca) => Tls::asking(&spoken, http2, Arc::clone(&shelf), ca),
        None => Tls::new(&spoken, http2, Arc::clone(&shelf)),
    };
    Ok(Some((tls.map_err(Error::Tls)?, shelf)))
}

/// The section as that of any listener. How TLS is spoken with clients, where it is, goes for backends too.
fn spoken(section: &sections::InternalTls, public: Option<&sections::Tls>) -> sections::Tls {
    let own = sections::Tls::new(vec![section.files.clone()]);
    match public {
        Some(public) => sections::Tls { certificates: own.certificates, strict_sni: own.strict_sni, ..public.clone() },
        None => own,
    }
}

/// Who looks after the certificate.
pub(super) fn certificates(parts: &Parts, shelf: Option<Arc<CertificateShelf>>) -> CertificateKeeper {
    let section = parts.config.internal.as_ref().and_then(|internal| internal.tls.as_ref());
    let spoken = section.map(|section| spoken(section, parts.config.server.tls.as_ref()));
    CertificateKeeper::new(spoken.as_ref(), shelf, Arc::clone(&parts.clock), Arc::clone(&parts.counters))
}

/// Answers backends at this listener, where there is one.
pub(super) fn start(
    listener: Option<Listener>,
    tls: Option<Tls>,
    parts: &Parts,
    follow: &watch::Receiver<Arc<Parts>>,
    lines: &Lines,
) -> Result<Option<Running>, Error> {
    let Some(listener) = listener else { return Ok(None) };
    let listener = if tls.is_some() { listener.with_tls() } else { listener };
    let options =
        Options { workers: 1, max_connections: CONNECTIONS, tls, ..Options::from_section(&parts.config.server) };
    let (addr, follow, lines) = (listener.addr().map(|addr| addr.ip()), follow.clone(), Arc::clone(lines));
    let made = server::start(vec![listener], &options, move |_| Side::new(addr, follow.clone(), Arc::clone(&lines)));
    made.map(Some).map_err(Error::Workers)
}

/// The answers to backends as their listener's service.
struct Side {
    internal: Internal,
    addr: Option<IpAddr>,
    parts: watch::Receiver<Arc<Parts>>,
    lines: Lines,
    counters: Arc<Counters>,
}

impl Side {
    fn new(addr: Option<IpAddr>, mut follow: watch::Receiver<Arc<Parts>>, lines: Lines) -> Self {
        let parts = Arc::clone(&follow.borrow_and_update());
        // A running listener has a section: one that is taken out of the file stays until a restart.
        let nowhere = sections::Internal::new(parts.config.admin.listen.into());
        let log = &parts.config.log;
        let line_buffer = || RefCell::new(lines.lock().unwrap_or_else(PoisonError::into_inner).handle());
        let watch = Watch {
            lines: log.access.then(line_buffer),
            json: log.format == LogFormat::Json,
            counters: Arc::clone(&parts.counters),
            clock: Arc::clone(&parts.clock),
        };
        let internal = Internal::new(Ingredients {
            section: parts.config.internal.as_ref().unwrap_or(&nowhere),
            addr,
            sessions: Arc::clone(&parts.sessions),
            profiles: Arc::clone(&parts.profiles),
            wechat: Arc::clone(&parts.server_api),
            limits: Arc::clone(&parts.limits.profiles),
            watch,
            apps: parts.apps(),
            clock: Arc::clone(&parts.clock),
            entropy: Arc::clone(&parts.entropy),
        });
        Self { internal, addr, counters: Arc::clone(&parts.counters), parts: follow, lines }
    }
}

impl Service for Side {
    type Conn = IpAddr;
    type Tunnel = ();
    type Body = Full<Bytes>;

    fn connected(&self, arrival: Arrival) -> IpAddr {
        arrival.peer.ip()
    }

    fn shook_hands(&self, how: Handshake) {
        self.counters.internal.handshakes.count(how.word());
    }

    fn call<'a>(
        &'a self,
        request: &mut Request<RequestBody>,
        conn: &'a Rc<IpAddr>,
        _timer: RequestTimer,
    ) -> impl Future<Output = Answer<Full<Bytes>>> + use<'a> {
        let request = taken(request);
        async move { self.internal.answer(request, **conn).await.map(Full::new).into() }
    }

    fn refuse(&self, _why: Refusal, _conn: &IpAddr) -> Response<Bytes> {
        self.internal.refuse()
    }

    fn tick(&self) {
        self.internal.tick();
    }

    async fn successor(&self) -> Self {
        let mut follow = self.parts.clone();
        changed(&mut follow).await;
        Self::new(self.addr, follow, Arc::clone(&self.lines))
    }
}
