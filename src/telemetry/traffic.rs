//! What the workers count of the requests they answer: each in cells of its own, added up when somebody asks.
//!
//! It is on the path of every request. So a worker writes only where no other writes, hashes no label, and finds each cell
//! by numbers it has at hand. Which number stands for what is decided by whoever counts; the names are only read out.

use std::{
    marker::PhantomData,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::histogram::{Histogram, Reading, raise_alone};

/// Where a request went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// To the upstream of the route with this label.
    Route(String),
    /// To the endpoint of ours with this name.
    Endpoint(&'static str),
    /// Nowhere: it was refused before, or no route was for it.
    Nowhere,
}

/// What there is to count by.
#[derive(Debug)]
struct Names {
    places: Vec<Place>,
    /// The place of each route in match order. Two routes with one label have one place.
    routes: Vec<usize>,
    classes: &'static [&'static str],
    logins: &'static [&'static str],
    limits: &'static [&'static str],
}

impl Names {
    fn endpoint(&self, name: &str) -> Option<usize> {
        self.places.iter().position(|place| matches!(place, Place::Endpoint(endpoint) if *endpoint == name))
    }

    fn nowhere(&self) -> usize {
        self.places.len() - 1
    }
}

/// What all workers have counted.
#[derive(Debug)]
pub struct Traffic {
    names: Arc<Names>,
    workers: Mutex<Vec<Arc<Cells>>>,
}

impl Traffic {
    /// Counts the requests of these routes and endpoints by these classes of answers, logins by these outcomes, and
    /// requests that a route's limit refused by these limits. What is none of the words of a list counts as its last one.
    pub fn new(
        routes: &[String],
        endpoints: &[&'static str],
        classes: &'static [&'static str],
        logins: &'static [&'static str],
        limits: &'static [&'static str],
    ) -> Self {
        let mut places = Vec::new();
        let mut place_of = |label: &String| {
            let place = Place::Route(label.clone());
            places.iter().position(|known| *known == place).unwrap_or_else(|| {
                places.push(place);
                places.len() - 1
            })
        };
        let routes = routes.iter().map(&mut place_of).collect();
        places.extend(endpoints.iter().map(|name| Place::Endpoint(name)));
        places.push(Place::Nowhere);
        Self { names: Arc::new(Names { places, routes, classes, logins, limits }), workers: Mutex::default() }
    }

    /// Cells for the worker whose thread this is.
    pub fn worker(&self) -> WorkerTraffic {
        let cells = Arc::new(Cells::new(&self.names));
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&cells));
        WorkerTraffic { names: Arc::clone(&self.names), cells, one_thread: PhantomData }
    }

    /// Adds up what the workers have counted so far.
    pub fn read(&self) -> Counted {
        let names = &self.names;
        let mut counted = Counted::default();
        let mut requests = vec![0; names.places.len() * names.classes.len()];
        let mut logins = vec![0; names.logins.len()];
        let mut limited = vec![0; names.places.len() * names.limits.len()];
        for cells in self.workers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            cells.requests.add_to(&mut requests);
            cells.logins.add_to(&mut logins);
            cells.limited.add_to(&mut limited);
            counted.own.add(&cells.own.read());
            counted.upstream.add(&cells.upstream.read());
            // The closed first: read the other way round, there could be more of them than were accepted.
            let closed = cells.closed.load(Ordering::Relaxed);
            let accepted = cells.accepted.load(Ordering::Relaxed);
            counted.accepted += accepted;
            counted.open += accepted.saturating_sub(closed);
        }
        let by_place = names.places.iter().flat_map(|place| names.classes.iter().map(move |class| (place, *class)));
        counted.requests = by_place.zip(requests).map(|((place, class), n)| (place.clone(), class, n)).collect();
        let routes = names.places.iter().filter_map(|place| match place {
            Place::Route(label) => Some(label),
            Place::Endpoint(_) | Place::Nowhere => None,
        });
        let by_limit = routes.flat_map(|label| names.limits.iter().map(move |limit| (label.clone(), *limit)));
        counted.limited = by_limit.zip(limited).map(|((label, limit), n)| (label, limit, n)).collect();
        counted.logins = names.logins.iter().copied().zip(logins).collect();
        counted
    }
}

/// What was counted, by name.
#[derive(Debug, Default)]
pub struct Counted {
    /// Requests by where they went and what class of answer they got.
    pub requests: Vec<(Place, &'static str, u64)>,
    /// Logins by what came of them.
    pub logins: Vec<(&'static str, u64)>,
    /// Requests that a limit of their route refused, by the route's label and the limit.
    pub limited: Vec<(String, &'static str, u64)>,
    /// How long requests took until the head of their answer, the wait for an upstream left out.
    pub own: Reading,
    /// How long upstreams took to the head of their answer.
    pub upstream: Reading,
    /// Connections that came in.
    pub accepted: u64,
    /// Connections that are open now.
    pub open: u64,
}

/// One worker's cells, on cache lines that no other thread's data is on.
#[derive(Debug)]
#[repr(align(128))]
struct Cells {
    /// By place, and there by class.
    requests: Row,
    logins: Row,
    /// By place, and there by limit. Routes come first among the places.
    limited: Row,
    own: Histogram,
    upstream: Histogram,
    accepted: AtomicU64,
    closed: AtomicU64,
}

impl Cells {
    fn new(names: &Names) -> Self {
        Self {
            requests: Row::new(names.places.len() * names.classes.len()),
            logins: Row::new(names.logins.len()),
            limited: Row::new(names.places.len() * names.limits.len()),
            own: Histogram::default(),
            upstream: Histogram::default(),
            accepted: AtomicU64::new(0),
            closed: AtomicU64::new(0),
        }
    }
}

/// As many cells as there are names for, and some more up to the end of a line.
#[derive(Debug)]
struct Row(Box<[Line]>);

/// A pair of cache lines, which processors fetch together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([AtomicU64; CELLS]);

const CELLS: usize = 16;

impl Row {
    fn new(cells: usize) -> Self {
        Self((0..cells.div_ceil(CELLS)).map(|_| Line::default()).collect())
    }

    fn raise(&self, at: usize) {
        if let Some(line) = self.0.get(at / CELLS) {
            raise_alone(&line.0[at % CELLS], 1);
        }
    }

    fn add_to(&self, sums: &mut [u64]) {
        for (sum, cell) in sums.iter_mut().zip(self.0.iter().flat_map(|line| &line.0)) {
            *sum += cell.load(Ordering::Relaxed);
        }
    }
}

/// The right to write one worker's cells. It can't be cloned and stays on its thread: that nobody else writes is what lets
/// it do without locked instructions.
#[derive(Debug)]
pub struct WorkerTraffic {
    names: Arc<Names>,
    cells: Arc<Cells>,
    one_thread: PhantomData<Rc<()>>,
}

impl WorkerTraffic {
    /// A request is over: it went to this route, by its place in match order, or to this endpoint, or nowhere; and its
    /// answer was of this class, by its place in the list.
    pub fn request(&self, route: Option<usize>, endpoint: Option<&str>, class: usize) {
        let route = route.and_then(|route| self.names.routes.get(route).copied());
        let place = route.or_else(|| self.names.endpoint(endpoint?)).unwrap_or_else(|| self.names.nowhere());
        let class = class.min(self.names.classes.len().saturating_sub(1));
        self.cells.requests.raise(place * self.names.classes.len() + class);
    }

    /// A login came to this.
    pub fn login(&self, outcome: &str) {
        let logins = self.names.logins;
        let at = logins.iter().position(|known| *known == outcome).unwrap_or(logins.len().saturating_sub(1));
        self.cells.logins.raise(at);
    }

    /// A request of this route, by its place in match order, was refused by this limit.
    pub fn limited(&self, route: usize, limit: &str) {
        let Some(place) = self.names.routes.get(route) else { return };
        let limits = self.names.limits;
        let at = limits.iter().position(|known| *known == limit).unwrap_or(limits.len().saturating_sub(1));
        self.cells.limited.raise(place * limits.len() + at);
    }

    /// The head of an answer is there: after so long with us, and, where an upstream was asked, so long with it.
    pub fn answered(&self, own: Duration, upstream: Option<Duration>) {
        self.cells.own.observe_alone(own);
        if let Some(upstream) = upstream {
            self.cells.upstream.observe_alone(upstream);
        }
    }

    /// A connection has come in. It counts as open for as long as the guard lives.
    pub fn connection(self: &Rc<Self>) -> OpenConnection {
        raise_alone(&self.cells.accepted, 1);
        OpenConnection(Rc::clone(self))
    }
}

/// An open connection.
#[derive(Debug)]
pub struct OpenConnection(Rc<WorkerTraffic>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        raise_alone(&self.0.cells.closed, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(routes: &[&str]) -> Traffic {
        let routes: Vec<String> = routes.iter().map(|label| (*label).to_owned()).collect();
        Traffic::new(&routes, &["verify"], &["2xx", "other"], &["success", "other"], &["ip", "user"])
    }

    fn requests(traffic: &Traffic) -> Vec<(Place, &'static str, u64)> {
        traffic.read().requests.into_iter().filter(|(_, _, n)| *n > 0).collect()
    }

    #[test]
    fn what_several_workers_count_adds_up() {
        let traffic = traffic(&["/a", "/b"]);
        let (one, other) = (traffic.worker(), traffic.worker());
        one.request(Some(1), None, 0);
        other.request(Some(1), None, 0);
        other.request(None, Some("verify"), 1);
        one.request(None, None, 1);
        one.login("success");
        other.login("success");
        let (route, endpoint) = (Place::Route("/b".to_owned()), Place::Endpoint("verify"));
        let expected = [(route, "2xx", 2), (endpoint, "other", 1), (Place::Nowhere, "other", 1)];
        assert_eq!(requests(&traffic), expected);
        assert_eq!(traffic.read().logins, [("success", 2), ("other", 0)]);
    }

    #[test]
    fn what_has_no_name_counts_as_the_last_of_its_list() {
        let traffic = traffic(&["/a"]);
        let worker = traffic.worker();
        worker.request(Some(7), None, 99);
        worker.request(None, Some("unheard of"), 99);
        worker.login("unheard of");
        assert_eq!(requests(&traffic), [(Place::Nowhere, "other", 2)]);
        assert_eq!(traffic.read().logins, [("success", 0), ("other", 1)]);
    }

    #[test]
    fn many_routes_are_each_counted_in_a_cell_of_their_own() {
        let labels: Vec<String> = (0..100).map(|n| format!("/{n}")).collect();
        let traffic = traffic(&labels.iter().map(String::as_str).collect::<Vec<_>>());
        let worker = traffic.worker();
        for route in 0..100 {
            worker.request(Some(route), None, route % 2);
        }
        let class = |n: usize| ["2xx", "other"][n % 2];
        let expected: Vec<_> = (0..100).map(|n| (Place::Route(labels[n].clone()), class(n), 1)).collect();
        assert_eq!(requests(&traffic), expected);
    }

    #[test]
    fn two_routes_with_one_label_are_one_place() {
        let traffic = traffic(&["/a", "/b", "/a"]);
        let worker = traffic.worker();
        for route in 0..3 {
            worker.request(Some(route), None, 0);
        }
        let place = |label: &str| Place::Route(label.to_owned());
        assert_eq!(requests(&traffic), [(place("/a"), "2xx", 2), (place("/b"), "2xx", 1)]);
    }

    #[test]
    fn what_limits_refuse_is_counted_by_route_and_limit() {
        let traffic = traffic(&["/a", "/b", "/a"]);
        let (one, other) = (traffic.worker(), traffic.worker());
        for (route, limit) in [(0, "ip"), (2, "ip"), (1, "user"), (7, "user")] {
            one.limited(route, limit);
        }
        other.limited(0, "user");
        let counted: Vec<_> =
            traffic.read().limited.into_iter().map(|(label, limit, n)| (label + " " + limit, n)).collect();
        let expected = [("/a ip", 2), ("/a user", 1), ("/b ip", 0), ("/b user", 1)];
        assert_eq!(counted, expected.map(|(name, n)| (name.to_owned(), n)));
    }

    #[test]
    fn a_connection_is_open_until_it_is_dropped() {
        let traffic = traffic(&[]);
        let worker = Rc::new(traffic.worker());
        let (one, other) = (worker.connection(), worker.connection());
        drop(one);
        assert_eq!((traffic.read().accepted, traffic.read().open), (2, 1));
        drop(other);
        assert_eq!((traffic.read().accepted, traffic.read().open), (2, 0));
    }

    #[test]
    fn time_with_us_and_time_with_an_upstream_are_two_things() {
        let traffic = traffic(&[]);
        let worker = traffic.worker();
        worker.answered(Duration::from_millis(1), None);
        worker.answered(Duration::from_millis(2), Some(Duration::from_secs(1)));
        let counted = traffic.read();
        assert_eq!((counted.own.count(), counted.upstream.count()), (2, 1));
        assert_eq!(
            (counted.own.seconds().to_string(), counted.upstream.seconds().to_string()),
            ("0.003".into(), "1".into())
        );
    }
}
