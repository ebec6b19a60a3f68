//! What finding the route costs: a path read into its one form, and the table asked, as each request does.

#![expect(clippy::expect_used, reason = "a bench that can't be set up has nothing to measure")]

use divan::{Bencher, black_box};
use http::Method;
use wxgate::{
    config::sections::{HostPattern, Route},
    routing::{Table, canonicalise},
};

const ROUTES: [usize; 2] = [10, 1000];

fn main() {
    divan::main();
}

/// As clients send them: nothing to mend.
#[divan::bench]
fn canonicalise_a_plain_path(bencher: Bencher) {
    bencher.bench_local(|| canonicalise(black_box("/shop/v2/orders/4711/items")).is_ok());
}

/// With something to mend, so that a new path has to be written.
#[divan::bench]
fn canonicalise_a_path_to_mend(bencher: Bencher) {
    bencher.bench_local(|| canonicalise(black_box("/shop//v2/./%6frders/4711/items")).is_ok());
}

/// The longest of several prefixes, on a host of its own.
#[divan::bench(args = ROUTES)]
fn find_a_deep_route(bencher: Bencher, routes: usize) {
    let table = table(routes);
    let path = format!("/shop/v{}/orders/4711/items", routes / 2);
    bencher.bench_local(|| found(&table, &path));
}

/// Nothing on the way down fits, so the root's route takes it.
#[divan::bench(args = ROUTES)]
fn fall_back_to_the_root(bencher: Bencher, routes: usize) {
    let table = table(routes);
    bencher.bench_local(|| found(&table, "/nowhere/near/any/route"));
}

/// Both steps, as a request takes them.
#[divan::bench(args = ROUTES)]
fn canonicalise_and_find(bencher: Bencher, routes: usize) {
    let table = table(routes);
    let received = format!("/shop/v{}/orders/4711/items", routes / 2);
    bencher.bench_local(|| {
        let path = canonicalise(black_box(&received)).expect("a plain path");
        found(&table, path.as_str())
    });
}

fn found(table: &Table, path: &str) -> bool {
    table.find(black_box("api.example.com"), black_box(path), &Method::GET).is_some()
}

/// So many routes, half of them for a host, and one for everything.
fn table(routes: usize) -> Table {
    let host = HostPattern::Exact("api.example.com".to_owned());
    let mut all: Vec<Route> = (1..routes)
        .map(|n| Route {
            host: n.is_multiple_of(2).then(|| host.clone()),
            ..Route::new(format!("/shop/v{n}/orders/"), "app")
        })
        .collect();
    all.push(Route::new("/", "app"));
    Table::new(&all, &["app"]).expect("the upstream is there")
}
