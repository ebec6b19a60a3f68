//! Half an hour of everything at once against the real binary, to see whether memory and open files stay where they are.
//!
//! It starts `wxgate`, the stand-in and a backend, and then logs in and out, gets, posts, uploads, downloads, breaks off,
//! sends rubbish and leaves connections lying about, until the time or the number of requests is over.
//!
//! ```text
//! cargo build --release
//! cargo run --release --example soak -- --wxgate target/release/wxgate --minutes 30
//! ```
//!
//! It ends with an error when an answer was not what it should be or the gateway did not end well. Whether the figures of
//! the last lines are flat is for the reader to say.

#![expect(clippy::print_stdout, reason = "what it finds out is for whoever has started it")]

#[path = "../tests/lean/mod.rs"]
mod lean;
#[path = "soak/processes.rs"]
mod processes;
#[path = "soak/visitor.rs"]
mod visitor;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use clap::Parser;
use wxgate::{
    model::{Clock, SystemClock},
    server,
};

use processes::{Process, Usage};
use visitor::{Act, Visitor};

/// When so much has gone wrong, the rest of the time would tell nothing new.
const HOPELESS: u64 = 1000;

#[derive(Debug, Parser)]
struct Args {
    /// The binary
    #[arg(long)]
    wxgate: PathBuf,
    /// How long
    #[arg(long, default_value_t = 30)]
    minutes: u32,
    /// How many requests at most
    #[arg(long, default_value_t = 100_000_000)]
    requests: u64,
    /// Threads of the gateway
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Users at once, each a thread
    #[arg(long, default_value_t = 24)]
    visitors: u32,
    /// Where configuration and log go; a new folder below the one for temporary files when left out
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// What has been done so far, and what went wrong.
#[derive(Default)]
struct Tally {
    done: [AtomicU64; Act::ALL.len()],
    wrong: [AtomicU64; Act::ALL.len()],
}

/// Where everybody is.
#[derive(Clone, Copy)]
struct Place {
    gateway: SocketAddr,
    wechat: SocketAddr,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    server::raise_file_limit();
    let backend = lean::start_backend(visitor::answer)?;
    let folder =
        args.folder.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("soak-{}", std::process::id())));
    let (stand_in, wechat) = processes::start_stand_in(&args.wxgate)?;
    let config = lean::config(wechat, backend).replace("workers = 1", &format!("workers = {}", args.workers));
    let (gateway, addr) = processes::start_gateway(&args.wxgate, &folder, &config)?;
    let place = Place { gateway: addr, wechat };
    println!("wxgate is process {} on {addr}; its configuration and log are in {}", gateway.pid(), folder.display());
    let tally = Tally::default();
    let usage = load(&args, place, &tally, &gateway)?;
    summarise(&usage[usage.len() / 2..]);
    let after = gateway.usage()?;
    println!("after the load: {} KiB, {} open files", after.rss_kib, after.files);
    gateway.end()?;
    stand_in.end()?;
    match total(&tally.wrong) {
        0 => Ok(()),
        wrong => Err(io::Error::other(format!("{wrong} things went wrong"))),
    }
}

/// Lets everybody in, reports regularly, and returns what the gateway took, measured each time.
fn load(args: &Args, place: Place, tally: &Tally, gateway: &Process) -> io::Result<Vec<Usage>> {
    let length = Duration::from_mins(args.minutes.into());
    let every = Duration::from_secs(30).min(length / 10);
    let begin = SystemClock.now();
    let over = begin + length;
    let (alive, ended) = mpsc::channel::<()>();
    let mut usage = vec![gateway.usage()?];
    thread::scope(|scope| {
        for number in 0..args.visitors {
            let (alive, limit) = (alive.clone(), args.requests);
            scope.spawn(move || {
                let _alive = alive;
                let mut visitor = Visitor::new(number, place);
                let goes_on = || total(&tally.done) < limit && total(&tally.wrong) < HOPELESS;
                while SystemClock.now() < over && goes_on() {
                    visitor.act(tally);
                }
            });
        }
        drop(alive);
        while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            let now = gateway.usage()?;
            report(SystemClock.now().since(begin), tally, &now);
            usage.push(now);
        }
        Ok(usage)
    })
}

fn total(counts: &[AtomicU64]) -> u64 {
    counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
}

fn report(elapsed: Duration, tally: &Tally, usage: &Usage) {
    let wrong = Act::ALL.iter().zip(&tally.wrong).filter_map(|(act, count)| {
        let count = count.load(Ordering::Relaxed);
        (count > 0).then(|| format!("{act:?} {count}"))
    });
    println!(
        "{:>5} s: {} requests, wrong: [{}], {} KiB, {} open files",
        elapsed.as_secs(),
        total(&tally.done),
        wrong.collect::<Vec<_>>().join(", "),
        usage.rss_kib,
        usage.files
    );
}

fn summarise(second_half: &[Usage]) {
    let figures = |of: fn(&Usage) -> u64| {
        let mut all: Vec<u64> = second_half.iter().map(of).collect();
        all.sort_unstable();
        format!("min {} median {} max {}", all[0], all[all.len() / 2], all[all.len() - 1])
    };
    println!("second half: KiB {}; open files {}", figures(|u| u.rss_kib), figures(|u| u.files));
}
