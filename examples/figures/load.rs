//! An open loop: when each request is sent is planned ahead, whatever became of those before it, and its latency counts
//! from the moment that was planned. So who is slow for a while is slow for all who would have come meanwhile.

use std::{fs, io, net::SocketAddr, path::Path, thread, time::Duration};

use tokio::time::Instant;

use super::lean::Wire;

/// Between the planning and the first request, so that every thread is there.
const HEAD_START: Duration = Duration::from_millis(50);

/// Requests at a fixed rate.
pub(super) struct Load<'a> {
    pub(super) addr: SocketAddr,
    pub(super) token: &'a str,
    /// Requests per second.
    pub(super) rate: u32,
    /// On so many connections, each a thread.
    pub(super) connections: u32,
    /// Whether each request has a connection of its own.
    pub(super) is_fresh: bool,
    pub(super) length: Duration,
}

/// How long they took.
pub(super) struct Latencies {
    sorted: Vec<Duration>,
    /// How many were not answered with 200.
    pub(super) failed: usize,
}

impl Load<'_> {
    pub(super) fn run(&self) -> Latencies {
        let begin = Instant::now() + HEAD_START;
        let lanes: Vec<Lane> = thread::scope(|scope| {
            let lanes: Vec<_> = (0..self.connections).map(|lane| scope.spawn(move || self.lane(lane, begin))).collect();
            lanes.into_iter().filter_map(|lane| lane.join().ok()).collect()
        });
        let mut sorted: Vec<Duration> = lanes.iter().flat_map(|lane| &lane.took).copied().collect();
        sorted.sort_unstable();
        Latencies { sorted, failed: lanes.iter().map(|lane| lane.failed).sum() }
    }

    /// What one connection has to do.
    fn lane(&self, number: u32, begin: Instant) -> Lane {
        // Otherwise it sleeps 50 µs longer than it is told to. Where that can't be had it is only less exact.
        let _ = sleep_exactly();
        let request = format!(
            "GET /api/items?x=1 HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {}\r\n\r\n",
            self.token
        );
        let mut lane = Lane { wire: None, took: Vec::new(), failed: 0 };
        for turn in 0.. {
            let at = f64::from(turn * self.connections + number) / f64::from(self.rate);
            let planned = begin + Duration::from_secs_f64(at);
            if planned >= begin + self.length {
                break;
            }
            thread::sleep(planned.saturating_duration_since(Instant::now()));
            match lane.ask(self.addr, request.as_bytes()) {
                Ok(()) => lane.took.push(planned.elapsed()),
                Err(_) => lane.failed += 1,
            }
            if self.is_fresh {
                lane.wire = None;
            }
        }
        lane
    }
}

struct Lane {
    wire: Option<Wire>,
    took: Vec<Duration>,
    failed: usize,
}

impl Lane {
    fn ask(&mut self, addr: SocketAddr, request: &[u8]) -> io::Result<()> {
        let mut wire = self.wire.take().map_or_else(|| Wire::connect(addr), Ok)?;
        wire.send(request)?;
        let is_fine = wire.head()?.starts_with(b"HTTP/1.1 200 ");
        wire.body(|_| {})?;
        self.wire = Some(wire);
        if is_fine { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

impl Latencies {
    pub(super) fn count(&self) -> usize {
        self.sorted.len()
    }

    /// In µs, what so many of a thousand did not exceed.
    pub(super) fn at(&self, per_mille: usize) -> f64 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get(last * per_mille / 1000).map_or(f64::NAN, |took| took.as_secs_f64() * 1e6)
    }
}

fn sleep_exactly() -> io::Result<()> {
    let own = fs::read_link("/proc/thread-self")?;
    let thread = own.file_name().ok_or(io::ErrorKind::NotFound)?;
    fs::write(Path::new("/proc").join(thread).join("timerslack_ns"), "1")
}
