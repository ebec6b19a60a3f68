//! Backends: which server a request goes to, a connection to it, and whether the server is well.
//!
//! Two halves. [`Upstreams`] is the process's: how servers stand, where their names lead, the checks. An [`Upstream`] is a
//! worker's: its connections, and what it counts for itself. A pool belongs to one worker and never leaves its thread, so
//! taking a connection is popping from a vector. What a shared pool would save in connections it would cost in locks and
//! cross-thread wake-ups on every request.

mod answer;
mod balance;
mod budget;
mod check;
mod dial;
mod dns;
mod error;
mod group;
mod health;
mod http1;
mod http2;
mod lease;
mod length;
mod outgoing;
mod pool;
mod socket;
mod status;
mod task;
mod tls;
mod upstreams;

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body::Body;
use rand::rngs::SmallRng;
use tokio::time::Instant;

use crate::{config::sections, model::UserKey};

use balance::{Balancer, Tried};
use budget::Budget;
use lease::Busy;
use pool::Pool;

pub use answer::AnswerBody;
pub use dns::{Lookup, Resolver, SystemResolver};
pub use error::{ConnectError, Fault, NoAnswer, SendError};
pub use group::Group;
pub use health::Standing;
pub use lease::{Lease, Switched};
pub use outgoing::{Fields, Outgoing};
pub use status::{ServerStatus, Status};
pub use tls::TlsError;
pub use upstreams::{SetupError, Upstreams, Watch};

/// So much may come before an answer, interim ones included.
const MOST_BEFORE_ANSWER: usize = 512 * 1024;

/// What a request to an upstream may carry.
pub trait Payload: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + 'static {}

impl<B> Payload for B where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + 'static
{
}

/// One upstream as one worker sees it.
#[derive(Debug)]
pub struct Upstream<B: Body + 'static> {
    group: Arc<Group>,
    pools: Vec<Rc<Pool<B>>>,
    balancer: Balancer,
    budget: Budget,
    /// Of what the balancer knows.
    generation: Cell<u64>,
    /// Whether that changes by time alone.
    is_moving: Cell<bool>,
    swept: Cell<Instant>,
}

/// Where a request has been, and what decides where it goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Course {
    key: Option<u64>,
    tried: Tried,
    /// The server that was chosen and not yet asked.
    next: Option<usize>,
}

impl<B: Payload> Upstream<B> {
    /// Connects to nothing yet. With another `rng`, another worker draws other servers.
    pub fn new(group: &Arc<Group>, rng: SmallRng) -> Self {
        let section = &group.section;
        let weight = |server: &sections::UpstreamServer| u32::try_from(server.weight).unwrap_or(1);
        let servers = group.servers.iter().zip(&section.servers).map(|(one, written)| (&*one.name, weight(written)));
        let this = Self {
            pools: (0..group.servers.len()).map(|at| Rc::new(Pool::new(group, at))).collect(),
            balancer: Balancer::new(section.balance, servers, rng),
            budget: Budget::new(&section.retry),
            generation: Cell::new(0),
            is_moving: Cell::new(false),
            swept: Cell::new(Instant::now()),
            group: Arc::clone(group),
        };
        this.look();
        this
    }

    /// Whether this is the same upstream of the process.
    pub fn is_of(&self, group: &Arc<Group>) -> bool {
        Arc::ptr_eq(&self.group, group)
    }

    /// Its settings.
    pub fn section(&self) -> &sections::Upstream {
        &self.group.section
    }

    /// `Host` for requests that have none: the first server's address is what they can only have meant.
    pub fn own_host(&self) -> String {
        self.section().servers.first().map_or_else(String::new, |server| check::host(&server.address))
    }

    /// A new request, of this user where one is known.
    pub fn begin(&self, user: Option<&UserKey>) -> Course {
        self.budget.earn();
        Course { key: self.balancer.key(user), ..Course::default() }
    }

    /// A kept connection to the server that is to have the request, if there is one that can be used at once.
    pub fn kept_now(&self, course: &mut Course, now: Instant) -> Option<Lease<B>> {
        let at = self.choose(course)?;
        let lease = self.pools[at].kept_now(now);
        course.next = lease.is_none().then_some(at);
        lease
    }

    /// A connection to the server that is to have the request: a kept one, or a new one, which may take as long as
    /// `patience`. A server that can't be connected to is passed over; the last one's error is told when none can.
    pub async fn lease(&self, course: &mut Course, reuse: Reuse, patience: Duration) -> Result<Lease<B>, ConnectError> {
        let Some(_pending) = self.group.wait() else {
            self.group.overloads.inc();
            return Err(ConnectError::Overloaded { server: self.section().name.clone() });
        };
        let (mut failed, mut full, mut all_full) = (None, None, Tried::default());
        while let Some(at) = course.next.take().or_else(|| self.choose_beside(course, all_full)) {
            let pool = &self.pools[at];
            let _busy = Busy::begin(pool);
            match pool.lease(reuse, patience).await {
                Ok(lease) => return Ok(lease),
                // It has not been tried, and may be the one that the request is sent to again.
                Err(ConnectError::Overloaded { .. }) => {
                    full = full.or(Some(at));
                    all_full.add(at);
                }
                Err(error) => {
                    self.not_connected(at, &error);
                    failed = Some(error);
                    course.tried.add(at);
                }
            }
        }
        let Some(at) = full else { return Err(failed.unwrap_or(ConnectError::NoServer)) };
        let _busy = Busy::begin(&self.pools[at]);
        let waited = self.pools[at].wait(reuse, patience).await;
        match &waited {
            Ok(_) => {}
            Err(ConnectError::Overloaded { .. }) => self.group.overloads.inc(),
            Err(error) => self.not_connected(at, error),
        }
        waited
    }

    /// The server answered.
    pub fn answered(&self, lease: &mut Lease<B>) {
        lease.answered();
        self.group.answered(lease.at());
    }

    /// The server took the request, and has given no answer in time.
    pub fn late(&self, lease: &Lease<B>, why: &dyn std::error::Error) {
        lease.is_late();
        self.has_failed(lease.at(), why);
    }

    /// The server took the request, and gave no answer.
    pub fn failed(&self, lease: &Lease<B>, why: &dyn std::error::Error) {
        if lease.is_first_to_fail() {
            self.has_failed(lease.at(), why);
        }
    }

    /// Whether the request could be sent again, should the connection break now.
    pub fn could_retry(&self, lease: &Lease<B>) -> bool {
        lease.reused() || self.balancer.has_beside(lease.at())
    }

    /// Whether the request may be sent again, for which another server is taken if one is well. A server alone is asked
    /// once more only where it was closing a kept connection: that says nothing of the server.
    pub fn may_retry(&self, course: &mut Course, lease: &Lease<B>) -> bool {
        if !self.could_retry(lease) || !self.budget.spend() {
            return false;
        }
        self.leave(course, lease);
        true
    }

    /// Whether a request may be sent again that the server has refused, having done nothing with it. It may go to the same
    /// server, on another connection.
    pub fn may_resend(&self, course: &mut Course, lease: &Lease<B>) -> bool {
        let may = self.budget.spend();
        if may {
            self.leave(course, lease);
        }
        may
    }

    /// The request is sent again, of which the server has seen nothing.
    pub fn leave(&self, course: &mut Course, lease: &Lease<B>) {
        if self.balancer.has_beside(lease.at()) {
            course.tried.add(lease.at());
        }
        self.group.retries.inc();
    }

    /// Done a few times per second: lets go of connections that are of no use any more, and looks at how the servers
    /// stand.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.budget.tick(now.saturating_duration_since(self.swept.replace(now)));
        for pool in &self.pools {
            pool.sweep();
        }
        if self.is_moving.get() || self.generation.get() != self.group.generation() {
            self.look();
        }
    }

    fn choose(&self, course: &Course) -> Option<usize> {
        self.choose_beside(course, Tried::default())
    }

    /// None of those that have been tried, and none of these.
    fn choose_beside(&self, course: &Course, these: Tried) -> Option<usize> {
        self.balancer.choose(course.tried.and(these), course.key, |at| self.pools[at].outstanding.get())
    }

    /// A connection that many wait for fails once.
    fn not_connected(&self, at: usize, why: &ConnectError) {
        if !matches!(why, ConnectError::Alike { .. }) {
            self.has_failed(at, why);
        }
    }

    fn has_failed(&self, at: usize, why: &dyn std::error::Error) {
        self.group.failed(at, why);
        // Another worker may have had the failure before this one.
        if self.generation.get() != self.group.generation() {
            self.look();
        }
    }

    fn look(&self) {
        let view = self.group.view();
        self.balancer.set(&view.shares);
        self.generation.set(view.generation);
        self.is_moving.set(view.is_moving);
    }
}

/// Whether a kept connection will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Yes, it saves a round trip.
    Allowed,
    /// No: one has just failed, and the next may be as stale.
    Forbidden,
}
