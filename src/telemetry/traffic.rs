//! What the workers count of the requests they answer: each in cells of its own, added up when somebody asks.
//!
//! It is on the path of every request. So a worker writes only where no other writes, hashes no label, and finds each cell
//! by numbers it has at hand. Which number stands for what is decided by whoever counts; the names are only read out.

mod worker;

use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

pub use worker::{OpenConnection, OpenTunnel, WorkerTraffic};

use super::{
    histogram::{Histogram, Reading, raise_alone},
    tunnels::{TunnelCells, TunnelCounts},
};

/// Where a request went.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    words: Words,
}

/// The words that stay while routes come and go.
#[derive(Clone, Debug)]
struct Words {
    endpoints: Vec<&'static str>,
    classes: &'static [&'static str],
    logins: &'static [&'static str],
    limits: &'static [&'static str],
}

impl Names {
    fn new(routes: &[String], words: Words) -> Self {
        let (mut places, mut known) = (Vec::new(), HashMap::new());
        let place_of = |label: &String| {
            *known.entry(label.clone()).or_insert_with(|| {
                places.push(Place::Route(label.clone()));
                places.len() - 1
            })
        };
        let routes = routes.iter().map(place_of).collect();
        places.extend(words.endpoints.iter().map(|name| Place::Endpoint(name)));
        places.push(Place::Nowhere);
        Self { places, routes, words }
    }

    fn endpoint(&self, name: &str) -> Option<usize> {
        self.places.iter().position(|place| matches!(place, Place::Endpoint(endpoint) if *endpoint == name))
    }

    fn nowhere(&self) -> usize {
        self.places.len() - 1
    }
}

/// What all workers have counted, by the routes of one configuration and of those before it.
#[derive(Debug)]
pub struct Traffic {
    names: Arc<Names>,
    all: Arc<Mutex<All>>,
}

#[derive(Debug, Default)]
struct All {
    workers: Vec<Arc<Cells>>,
    rows: Vec<(Arc<Names>, Arc<Rows>)>,
    /// Of rows that nobody counts in any more.
    past: Sums,
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
        let words = Words { endpoints: endpoints.to_vec(), classes, logins, limits };
        Self { names: Arc::new(Names::new(routes, words)), all: Arc::default() }
    }

    /// The same for other routes. What was counted stays, also of routes that are no more: their requests may be under way,
    /// and they may come back.
    #[must_use]
    pub fn rerouted(&self, routes: &[String]) -> Self {
        Self { names: Arc::new(Names::new(routes, self.names.words.clone())), all: Arc::clone(&self.all) }
    }

    /// Cells for the worker whose thread this is.
    pub fn worker(&self) -> WorkerTraffic {
        let cells = Arc::new(Cells::new(&self.names));
        self.all().workers.push(Arc::clone(&cells));
        self.counting_in(cells)
    }

    /// Cells for a worker that has counted by other routes before.
    pub fn following(&self, before: &WorkerTraffic) -> WorkerTraffic {
        self.counting_in(Arc::clone(&before.cells))
    }

    fn counting_in(&self, cells: Arc<Cells>) -> WorkerTraffic {
        let (names, rows) = (Arc::clone(&self.names), Arc::new(Rows::new(&self.names)));
        let mut all = self.all();
        // Also where nobody reads the metrics.
        all.settle();
        all.rows.push((Arc::clone(&names), Arc::clone(&rows)));
        drop(all);
        WorkerTraffic { names, cells, rows, one_thread: PhantomData }
    }

    /// Adds up what the workers have counted so far.
    pub fn read(&self) -> Counted {
        let words = &self.names.words;
        let (mut counted, mut sums) = (Counted::default(), Sums::default());
        // Those that there are come first, in their order.
        self.names.places.iter().for_each(|place| _ = sums.number(place, words));
        let mut logins = vec![0; words.logins.len()];
        let mut all = self.all();
        all.settle();
        sums.add(&all.past.places, &all.past.requests, &all.past.limited, words);
        for (names, rows) in &all.rows {
            rows.add_to(&mut sums, names);
        }
        for cells in &all.workers {
            cells.logins.add_to(&mut logins);
            counted.own.add(&cells.own.read());
            counted.upstream.add(&cells.upstream.read());
            cells.tunnels.add_to(&mut counted.tunnels);
            // The closed first: read the other way round, there could be more of them than were accepted.
            let closed = cells.closed.load(Ordering::Relaxed);
            let accepted = cells.accepted.load(Ordering::Relaxed);
            counted.accepted += accepted;
            counted.open += accepted.saturating_sub(closed);
        }
        drop(all);
        let by_place = sums.places.iter().flat_map(|place| words.classes.iter().map(move |class| (place, *class)));
        counted.requests = by_place.zip(&sums.requests).map(|((place, class), n)| (place.clone(), class, *n)).collect();
        let by_limit = sums.places.iter().flat_map(|place| words.limits.iter().map(move |limit| (place, *limit)));
        let of_routes = by_limit.zip(&sums.limited).filter_map(|((place, limit), n)| match place {
            Place::Route(label) => Some((label.clone(), limit, *n)),
            Place::Endpoint(_) | Place::Nowhere => None,
        });
        counted.limited = of_routes.collect();
        counted.logins = words.logins.iter().copied().zip(logins).collect();
        counted
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    /// Adds the rows that their workers have left to those of the past, so that they don't pile up.
    fn settle(&mut self) {
        let past = &mut self.past;
        self.rows.retain_mut(|(names, rows)| {
            let is_left = Arc::get_mut(rows).is_some();
            if is_left {
                rows.add_to(past, names);
            }
            !is_left
        });
    }
}

/// Sums by place, in the order in which the places came up.
#[derive(Debug, Default)]
struct Sums {
    numbers: HashMap<Place, usize>,
    places: Vec<Place>,
    requests: Vec<u64>,
    limited: Vec<u64>,
}

impl Sums {
    fn number(&mut self, place: &Place, words: &Words) -> usize {
        if let Some(number) = self.numbers.get(place) {
            return *number;
        }
        let number = self.places.len();
        self.numbers.insert(place.clone(), number);
        self.places.push(place.clone());
        self.requests.resize((number + 1) * words.classes.len(), 0);
        self.limited.resize((number + 1) * words.limits.len(), 0);
        number
    }

    fn add(&mut self, places: &[Place], requests: &[u64], limited: &[u64], words: &Words) {
        let (classes, limits) = (words.classes.len().max(1), words.limits.len().max(1));
        for ((place, requests), limited) in places.iter().zip(requests.chunks(classes)).zip(limited.chunks(limits)) {
            let number = self.number(place, words);
            self.requests[number * classes..].iter_mut().zip(requests).for_each(|(sum, n)| *sum += n);
            self.limited[number * limits..].iter_mut().zip(limited).for_each(|(sum, n)| *sum += n);
        }
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
    /// Tunnels, which a WebSocket is to us.
    pub tunnels: TunnelCounts,
}

/// One worker's cells, on cache lines that no other thread's data is on.
#[derive(Debug)]
#[repr(align(128))]
struct Cells {
    logins: Row,
    own: Histogram,
    upstream: Histogram,
    accepted: AtomicU64,
    closed: AtomicU64,
    tunnels: TunnelCells,
}

impl Cells {
    fn new(names: &Names) -> Self {
        Self {
            logins: Row::new(names.words.logins.len()),
            own: Histogram::default(),
            upstream: Histogram::default(),
            accepted: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            tunnels: TunnelCells::default(),
        }
    }
}

/// One worker's cells for the routes of one configuration.
#[derive(Debug)]
struct Rows {
    /// By place, and there by class.
    requests: Row,
    /// By place, and there by limit.
    limited: Row,
}

impl Rows {
    fn new(names: &Names) -> Self {
        let cells = |words: &[&str]| Row::new(names.places.len() * words.len());
        Self { requests: cells(names.words.classes), limited: cells(names.words.limits) }
    }

    fn add_to(&self, sums: &mut Sums, names: &Names) {
        let read = |row: &Row, words: &[&str]| {
            let mut counts = vec![0; names.places.len() * words.len()];
            row.add_to(&mut counts);
            counts
        };
        let (requests, limited) = (read(&self.requests, names.words.classes), read(&self.limited, names.words.limits));
        sums.add(&names.places, &requests, &limited, &names.words);
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

#[cfg(test)]
mod tests {
    use std::{rc::Rc, time::Duration};

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
    fn what_was_counted_stays_while_routes_come_and_go() {
        let first = traffic(&["/a", "/b"]);
        let before = first.worker();
        before.request(Some(0), None, 0);
        before.request(Some(1), None, 0);
        let second = first.rerouted(&["/b".to_owned(), "/c".to_owned()]);
        let after = second.following(&before);
        after.request(Some(0), None, 0);
        after.limited(1, "ip");
        let place = |label: &str| Place::Route(label.to_owned());
        let sums = [(place("/b"), "2xx", 2), (place("/a"), "2xx", 1)];
        assert_eq!(requests(&second), sums);
        // A request of before that ends late still counts for its own route.
        before.request(Some(0), None, 0);
        drop(before);
        let sums = [(place("/b"), "2xx", 2), (place("/a"), "2xx", 2)];
        for _ in 0..2 {
            assert_eq!(requests(&second), sums);
        }
        assert_eq!(second.all().rows.len(), 1, "what nobody counts in is kept as a sum");
        assert!(second.read().limited.contains(&("/c".to_owned(), "ip", 1)));
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
