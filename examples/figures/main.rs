//! Figures beside those of other proxies: what a request costs, and an echo through a WebSocket; then what a second worker
//! brings, latency at fixed rates, and what hostile clients do to others.
//!
//! It needs Linux, nginx, taskset, openssl where there is TLS; for requests nginx with Lua, haproxy, wrk and h2load, and for the
//! workers wrk and strace. Two processors are enough: what is
//! measured is alone on the first where that is said, and load and backend are on the second. Proxies take turns, round
//! by round, and what is told is the median of the rounds; compare figures of one run only, on a machine with nothing
//! else to do.
//!
//! ```text
//! cargo build --release
//! cargo run --release --example figures -- --wxgate target/release/wxgate --seconds 2 requests --scenario get
//! cargo run --release --example figures -- --wxgate target/release/wxgate --seconds 2 requests --scenario get --over http2
//! cargo run --release --example figures -- --wxgate target/release/wxgate websockets
//! cargo run --release --example figures -- --wxgate target/release/wxgate websockets --tls
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
mod client;
mod handshakes;
mod hostile;
mod latency;
mod load;
mod processes;
mod proxies;
mod requests;
mod tls;
mod websockets;
mod workers;

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use wxgate::server;

use client::{Over, Scenario};
use requests::Peer;

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
    /// Processor time per request, beside nginx and HAProxy
    Requests {
        #[arg(long, default_value = "get")]
        scenario: Scenario,
        /// Between client and proxy; the backend is spoken to in the clear
        #[arg(long, default_value = "plain")]
        over: Over,
        /// Beside whom
        #[arg(long, value_delimiter = ',', default_values = ["nginx-lua", "nginx", "haproxy-map", "haproxy-bytes"])]
        peers: Vec<Peer>,
        /// Other builds of wxgate
        #[arg(long, value_parser = named, value_name = "NAME=BINARY")]
        beside: Vec<(String, PathBuf)>,
    },
    /// Processor time per echo through a WebSocket, beside nginx
    Websockets {
        #[arg(long, default_value_t = 32)]
        connections: usize,
        /// Of a message, in bytes
        #[arg(long, value_delimiter = ',', default_values_t = [100, 4096])]
        sizes: Vec<u16>,
        /// Between client and proxy; the backend has none
        #[arg(long)]
        tls: bool,
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
        What::Requests { scenario, over, peers, beside } => requests::measure(&args, *scenario, *over, peers, beside),
        What::Websockets { connections, sizes, tls } => websockets::measure(&args, *connections, sizes, *tls),
        What::Workers => workers::measure(&args),
        What::Latency { rates } => latency::measure(&args, rates),
        What::Hostile { only } => hostile::measure(&args, only),
        What::Attack { kind, addr, token } => attack::run(*kind, *addr, token, args.length()),
    }
}

fn named(text: &str) -> Result<(String, PathBuf), &'static str> {
    let (name, binary) = text.split_once('=').ok_or("a name, `=`, and the path of a binary")?;
    Ok((name.to_owned(), binary.into()))
}

/// The one in the middle.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
