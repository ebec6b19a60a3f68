//! The backends' listener: how it speaks TLS, and its answers as a service.

use std::{net::IpAddr, rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::sync::watch;

use super::{CertificateKeeper, Error, parts::Parts, services::changed};
use crate::{
    config::{Config, sections},
    internal::{Ingredients, Internal},
    model::{CertificateShelf, Certificates},
    server::{self, Arrival, Listener, Options, Running, Service, Tls},
    web::{Refusal, RequestBody, RequestTimer},
};

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
) -> Result<Option<Running>, Error> {
    let Some(listener) = listener else { return Ok(None) };
    let listener = if tls.is_some() { listener.with_tls() } else { listener };
    let options =
        Options { workers: 1, max_connections: CONNECTIONS, tls, ..Options::from_section(&parts.config.server) };
    let (addr, follow) = (listener.addr().map(|addr| addr.ip()), follow.clone());
    let made = server::start(vec![listener], &options, move |_| Side::new(addr, follow.clone()));
    made.map(Some).map_err(Error::Workers)
}

/// The answers to backends as their listener's service.
struct Side {
    internal: Internal,
    addr: Option<IpAddr>,
    parts: watch::Receiver<Arc<Parts>>,
}

impl Side {
    fn new(addr: Option<IpAddr>, mut follow: watch::Receiver<Arc<Parts>>) -> Self {
        let parts = Arc::clone(&follow.borrow_and_update());
        // A running listener has a section: one that is taken out of the file stays until a restart.
        let nowhere = sections::Internal::new(parts.config.admin.listen.into());
        let internal = Internal::new(Ingredients {
            section: parts.config.internal.as_ref().unwrap_or(&nowhere),
            addr,
            sessions: Arc::clone(&parts.sessions),
            profiles: Arc::clone(&parts.profiles),
            wechat: Arc::clone(&parts.server_api),
            apps: parts.apps(),
            clock: Arc::clone(&parts.clock),
            entropy: Arc::clone(&parts.entropy),
        });
        Self { internal, addr, parts: follow }
    }
}

impl Service for Side {
    type Conn = ();
    type Tunnel = ();
    type Body = Full<Bytes>;

    fn connected(&self, _arrival: Arrival) {}

    async fn call<'a>(
        &'a self,
        request: Request<RequestBody>,
        _conn: &'a Rc<()>,
        _timer: RequestTimer,
    ) -> Response<Full<Bytes>> {
        self.internal.answer(request).await.map(Full::new)
    }

    fn refuse(&self, _why: Refusal, _conn: &()) -> Response<Bytes> {
        Internal::refuse()
    }

    async fn successor(&self) -> Self {
        let mut follow = self.parts.clone();
        changed(&mut follow).await;
        Self::new(self.addr, follow)
    }
}
