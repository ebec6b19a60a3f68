//! Servers that are called by a name, which may lead elsewhere tomorrow.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use wxgate::{
    config::sections::Endpoint,
    upstream::{Lookup, Resolver},
};

use super::{OK, servers};
use crate::support::{
    Recorder, TestGateway,
    client::head,
    oracle::hears_its_own,
    until,
    upstream::{Then, answer},
};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Nobody listens there.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// After this the server closes the connection, so that each request needs one of its own.
const LAST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

/// A resolver that knows one name.
#[derive(Debug, Default)]
struct Book {
    addresses: Mutex<Vec<IpAddr>>,
    /// How often it was looked into.
    asked: AtomicUsize,
}

impl Book {
    fn leading_to(addresses: &[IpAddr]) -> Arc<Self> {
        Arc::new(Self { addresses: Mutex::new(addresses.to_vec()), asked: AtomicUsize::new(0) })
    }

    fn leads_to(&self, addresses: &[IpAddr]) {
        *self.addresses.lock().unwrap() = addresses.to_vec();
    }

    /// Waits until somebody knows what it says now: whoever asks for the second time has heard what he was told the first time.
    fn is_known(&self) {
        let before = self.asked.load(Ordering::SeqCst);
        until("two more look-ups", || (self.asked.load(Ordering::SeqCst) >= before + 2).then_some(()));
    }
}

impl Resolver for Book {
    fn look_up<'a>(&'a self, host: &'a str) -> Lookup<'a> {
        assert_eq!(host, "app.internal");
        self.asked.fetch_add(1, Ordering::SeqCst);
        let found = self.addresses.lock().unwrap().clone();
        Box::pin(async move { if found.is_empty() { Err(io::Error::other("no such name")) } else { Ok(found) } })
    }
}

/// A server at this port, called by its name.
fn gateway(book: &Arc<Book>, port: u16) -> TestGateway {
    TestGateway::where_names_lead(book.clone(), |config| {
        config.server.workers = 1;
        let server = Endpoint { host: "app.internal".to_owned(), port };
        config.upstreams[0].servers = vec![server.into()];
        config.upstreams[0].dns_refresh = Duration::from_millis(20);
        config.upstreams[0].idle_timeout = Duration::from_hours(1);
    })
}

fn recorder(addr: SocketAddr) -> Recorder {
    let recorder = Recorder::at(addr);
    recorder.answers(OK);
    recorder
}

#[test]
fn a_server_that_moves_is_followed_and_connections_to_the_old_place_are_let_go() {
    let old = recorder((HERE, 0).into());
    let new = recorder((THERE, old.addr().port()).into());
    let book = Book::leading_to(&[HERE]);
    let gw = gateway(&book, old.addr().port());
    (0..10).for_each(|_| assert_eq!(gw.client().get("/public/").status, 200));
    assert_eq!((old.count(), new.count()), (10, 0));
    book.leads_to(&[THERE]);
    until("the first request there", || {
        assert_eq!(gw.client().get("/public/").status, 200);
        (new.count() > 0).then_some(())
    });
    until("the old connections to close", || (old.open() == 0).then_some(()));
    assert_eq!(servers(&gw)[0].addresses, [THERE]);
}

#[test]
fn a_name_that_leads_nowhere_yet_is_502_until_it_leads_somewhere() {
    let server = recorder((HERE, 0).into());
    let book = Book::leading_to(&[]);
    let gw = gateway(&book, server.addr().port());
    let reply = gw.client().post("/public/", "x");
    assert_eq!(reply.code(), "upstream_unreachable");
    assert!(gw.log.line("no address of").contains("app.internal"));
    book.leads_to(&[HERE]);
    until("an answer", || (gw.client().get("/public/").status == 200).then_some(()));
}

#[test]
fn a_name_that_can_not_be_looked_up_any_more_leads_where_it_led() {
    let server = recorder((HERE, 0).into());
    let book = Book::leading_to(&[HERE]);
    let gw = gateway(&book, server.addr().port());
    assert_eq!(gw.client().get("/public/").status, 200, "also right after the start");
    server.answers(LAST);
    book.leads_to(&[]);
    book.is_known();
    let before = server.connections();
    (0..30).for_each(|_| assert_eq!(gw.client().get("/public/").status, 200));
    assert!(server.connections() >= before + 29, "the one that was kept carried no more than the first of them");
    assert_eq!(servers(&gw)[0].addresses, [HERE]);
}

/// The old place is given up before the name leads elsewhere, as it is when a container is started anew.
#[test]
fn while_a_server_moves_each_client_hears_its_own_or_that_it_is_away() {
    let old = recorder((HERE, 0).into());
    let new = recorder((THERE, old.addr().port()).into());
    for server in [&old, &new] {
        server.does(|seen, out| {
            let path = &seen.target;
            answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()))
        });
    }
    let book = Book::leading_to(&[HERE]);
    let gw = gateway(&book, old.addr().port());
    let ask = |path: &str, told: &[&str]| {
        hears_its_own(gw.client(), &head("GET", path, &[], 0), path, "a server moves", told);
    };
    thread::scope(|scope| {
        for client in 0..6 {
            let (ask, new, mut n) = (&ask, &new, 0);
            scope.spawn(move || {
                until("many requests there", || {
                    n += 1;
                    ask(&format!("/public/{client}-{n}"), &["upstream_unreachable"]);
                    (new.count() > 50).then_some(())
                });
            });
        }
        old.wait_for(50);
        old.does(|_, _| Then::Close);
        book.leads_to(&[THERE]);
    });
    book.is_known();
    (0..20).for_each(|n| ask(&format!("/public/after-{n}"), &[]));
}

#[test]
fn all_addresses_of_a_name_are_used_and_a_dead_one_is_passed_over() {
    let one = recorder((HERE, 0).into());
    let other = recorder((THERE, one.addr().port()).into());
    let gw = gateway(&Book::leading_to(&[HERE, THERE, NOWHERE]), one.addr().port());
    for server in [&one, &other] {
        server.answers(LAST);
    }
    (0..30).for_each(|_| assert_eq!(gw.client().get("/public/").status, 200));
    assert!(one.count() >= 10 && other.count() >= 10, "{} {}", one.count(), other.count());
}
