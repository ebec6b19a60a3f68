//! The connections of one worker to one server. Those that are not used are kept, the newest on top, so that those too
//! many for the load grow old and go.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    net::IpAddr,
    pin::pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::uri::Scheme;
use http_body::Body;
use tokio::{
    sync::{Notify, oneshot, watch},
    task::spawn_local,
    time::{Instant, timeout, timeout_at},
};

use super::{
    ConnectError, Fault, Lease, Payload, Reuse,
    dial::{Dialed, dial},
    group::{Addresses, Group, Server},
    http1::Link,
    http2::{Connection, Connections},
    socket::{Place, Socket},
};

/// The connections of one worker to one server.
pub(super) struct Pool<B: Body + 'static> {
    pub(super) group: Arc<Group>,
    /// The server's place in its group.
    pub(super) at: usize,
    idle: RefCell<Vec<Idle<B>>>,
    /// Where the server speaks HTTP/2.
    pub(super) http2: Connections,
    /// Requests that have a connection or wait for one.
    pub(super) outstanding: Cell<usize>,
    /// Those that wait for one of all that there may be.
    waiting: Cell<usize>,
    /// And of these, those for whom a kept one will do, in the order in which they came. Of HTTP/1.
    line: RefCell<VecDeque<oneshot::Sender<Box<Kept<B>>>>>,
    /// Whether, since the last sweep, a connection was given up for those of other workers.
    gave_way: Cell<bool>,
    /// There may be room for one of them on a connection of HTTP/2.
    room: Rc<Notify>,
    /// The address that the next connection tries first.
    turn: Cell<usize>,
    addresses: RefCell<watch::Receiver<Addresses>>,
    /// One more each time the server's name leads elsewhere.
    era: Cell<u64>,
}

struct Idle<B: Body + 'static> {
    kept: Box<Kept<B>>,
    /// As of the first sweep that has met it, so that nobody has to look at the clock for it.
    since: Option<Instant>,
}

/// A connection with the address it leads to, and when that was last known to be right. It stays boxed for as long as it lives,
/// so that a lease of it is small.
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

impl<B: Payload> Pool<B> {
    pub(super) fn new(group: &Arc<Group>, at: usize) -> Self {
        Self {
            group: Arc::clone(group),
            at,
            idle: RefCell::new(Vec::new()),
            http2: Connections::default(),
            outstanding: Cell::new(0),
            waiting: Cell::new(0),
            line: RefCell::default(),
            gave_way: Cell::new(false),
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
        if let Some(lease) = self.at_hand(reuse) {
            return Ok(lease);
        }
        let deadline = Instant::now() + patience;
        while let Some(dialing) = self.http2.dialing() {
            let late = |_| ConnectError::Timeout { server: self.server().name.clone() };
            let over_or_room = async {
                tokio::select! {
                    over = dialing.over() => over,
                    () = self.room.notified() => Ok(()),
                }
            };
            timeout_at(deadline, over_or_room).await.map_err(late)??;
            if let Some(lease) = self.at_hand(reuse) {
                return Ok(lease);
            }
        }
        let place = Place::take(&self.group, self.at).ok_or_else(|| self.overloaded())?;
        self.connect(place, reuse, deadline).await
    }

    /// The same, waiting for another request to be done with its connection where there may be no more of them.
    pub(super) async fn wait(self: &Rc<Self>, reuse: Reuse, patience: Duration) -> Result<Lease<B>, ConnectError> {
        let waits = Waits::begin(self);
        let waiting =
            async { if self.is_http2() { self.room_or_place(reuse).await } else { self.kept_or_place(reuse).await } };
        let waited = timeout(patience, waiting).await.map_err(|_| self.overloaded())?;
        drop(waits);
        match waited {
            Ok(lease) => Ok(lease),
            Err(place) => self.connect(place, reuse, Instant::now() + patience).await,
        }
    }

    /// A kept connection, which [`keep`](Self::keep) hands to whoever has waited longest; or a place for another.
    async fn kept_or_place(self: &Rc<Self>, reuse: Reuse) -> Result<Lease<B>, Place> {
        let mut place = pin!(Place::next(&self.group, self.at));
        if reuse == Reuse::Forbidden {
            // None of those who wait may use it, or it would not be here. So it only takes up a place.
            drop(self.idle.borrow_mut().pop());
            return Err(place.await);
        }
        if let Some(lease) = self.at_hand(reuse) {
            return Ok(lease);
        }
        let (hand, mut handed) = oneshot::channel();
        self.line.borrow_mut().push_back(hand);
        loop {
            let mut kept = tokio::select! {
                place = &mut place => return Err(place),
                Ok(kept) = &mut handed => kept,
            };
            if kept.link.is_open() {
                return Ok(Lease::own(kept, self, true));
            }
            let (hand, again) = oneshot::channel();
            self.line.borrow_mut().push_front(hand);
            handed = again;
        }
    }

    /// Room on a connection of HTTP/2, or a place for another.
    async fn room_or_place(self: &Rc<Self>, reuse: Reuse) -> Result<Lease<B>, Place> {
        let mut place = pin!(Place::next(&self.group, self.at));
        if reuse == Reuse::Forbidden {
            // One that refuses requests and has none only takes up a place.
            self.http2.let_unused_go();
        }
        loop {
            if let Some(lease) = self.at_hand(reuse) {
                return Ok(lease);
            }
            tokio::select! {
                place = &mut place => return Err(place),
                () = self.room.notified() => {}
            }
        }
    }

    /// A kept connection that can be had at once and is open, as far as one can know.
    pub(super) fn kept_now(self: &Rc<Self>, now: Instant) -> Option<Lease<B>> {
        if self.waiting.get() > 0 {
            return None;
        }
        if self.is_http2() {
            return self.stream(Reuse::Allowed);
        }
        self.kept(now).map(|kept| Lease::own(kept, self, true))
    }

    /// A kept connection, or room on one.
    fn at_hand(self: &Rc<Self>, reuse: Reuse) -> Option<Lease<B>> {
        match reuse {
            _ if self.is_http2() => self.stream(reuse),
            Reuse::Allowed => Some(Lease::own(self.kept(Instant::now())?, self, true)),
            Reuse::Forbidden => None,
        }
    }

    /// Room for a request on a connection of HTTP/2.
    fn stream(self: &Rc<Self>, reuse: Reuse) -> Option<Lease<B>> {
        self.http2.begin(reuse).map(|exchange| Lease::shared(exchange, self))
    }

    fn is_http2(&self) -> bool {
        self.server().address.is_http2()
    }

    /// A kept connection that is open, as far as one can know.
    fn kept(&self, now: Instant) -> Option<Box<Kept<B>>> {
        loop {
            let Idle { mut kept, since } = self.idle.borrow_mut().pop()?;
            if since.is_none_or(|since| now - since < self.group.section.idle_timeout) && kept.link.is_open() {
                return Some(kept);
            }
        }
    }

    async fn connect(self: &Rc<Self>, place: Place, reuse: Reuse, deadline: Instant) -> Result<Lease<B>, ConnectError> {
        if self.is_http2() {
            return self.connect_or_find_room(place, reuse, deadline).await;
        }
        let era = self.era.get();
        let Dialed { stream, to } = self.dial(deadline).await?;
        let link = Link::new(Socket::new(stream, place));
        Ok(Lease::own(Box::new(Kept { link, to, era }), self, false))
    }

    /// Room for a request on another connection of HTTP/2, or on one there was, where another request has made some in the
    /// meantime.
    async fn connect_or_find_room(
        self: &Rc<Self>,
        place: Place,
        reuse: Reuse,
        deadline: Instant,
    ) -> Result<Lease<B>, ConnectError> {
        let pool = Rc::clone(self);
        let mut dialing = Box::pin(async move {
            let dial = pool.http2.dial();
            dial.ends(pool.open(place, deadline).await)?;
            // It has room for others too who wait.
            pool.room.notify_waiters();
            Ok(())
        });
        loop {
            tokio::select! {
                biased;
                over = &mut dialing => {
                    return over.and_then(|()| self.stream(Reuse::Allowed).ok_or_else(|| self.unfit(Fault::Closed)));
                }
                () = self.room.notified() => {
                    let Some(lease) = self.stream(reuse) else { continue };
                    // Others wait for this connection, or soon will.
                    spawn_local(dialing);
                    return Ok(lease);
                }
            }
        }
    }

    async fn open(&self, place: Place, deadline: Instant) -> Result<Connection, ConnectError> {
        let Dialed { stream, to } = self.dial(deadline).await?;
        let scheme = if self.server().address.is_tls() { Scheme::HTTPS } else { Scheme::HTTP };
        let opening = Connection::open(Socket::new(stream, place), to, scheme, &self.room);
        let late = |_| ConnectError::Timeout { server: self.server().name.clone() };
        timeout_at(deadline, opening).await.map_err(late)?.map_err(|why| self.unfit(why))
    }

    async fn dial(&self, deadline: Instant) -> Result<Dialed, ConnectError> {
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        dial(&self.group, self.at, deadline.saturating_duration_since(Instant::now()), turn).await
    }

    fn unfit(&self, source: Fault) -> ConnectError {
        ConnectError::Handshake { server: self.server().name.clone(), source }
    }

    fn overloaded(&self) -> ConnectError {
        ConnectError::Overloaded { server: self.server().name.clone() }
    }

    /// Keeps a connection, unless there are enough, or its server has moved, or other workers' requests wait for one: or else
    /// those of this worker would hand theirs on among themselves for as long as there are any.
    pub(super) fn keep(&self, mut kept: Box<Kept<B>>) {
        if self.server().crowd.load(Ordering::Relaxed) > self.waiting.get() && !self.gave_way.replace(true) {
            return;
        }
        if kept.era != self.era.get() {
            if !self.leads_to(kept.to) {
                return;
            }
            kept.era = self.era.get();
        }
        if !kept.link.is_ready() || self.idle.borrow().len() >= self.group.section.max_idle {
            return;
        }
        while let Some(first) = self.line.borrow_mut().pop_front() {
            match first.send(kept) {
                Ok(()) => return,
                // That one waits no more.
                Err(back) => kept = back,
            }
        }
        // Whoever waits still may not use it, and gets its place.
        if self.waiting.get() == 0 {
            self.idle.borrow_mut().push(Idle { kept, since: None });
        }
    }

    /// Lets go of connections that were idle for too long, that the server closed or that lead where it no longer is; and
    /// of all of them where another worker's request waits for one.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let idle_timeout = self.group.section.idle_timeout;
        self.idle
            .borrow_mut()
            .retain_mut(|idle| now - *idle.since.get_or_insert(now) < idle_timeout && idle.kept.link.is_open());
        self.http2.sweep(now, idle_timeout, self.group.section.max_idle, |to| self.leads_to(to));
        if self.has_moved() {
            self.era.set(self.era.get() + 1);
            self.idle.borrow_mut().retain(|idle| self.leads_to(idle.kept.to));
        }
        match self.waiting.get() {
            0 if self.server().crowd.load(Ordering::Relaxed) > 0 => {
                self.idle.borrow_mut().clear();
                self.http2.let_unused_go();
            }
            0 => {}
            // The stream that ended may have been one of those whose end nobody tells.
            _ => self.room.notify_one(),
        }
        self.gave_way.set(false);
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

#[cfg(test)]
mod tests;
