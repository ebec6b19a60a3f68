//! What the whole process knows of one upstream: its servers, how they stand, where they are and what was counted.
//!
//! Workers read it when something has changed and count for themselves meanwhile. What is written here for all of them
//! changes with a connection, a failure or a check, never with a request that goes well.

use std::{
    error::Error,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use smallvec::SmallVec;
use tokio::sync::{Semaphore, watch};

use super::{
    check,
    health::{Health, Moment, WHOLE},
    status::{self, Status},
    tls::{Tls, TlsError},
};
use crate::{config::sections, model::Clock, telemetry::Counter};

/// What each server gets of the requests, in no particular unit.
pub(super) type Shares = SmallVec<[u32; 8]>;

/// The addresses of a name; none while it has not been looked up.
pub(super) type Addresses = Option<Arc<[IpAddr]>>;

/// One upstream.
#[derive(Debug)]
pub struct Group {
    pub(super) section: sections::Upstream,
    pub(super) servers: Vec<Arc<Server>>,
    /// For the connections to each of them, where there may be only so many.
    pub(super) places: Vec<Arc<Semaphore>>,
    /// Where a server speaks TLS.
    pub(super) tls: Option<Tls>,
    clock: Arc<dyn Clock>,
    health: Mutex<Vec<Health>>,
    /// One more with each change of how a server stands.
    generation: AtomicU64,
    /// Requests that wait for a connection.
    pending: AtomicUsize,
    pub(super) retries: Arc<Counter>,
    pub(super) overloads: Arc<Counter>,
}

/// One of its servers.
#[derive(Debug)]
pub(super) struct Server {
    /// As the configuration has it.
    pub(super) address: sections::ServerAddress,
    pub(super) name: String,
    pub(super) addresses: watch::Sender<Addresses>,
    /// In a row, over all workers.
    failures: AtomicUsize,
    /// Open ones, over all workers.
    pub(super) connections: AtomicUsize,
    /// Requests that wait until one of them closes or comes free.
    pub(super) crowd: AtomicUsize,
    pub(super) ejections: Counter,
}

/// How the servers stand, as of one generation.
#[derive(Debug)]
pub(super) struct View {
    pub(super) generation: u64,
    pub(super) shares: Shares,
    /// Whether time alone will change it.
    pub(super) is_moving: bool,
}

/// A request that waits for a connection, counted.
#[derive(Debug)]
pub(super) struct Pending<'g>(&'g Group);

impl Group {
    pub(super) fn new(section: &sections::Upstream, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let tls =
            section.servers.iter().any(|server| server.address.is_tls()).then(|| Tls::new(&section.tls)).transpose()?;
        let limit = section.max_connections.min(Semaphore::MAX_PERMITS);
        let places = if limit == 0 { 0 } else { section.servers.len() };
        Ok(Self {
            places: (0..places).map(|_| Arc::new(Semaphore::new(limit))).collect(),
            section: section.clone(),
            servers: section.servers.iter().map(|server| Arc::new(Server::new(&server.address))).collect(),
            tls,
            clock,
            health: Mutex::new(vec![Health::default(); section.servers.len()]),
            generation: AtomicU64::new(0),
            pending: AtomicUsize::new(0),
            retries: Arc::default(),
            overloads: Arc::default(),
        })
    }

    /// One in the place of this one. What is known and counted of the servers that stay is kept; connections are not, since
    /// what they were made by may be what has changed.
    pub(super) fn changed_to(&self, section: &sections::Upstream) -> Result<Self, TlsError> {
        let mut group = Self::new(section, Arc::clone(&self.clock))?;
        let was = |server: &Server| self.servers.iter().position(|old| old.address == server.address);
        let places: Vec<Option<usize>> = group.servers.iter().map(|server| was(server)).collect();
        for (server, was) in group.servers.iter_mut().zip(&places) {
            if let Some(was) = was {
                *server = Arc::clone(&self.servers[*was]);
            }
        }
        if section.max_connections == self.section.max_connections {
            // Those that are still open take up places here too. Under another limit they are beside it until they close.
            for (new, was) in group.places.iter_mut().zip(&places) {
                if let Some(old) = was.and_then(|was| self.places.get(was)) {
                    *new = Arc::clone(old);
                }
            }
        }
        // Other checks, or none, are not held to what these said.
        if section.health == self.section.health {
            let health = self.health();
            let kept = places.iter().map(|was| was.map_or_else(Health::default, |was| health[was].clone()));
            group.health = Mutex::new(kept.collect());
        }
        (group.retries, group.overloads) = (Arc::clone(&self.retries), Arc::clone(&self.overloads));
        Ok(group)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// How the servers stand now. Where nobody is well everybody gets a share: a request is better tried than refused on
    /// hearsay.
    pub(super) fn view(&self) -> View {
        let (mut health, now) = (self.health(), self.clock.steady());
        self.settle(&mut health, now);
        let slow_start = self.section.slow_start;
        let weights = || self.section.servers.iter().map(|server| u32::try_from(server.weight).unwrap_or(1));
        let mut shares: Shares =
            health.iter().zip(weights()).map(|(health, weight)| health.share(slow_start, now) * weight).collect();
        if shares.iter().all(|share| *share == 0) {
            shares = weights().map(|weight| weight * WHOLE).collect();
        }
        let is_moving = health.iter().any(|health| health.is_moving(slow_start, now));
        View { generation: self.generation(), shares, is_moving }
    }

    /// A server answered.
    pub(super) fn answered(&self, at: usize) {
        let failures = &self.servers[at].failures;
        // Nearly always there is nothing to forget, and then nothing is written.
        if failures.load(Ordering::Relaxed) != 0 {
            failures.store(0, Ordering::Relaxed);
        }
    }

    /// A server failed: no connection, a connection that broke, no answer in time, or one that is no HTTP.
    ///
    /// An answer with a 5xx is no failure, as it is none to nginx unless told so: whoever answers is there, and one broken
    /// page, which any stranger may ask for again and again, must not take the server away from everybody. What its
    /// statuses say of a server is asked by the checks.
    pub(super) fn failed(&self, at: usize, why: &dyn Error) {
        let (server, limit) = (&self.servers[at], self.section.eject.failures);
        let failures = server.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if limit == 0 || failures < limit {
            return;
        }
        let (mut health, now) = (self.health(), self.clock.steady());
        self.settle(&mut health, now);
        if !can_be_spared(&health, at) {
            return;
        }
        let time = health[at].eject(&self.section.eject, now);
        // When it is let in again, its first failure is enough.
        server.failures.store(limit - 1, Ordering::Relaxed);
        server.ejections.inc();
        self.changed();
        let (upstream, server, seconds) = (&self.section.name, &server.name, time.as_secs_f64());
        let error = check::causes(why);
        tracing::warn!(%upstream, %server, seconds, failures, error, "a server fails and is left alone for a while");
    }

    /// A check came to an end. Nothing is wrong where it says nothing.
    pub(super) fn checked(&self, at: usize, wrong: Option<&str>) {
        let (mut health, now) = (self.health(), self.clock.steady());
        self.settle(&mut health, now);
        if !health[at].checked(wrong.is_none(), &self.section.health, now) {
            return;
        }
        self.changed();
        let (upstream, server) = (&self.section.name, &self.servers[at].name);
        if let Some(error) = wrong {
            tracing::warn!(%upstream, %server, error, "a server is not well, say its checks");
        } else {
            tracing::info!(%upstream, %server, "a server is well again, say its checks");
        }
    }

    /// Counts a request that is to wait for a connection, unless too many do.
    pub(super) fn wait(&self) -> Option<Pending<'_>> {
        let limit = if self.section.max_pending == 0 { usize::MAX } else { self.section.max_pending };
        enter(&self.pending, limit).then(|| Pending(self))
    }

    /// How many there are of them.
    pub(super) fn waiting(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// How everything stands.
    pub(super) fn status(&self) -> Status {
        let (mut health, now) = (self.health(), self.clock.steady());
        self.settle(&mut health, now);
        status::of(self, &health, now)
    }

    fn settle(&self, health: &mut [Health], now: Moment) {
        let mut any = false;
        for one in health {
            any |= one.settle(now);
        }
        if any {
            self.changed();
        }
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn health(&self) -> MutexGuard<'_, Vec<Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    fn new(address: &sections::ServerAddress) -> Self {
        let literal = address.endpoint().and_then(|endpoint| endpoint.host.parse::<IpAddr>().ok());
        Self {
            address: address.clone(),
            name: address.to_string(),
            addresses: watch::Sender::new(literal.map(|ip| Arc::from([ip]))),
            failures: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            crowd: AtomicUsize::new(0),
            ejections: Counter::default(),
        }
    }

    /// A connection is opened.
    pub(super) fn open(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection has closed.
    pub(super) fn close(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Not more than half are ever left alone, and never the last that is well: if everybody fails, the fault is not theirs
/// alone, and leaving more of them alone would only make it worse.
fn can_be_spared(health: &[Health], at: usize) -> bool {
    let ejected = health.iter().filter(|health| health.is_ejected()).count();
    let others = health.iter().enumerate().any(|(other, health)| other != at && health.is_available());
    !health[at].is_ejected() && 2 * (ejected + 1) <= health.len() && others
}

fn enter(count: &AtomicUsize, limit: usize) -> bool {
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < limit).then(|| count.saturating_add(1)))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{ManualClock, Timestamp};

    struct Story {
        group: Group,
        clock: Arc<ManualClock>,
    }

    fn servers(count: u16) -> Story {
        with(count, |_| {})
    }

    fn with(count: u16, change: impl FnOnce(&mut sections::Upstream)) -> Story {
        let endpoint = |port| sections::Endpoint { host: "127.0.0.1".to_owned(), port };
        let mut section = sections::Upstream::new("app", (1..=count).map(endpoint).collect());
        change(&mut section);
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_000_000)));
        Story { group: Group::new(&section, clock.clone()).unwrap(), clock }
    }

    impl Story {
        fn fails(&self, at: usize, times: usize) {
            (0..times).for_each(|_| self.group.failed(at, &std::fmt::Error));
        }

        fn shares(&self) -> Vec<u32> {
            self.group.view().shares.to_vec()
        }

        fn later(&self, secs: u64) {
            self.clock.advance(Duration::from_secs(secs));
        }
    }

    #[test]
    fn five_failures_in_a_row_eject_and_an_answer_between_them_forgets() {
        let story = servers(2);
        story.fails(0, 4);
        story.group.answered(0);
        story.fails(0, 4);
        assert_eq!(story.shares(), [1000, 1000]);
        let before = story.group.generation();
        story.fails(0, 1);
        assert_eq!(story.shares(), [0, 1000]);
        assert!(story.group.generation() > before, "workers hear of it");
    }

    /// It would have been left alone, and the other one spared, until the day had come to the same hour again.
    #[test]
    fn a_server_is_left_alone_for_no_longer_because_the_clock_is_set_back() {
        let story = with(2, |section| section.slow_start = Duration::from_secs(10));
        story.fails(0, 5);
        story.clock.set(Timestamp::from_millis(1_000));
        story.later(10);
        assert_eq!(story.shares(), [100, 1000], "it comes back");
        story.clock.set(Timestamp::from_millis(0));
        story.later(10);
        assert_eq!(story.shares(), [1000, 1000]);
    }

    #[test]
    fn the_last_one_is_never_ejected() {
        let story = servers(1);
        story.fails(0, 100);
        assert_eq!(story.shares(), [1000]);
        let story = servers(2);
        story.fails(0, 100);
        story.fails(1, 100);
        assert_eq!(story.shares(), [0, 1000]);
    }

    #[test]
    fn not_more_than_half_are_ejected() {
        let story = servers(5);
        (0..5).for_each(|at| story.fails(at, 100));
        assert_eq!(story.shares(), [0, 0, 1000, 1000, 1000]);
    }

    #[test]
    fn the_last_one_that_the_checks_call_well_is_not_ejected() {
        let story = servers(4);
        for at in 1..4 {
            (0..3).for_each(|_| story.group.checked(at, Some("on trial")));
        }
        story.fails(0, 100);
        assert_eq!(story.shares(), [1000, 0, 0, 0]);
    }

    #[test]
    fn where_nobody_is_well_everybody_is_tried() {
        let story = with(2, |section| section.servers[1].weight = 3);
        for at in 0..2 {
            (0..3).for_each(|_| story.group.checked(at, Some("on trial")));
        }
        assert_eq!(story.shares(), [1000, 3000]);
    }

    #[test]
    fn who_comes_back_starts_slowly_and_is_out_again_at_the_first_failure() {
        let story = servers(2);
        story.fails(0, 5);
        story.later(10);
        assert_eq!(story.shares(), [100, 1000]);
        story.later(5);
        assert_eq!(story.shares(), [500, 1000]);
        story.fails(0, 1);
        assert_eq!(story.shares(), [0, 1000]);
        story.later(19);
        assert_eq!(story.shares(), [0, 1000], "twice as long as before");
        story.later(1);
        story.group.answered(0);
        story.fails(0, 4);
        assert_eq!(story.shares(), [100, 1000], "an answer makes up for it");
    }

    #[test]
    fn without_a_number_of_failures_nobody_is_ejected() {
        let story = with(2, |section| section.eject.failures = 0);
        story.fails(0, 1000);
        assert_eq!(story.shares(), [1000, 1000]);
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let story = with(1, |section| section.max_pending = 2);
        let first = story.group.wait();
        let _second = story.group.wait();
        assert!(first.is_some() && story.group.wait().is_none() && story.group.wait().is_none());
        drop(first);
        assert!(story.group.wait().is_some());
    }

    #[test]
    fn under_the_same_limit_open_connections_count_after_a_reload_too() {
        let story = with(1, |section| section.max_connections = 2);
        let _open = story.group.places[0].try_acquire().unwrap();
        let free = |limit| {
            let section = sections::Upstream { max_connections: limit, max_idle: 1, ..story.group.section.clone() };
            let group = story.group.changed_to(&section).unwrap();
            group.places.iter().map(|places| places.available_permits()).collect::<Vec<_>>()
        };
        assert_eq!([free(2), free(5), free(0)], [vec![1], vec![5], vec![]]);
    }
}
