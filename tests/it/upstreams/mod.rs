//! Several servers: which one a request goes to, what happens when one fails, and what is sent twice.

mod changes;
mod choice;
mod failing;
mod faults;
mod health;
mod limits;
mod names;
mod retries;
mod sockets;
mod state;
mod tls;

use std::time::Duration;

use wxgate::{
    config::sections::{Upstream, UpstreamServer},
    upstream::{ServerStatus, Standing},
};

use crate::support::{Recorder, TestGateway, cable::Cable, endpoint, until, upstream::Then};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server of its own, behind a cable.
struct Backend {
    recorder: Recorder,
    cable: Cable,
}

impl Backend {
    fn start() -> Self {
        let recorder = Recorder::start();
        recorder.answers(OK);
        let cable = Cable::to(recorder.addr());
        Self { recorder, cable }
    }

    fn server(&self) -> UpstreamServer {
        endpoint(self.cable.addr()).into()
    }
}

/// One worker, and these servers.
fn gateway(backends: &[&Backend], change: impl FnOnce(&mut Upstream)) -> TestGateway {
    TestGateway::with(|config| {
        config.server.workers = 1;
        config.upstreams[0].servers = backends.iter().map(|backend| backend.server()).collect();
        change(&mut config.upstreams[0]);
    })
}

/// Checked every now and then, and soon.
pub(crate) fn checked(upstream: &mut Upstream) {
    upstream.health.path = Some("/health".to_owned());
    upstream.health.interval = Duration::from_millis(20);
    upstream.health.timeout = Duration::from_millis(500);
    upstream.response_timeout = Duration::from_millis(500);
    upstream.idle_timeout = Duration::from_hours(1);
    upstream.slow_start = Duration::ZERO;
    // Nobody is to fail here because others have failed before.
    upstream.retry.percent = 100;
    upstream.retry.min_per_second = 1000;
}

/// How the servers of the first upstream stand.
fn servers(gw: &TestGateway) -> Vec<ServerStatus> {
    gw.app().upstreams().status().swap_remove(0).servers
}

fn standings(gw: &TestGateway) -> Vec<Standing> {
    servers(gw).iter().map(|server| server.standing).collect()
}

/// Waits until the servers stand so.
fn until_they_stand(gw: &TestGateway, wanted: &[Standing]) {
    until(&format!("{wanted:?}"), || (standings(gw) == wanted).then_some(()));
}

/// Closes a connection without a word.
fn hang_up(recorder: &Recorder) {
    recorder.does(|_, _| Then::Close);
}
