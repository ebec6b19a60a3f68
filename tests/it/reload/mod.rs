//! Another configuration for a gateway that runs: what it changes, and what it leaves alone.

mod files;
mod kept;
mod taken;

use wxgate::config::{Change, Config};

use crate::support::TestGateway;

/// A gateway with one worker, so that what one request shows is true of all that come after it.
fn gateway(change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::with(|config| {
        config.server.workers = 1;
        change(config);
    })
}

/// What was taken over, in words.
fn applied(change: &Change) -> Vec<String> {
    change.applied.iter().map(ToString::to_string).collect()
}

/// The value of a metric, which has this name and these labels.
fn metric(gw: &TestGateway, name: &str) -> Option<u64> {
    let page = gw.admin().get("/metrics").text();
    let line = page.lines().find(|line| line.starts_with(name) && line[name.len()..].starts_with(' '))?;
    line.rsplit(' ').next()?.parse().ok()
}
