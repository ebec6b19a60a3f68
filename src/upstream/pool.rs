//! The connections of one worker to one server. Those that are not used are kept, the newest on top, so that those too
//! many for the load grow old and go.

use std::{
    cell::{Cell, RefCell},
    fmt,
    net::IpAddr,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http_body::Body;
use tokio::{
    sync::{Notify, watch},
    task::yield_now,
    time::{Instant, timeout},
};

use super::{
    ConnectError, Lease, Reuse,
    dial::{Dialed, dial},
    group::{Addresses, Group, Server},
    link::Link,
    socket::{Place, Socket},
};

/// The connections of one worker to one server.
pub(super) struct Pool<B: Body + 'static> {
    pub(super) group: Arc<Group>,
    /// The server's place in its group.
    pub(super) at: usize,
    idle: RefCell<Vec<Idle<B>>>,
    /// Requests that have a connection or wait for one.
    pub(super) outstanding: Cell<usize>,
    /// Those that wait for one of all that there may be.
    waiting: Cell<usize>,
    room: Rc<Notify>,
    /// The address that the next connection tries first.
    turn: Cell<usize>,
    addresses: RefCell<watch::Receiver<Addresses>>,
    /// One more each time the server's name leads elsewhere.
    era: Cell<u64>,
}

struct Idle<B: Body + 'static> {
    kept: Kept<B>,
    since: Instant,
}

/// A connection with the address it leads to, and when that was last known to be right.
pub(super) struct Kept<B: Body + 'static> {
    pub(super) link: Link<B>,
    to: Option<IpAddr>,
    era: u64,
}

impl<B: Body + 'static> fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({}, {} idle)", self.server().name, self.idle.borrow().len())
    }
}

impl<B: Body + 'static> Pool<B> {
    pub(super) fn server(&self) -> &Server {
        &self.group.servers[self.at]
    }
}

impl<B> Pool<B>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(group: &Arc<Group>, at: usize) -> Self {
        Self {
            group: Arc::clone(group),
            at,
            idle: RefCell::new(Vec::new()),
            outstanding: Cell::new(0),
            waiting: Cell::new(0),
            room: Rc::new(Notify::new()),
            turn: Cell::new(0),
            addresses: RefCell::new(group.servers[at].addresses.subscribe()),
            era: Cell::new(0),
        }
    }

    /// A kept connection, or a new one. [`ConnectError::Overloaded`] where there may be no more of them.
    pub(super) async fn lease(self: &Rc<Self>, reuse: Reuse, patience: Duration) -> Result<Lease<B>, ConnectError> {
        if self.waiting.get() > 0 {
            // Whoever came before goes first.
            return Err(self.overloaded());
        }
        if reuse == Reuse::Allowed
            && let Some(kept) = self.kept().await
        {
            return Ok(Lease::new(kept, self, true));
        }
        let place = Place::take(&self.group, self.at, &self.room).ok_or_else(|| self.overloaded())?;
        self.connect(place, patience).await
    }

    /// The same, waiting for another request to be done with its connection where there may be no more of them.
    pub(super) async fn wait(self: &Rc<Self>, reuse: Reuse, patience: Duration) -> Result<Lease<B>, ConnectError> {
        let waits = Waits::begin(self);
        let waiting = async {
            loop {
                if reuse == Reuse::Allowed
                    && let Some(kept) = self.kept().await
                {
                    return Ok(Lease::new(kept, self, true));
                }
                if let Some(place) = Place::take(&self.group, self.at, &self.room) {
                    return Err(place);
                }
                self.room.notified().await;
            }
        };
        let waited = timeout(patience, waiting).await.map_err(|_| self.overloaded())?;
        drop(waits);
        match waited {
            Ok(lease) => Ok(lease),
            Err(place) => self.connect(place, patience).await,
        }
    }

    /// A kept connection that can be had at once and is open, as far as one can know.
    pub(super) fn kept_now(self: &Rc<Self>, now: Instant) -> Option<Lease<B>> {
        if self.waiting.get() > 0 {
            return None;
        }
        loop {
            let Idle { mut kept, since } = self.idle.borrow_mut().pop()?;
            if now - since >= self.group.section.idle_timeout || !kept.link.is_open() {
                continue;
            }
            if kept.link.sender.is_ready() {
                return Some(Lease::new(kept, self, true));
            }
            self.idle.borrow_mut().push(Idle { kept, since });
            return None;
        }
    }

    /// A kept connection, also one that needs a moment.
    async fn kept(&self) -> Option<Kept<B>> {
        loop {
            let Idle { mut kept, since } = self.idle.borrow_mut().pop()?;
            if since.elapsed() >= self.group.section.idle_timeout || !kept.link.is_open() {
                continue;
            }
            if kept.link.sender.is_ready() {
                return Some(kept);
            }
            // Given back a moment ago, its task may not have come round to the next request. More than a moment it is
            // not given: where the server answered before it read the whole of a request, it may never read the rest.
            yield_now().await;
            if kept.link.is_open() && kept.link.sender.is_ready() {
                return Some(kept);
            }
        }
    }

    async fn connect(self: &Rc<Self>, place: Place, patience: Duration) -> Result<Lease<B>, ConnectError> {
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        let era = self.era.get();
        let Dialed { stream, to } = dial(&self.group, self.at, patience, turn).await?;
        let link = Link::new(Socket::new(stream, place)).await;
        let link = link.map_err(|source| ConnectError::Handshake { server: self.server().name.clone(), source })?;
        Ok(Lease::new(Kept { link, to, era }, self, false))
    }

    fn overloaded(&self) -> ConnectError {
        ConnectError::Overloaded { server: self.server().name.clone() }
    }

    /// Keeps a connection, unless there are enough or its server has moved.
    pub(super) fn keep(&self, mut kept: Kept<B>) {
        if kept.era != self.era.get() {
            if !self.leads_to(kept.to) {
                return;
            }
            kept.era = self.era.get();
        }
        let mut idle = self.idle.borrow_mut();
        if !kept.link.sender.is_closed() && idle.len() < self.group.section.max_idle {
            idle.push(Idle { kept, since: Instant::now() });
            if self.waiting.get() > 0 {
                self.room.notify_one();
            }
        }
    }

    /// Lets go of connections that were idle for too long, that the server closed or that lead where it no longer is; and
    /// of all of them where another worker's request waits for one.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let idle_timeout = self.group.section.idle_timeout;
        self.idle.borrow_mut().retain_mut(|idle| now - idle.since < idle_timeout && idle.kept.link.is_open());
        if self.has_moved() {
            self.era.set(self.era.get() + 1);
            self.idle.borrow_mut().retain(|idle| self.leads_to(idle.kept.to));
        }
        match self.waiting.get() {
            0 if self.server().crowd.load(Ordering::Relaxed) > 0 => self.idle.borrow_mut().clear(),
            0 => {}
            // The connection that closed may have been another worker's.
            _ => self.room.notify_one(),
        }
    }

    fn has_moved(&self) -> bool {
        let mut addresses = self.addresses.borrow_mut();
        let has_moved = addresses.has_changed().unwrap_or(false);
        addresses.mark_unchanged();
        has_moved
    }

    fn leads_to(&self, to: Option<IpAddr>) -> bool {
        let addresses = self.addresses.borrow();
        let known = addresses.borrow();
        to.is_none_or(|to| known.as_deref().is_none_or(|known| known.contains(&to)))
    }
}

/// A request that waits for somebody else's connection, counted here and for the other workers.
struct Waits<'p, B: Body + 'static>(&'p Pool<B>);

impl<'p, B: Body + 'static> Waits<'p, B> {
    fn begin(pool: &'p Pool<B>) -> Self {
        pool.waiting.set(pool.waiting.get() + 1);
        pool.server().crowd.fetch_add(1, Ordering::Relaxed);
        Self(pool)
    }
}

impl<B: Body + 'static> Drop for Waits<'_, B> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
        self.0.server().crowd.fetch_sub(1, Ordering::Relaxed);
    }
}
