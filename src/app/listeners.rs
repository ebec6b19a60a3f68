//! From the listeners of the configuration to sockets that are bound, before anything runs.

use std::{io, net::SocketAddr, sync::Arc};

use super::Error;
use crate::{
    config::sections::{self, ListenAt, Speaks},
    model::{CertificateShelf, Certificates},
    server::{Listener, Tls, systemd::PassedSockets},
};

/// What the operators' listener is called where it is handed over.
const ADMIN: &str = "admin";

/// How the name of a Unix socket begins that was made here and not by systemd.
const UNIX: &str = "unix:";

/// The mode of a socket that nobody may connect to.
const NOBODY: u32 = 0;

/// The public's listeners.
pub(super) struct PublicListeners {
    pub(super) listeners: Vec<Listener>,
    /// For each of them the port that it sends everybody to, where it does nothing else.
    pub(super) redirects: Arc<[Option<u16>]>,
}

/// Binds all of them, for so many workers.
pub(super) fn bind(
    server: &sections::Server,
    workers: usize,
    passed: &mut PassedSockets,
) -> Result<PublicListeners, Error> {
    let (mut listeners, mut redirects) = (Vec::new(), Vec::new());
    for sections::Listener { listen, speaks, proxy_protocol } in server.all_listeners() {
        for listener in one(&listen, server.socket_mode, workers, passed)? {
            let listener = listener.named(listen.to_string());
            let (listener, redirect) = match speaks {
                Speaks::Http => (listener, None),
                Speaks::Https => (listener.with_tls(), None),
                Speaks::Redirect(port) => (listener, Some(port)),
            };
            listeners.push(if proxy_protocol { listener.with_proxy_header() } else { listener });
            redirects.push(redirect);
        }
    }
    Ok(PublicListeners { listeners, redirects: redirects.into() })
}

/// Says which of those that were passed nobody has taken, and gives back those of them that have a file of our making.
pub(super) fn rest(mut passed: PassedSockets) -> Vec<Listener> {
    let names: Vec<String> = passed.names().into_iter().map(str::to_owned).collect();
    let rest = names.into_iter().flat_map(|name| {
        tracing::warn!(name, "a socket was passed that no listener of the configuration is for");
        let sockets = if name.starts_with(UNIX) { passed.take(&name) } else { Vec::new() };
        // Where its file is gone there is nothing to give up.
        Listener::inherit(sockets, NOBODY, 1).unwrap_or_default()
    });
    rest.collect()
}

/// Removes the files of those that nobody listens at any more.
pub(super) fn give_up(rest: Vec<Listener>) {
    for listener in rest {
        let place = listener.place().clone();
        if let Err(error) = listener.give_up() {
            tracing::warn!(%place, %error, "the file of a socket is left that nobody listens at");
        }
    }
}

/// The operators' listener.
pub(super) fn bind_admin(addr: SocketAddr, passed: &mut PassedSockets) -> Result<Listener, Error> {
    let at = ListenAt::Tcp(addr);
    let inherited = passed.take(ADMIN);
    let listener = only_one(inherited.len()).and_then(|()| Listener::inherit(inherited, NOBODY, 1));
    let listener = listener.map(|mut all| all.pop());
    let listener = listener.and_then(|inherited| match inherited {
        // The address may be another than it was.
        Some(listener) if addr.port() == 0 || listener.addr() == Some(addr) => Ok(listener),
        _ => Listener::bind(addr, 1),
    });
    let listener = listener.map_err(|source| Error::Listen { at, source })?;
    Ok(listener.named(ADMIN))
}

/// The backends' listener, where there is one.
pub(super) fn bind_internal(
    section: Option<&sections::Internal>,
    passed: &mut PassedSockets,
) -> Result<Option<Listener>, Error> {
    let Some(section) = section else { return Ok(None) };
    let mut bound = one(&section.listen, section.socket_mode, 1, passed)?;
    only_one(bound.len()).map_err(|source| Error::Listen { at: section.listen.clone(), source })?;
    Ok(bound.pop().map(|listener| listener.named(section.listen.to_string())))
}

/// A socket that nobody accepts from would let those who come to it wait for ever.
fn only_one(sockets: usize) -> io::Result<()> {
    if sockets <= 1 {
        return Ok(());
    }
    let told = format!("{sockets} sockets have been passed under this name, and this listener takes one");
    Err(io::Error::new(io::ErrorKind::InvalidInput, told))
}

/// One place. Under one name systemd may have bound several.
fn one(at: &ListenAt, mode: u32, workers: usize, passed: &mut PassedSockets) -> Result<Vec<Listener>, Error> {
    let inherited = passed.take(&at.to_string());
    let listeners = match at {
        ListenAt::Tcp(_) | ListenAt::Unix(_) if !inherited.is_empty() => Listener::inherit(inherited, mode, workers),
        ListenAt::Tcp(addr) => Listener::bind(*addr, workers).map(|listener| vec![listener]),
        ListenAt::Unix(path) => Listener::bind_unix(path, mode, workers).map(|listener| vec![listener]),
        ListenAt::Systemd(name) => {
            let sockets = inherited.into_iter().chain(passed.take(name));
            let taken = sockets.map(|socket| Listener::take_over(socket, workers)).collect::<io::Result<Vec<_>>>();
            taken.and_then(|taken| {
                let none = || io::Error::new(io::ErrorKind::NotFound, "systemd has bound no socket of this name");
                if taken.is_empty() { Err(none()) } else { Ok(taken) }
            })
        }
    };
    listeners.map_err(|source| Error::Listen { at: at.clone(), source })
}

/// How TLS is spoken, where it is, and the certificates it is spoken with.
pub(super) fn tls(server: &sections::Server) -> Result<Option<(Tls, Arc<CertificateShelf>)>, Error> {
    let Some(section) = &server.tls else { return Ok(None) };
    let all = section.certificates.iter().map(|files| Arc::new(files.certificate.clone())).collect();
    let shelf = Arc::new(CertificateShelf::new(Certificates::new(all, section.strict_sni)));
    let tls = Tls::new(section, server.http2.enabled, Arc::clone(&shelf)).map_err(Error::Tls)?;
    Ok(Some((tls, shelf)))
}
