//! Figures beside the cost of a request: an echo through a WebSocket, a second worker, latency at fixed rates, and what
//! hostile clients do to others.
//!
//! It needs Linux, nginx, taskset, and for the workers wrk, openssl and strace. Two processors are enough: what is
//! measured is alone on the first where that is said, and load and backend are on the second. Proxies take turns, round
//! by round, and what is told is the median of the rounds; compare figures of one run only, on a machine with nothing
//! else to do.
//!
//! ```text
//! cargo build --release
//! cargo run --release --example figures -- --wxgate target/release/wxgate websockets
//! cargo run --release --example figures -- --wxgate target/release/wxgate workers
//! cargo run --release --example figures -- --wxgate target/release/wxgate latency
//! cargo run --release --example figures -- --wxgate target/release/wxgate hostile
//! ```
//!
//! `--rounds` and `--seconds` come before the last word. wxgate writes its access log to a file, nginx writes none.

#![expect(clippy::print_stdout, reason = "what it finds out is for whoever has started it")]

#[path = "../../tests/lean/mod.rs"]
mod lean;

mod attack;
mod handshakes;
mod hostile;
mod latency;
mod load;
mod processes;
mod proxies;
mod websockets;
mod workers;

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use wxgate::server;

#[derive(Debug, Parser)]
struct Args {
    /// The binary
    #[arg(long, default_value = "target/release/wxgate")]
    wxgate: PathBuf,
    /// How often everybody has a turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long a turn is
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    #[command(subcommand)]
    what: What,
}

impl Args {
    fn length(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

#[derive(Debug, Subcommand)]
enum What {
    /// Processor time per echo through a WebSocket, beside nginx
    Websockets {
        #[arg(long, default_value_t = 32)]
        connections: usize,
    },
    /// What a second worker brings
    Workers,
    /// Latency at fixed rates, beside going direct
    Latency {
        /// Requests per second
        #[arg(long, value_delimiter = ',', default_values_t = [1000, 5000, 10_000, 20_000])]
        rates: Vec<u32>,
    },
    /// Other clients' latency and the process's memory while clients misbehave
    Hostile {
        /// Only these kinds
        #[arg(long, value_delimiter = ',')]
        only: Vec<attack::Kind>,
    },
    /// Misbehaves; started by `hostile`
    #[command(hide = true)]
    Attack { kind: attack::Kind, addr: SocketAddr, token: String },
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    server::raise_file_limit();
    match &args.what {
        What::Websockets { connections } => websockets::measure(&args, *connections),
        What::Workers => workers::measure(&args),
        What::Latency { rates } => latency::measure(&args, rates),
        What::Hostile { only } => hostile::measure(&args, only),
        What::Attack { kind, addr, token } => attack::run(*kind, *addr, token, args.length()),
    }
}

/// The one in the middle.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
