//! Where the names of servers lead, asked again and again on the control side.
//!
//! The system's own resolver answers, through `getaddrinfo`: it knows what the machine knows (`/etc/hosts`, search domains,
//! what `nsswitch.conf` says), so a name means here what it means to everything else on the machine. It does not tell how
//! long an answer is good for, so it is asked every `dns_refresh`; keeping answers as long as their TTL says is what
//! the resolver behind it does. A resolver of our own would know the TTL, and would be two dozen crates more that
//! parse packets from the network.

use std::{fmt, future::Future, io, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    net::lookup_host,
    time::{sleep, timeout},
};

use super::group::{Group, Server};

/// A lookup that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// While a name leads nowhere, requests fail, so it is asked for more often.
const SOON: Duration = Duration::from_secs(1);

/// The addresses of a name, to come.
pub type Lookup<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Who knows where names lead.
pub trait Resolver: fmt::Debug + Send + Sync {
    /// The addresses of `host`, in the order in which they are to be tried.
    fn look_up<'a>(&'a self, host: &'a str) -> Lookup<'a>;
}

/// The system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn look_up<'a>(&'a self, host: &'a str) -> Lookup<'a> {
        Box::pin(async move { Ok(lookup_host((host, 0)).await?.map(|addr| addr.ip()).collect()) })
    }
}

/// Keeps the addresses of a server's name up to date. Returns at once where it has no name.
pub(super) async fn keep_looking_up(group: Arc<Group>, at: usize, resolver: Arc<dyn Resolver>) {
    let server = &group.servers[at];
    let Some(host) = server.address.endpoint().map(|endpoint| endpoint.host.clone()) else { return };
    if host.parse::<IpAddr>().is_ok() {
        return;
    }
    let refresh = group.section.dns_refresh;
    loop {
        let found = timeout(PATIENCE, resolver.look_up(&host)).await;
        let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).and_then(|found| {
            if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
        });
        match found {
            Ok(found) => learn(server, &found),
            Err(error) => keep(server, &group.section.name, &error),
        }
        let leads_nowhere = server.addresses.borrow().as_deref().is_none_or(<[IpAddr]>::is_empty);
        sleep(if leads_nowhere { refresh.min(SOON) } else { refresh }).await;
    }
}

/// Many a resolver gives the same addresses in another order each time; that is no change.
fn learn(server: &Server, found: &[IpAddr]) {
    let is_new = server.addresses.send_if_modified(|known| {
        let sorted = |addresses: &[IpAddr]| {
            let mut addresses = addresses.to_vec();
            addresses.sort();
            addresses
        };
        let is_new = known.as_deref().is_none_or(|known| sorted(known) != sorted(found));
        if is_new {
            *known = Some(found.into());
        }
        is_new
    });
    if is_new {
        tracing::debug!(server = %server.name, addresses = ?found, "a name leads somewhere new");
    }
}

/// What is known stays: a server whose name can't be looked up at the moment is most likely where it was.
fn keep(server: &Server, upstream: &str, error: &io::Error) {
    let is_first = server.addresses.send_if_modified(|known| {
        let is_first = known.is_none();
        known.get_or_insert_with(|| Arc::from([]));
        is_first
    });
    if is_first {
        tracing::warn!(%upstream, server = %server.name, %error, "the name of a server leads nowhere");
    } else {
        tracing::debug!(%upstream, server = %server.name, %error, "the name of a server was not looked up");
    }
}
