//! Half an hour of everything at once against the real binary, to see whether memory and open files stay where they are.
//!
//! It starts `wxgate`, the stand-in and a backend, and then logs in and out, gets, posts, uploads, downloads, breaks off,
//! sends rubbish, keeps a WebSocket open for each of some users and leaves connections lying about, until the time or the
//! number of requests is over. Meanwhile the configuration may be changed every so often, and the process be replaced:
//! nobody sends anything twice, so whatever that costs somebody is counted.
//!
//! ```text
//! cargo build --release
//! cargo run --release --example soak -- --wxgate target/release/wxgate --minutes 30
//! cargo run --release --example soak -- --wxgate target/release/wxgate --minutes 10 --reload-every 1 --restarts 10
//! ```
//!
//! It ends with an error when an answer was not what it should be, a WebSocket ended that nobody had a reason to end, or the
//! gateway did not end well. Whether the figures of the last lines are flat is for the reader to say.

#![expect(clippy::print_stdout, reason = "what it finds out is for whoever has started it")]

#[path = "../tests/lean/mod.rs"]
mod lean;
#[path = "soak/processes.rs"]
mod processes;
#[path = "soak/sockets.rs"]
mod sockets;
#[path = "soak/turns.rs"]
mod turns;
#[path = "soak/visitor.rs"]
mod visitor;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        PoisonError,
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

use processes::{Gateway, Usage};
use sockets::Sockets;
use turns::Turns;
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
    /// How many keep a WebSocket open, each in a thread
    #[arg(long, default_value_t = 20)]
    websockets: u32,
    /// Seconds between two changes of the configuration; 0 is none
    #[arg(long, default_value_t = 0)]
    reload_every: u32,
    /// How often the process is replaced. Sessions are in a file then
    #[arg(long, default_value_t = 0)]
    restarts: u32,
    /// Where configuration and log go; a new folder below the one for temporary files when left out
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// What has been done so far, and what went wrong.
#[derive(Default)]
struct Tally {
    done: [AtomicU64; Act::ALL.len()],
    wrong: [AtomicU64; Act::ALL.len()],
    sockets: Sockets,
    turns: Turns,
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
    let folder =
        args.folder.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("soak-{}", std::process::id())));
    let (stand_in, wechat) = processes::start_stand_in(&args.wxgate)?;
    let (gateway, addr) = Gateway::start(&args.wxgate, &folder, config(&args, wechat)?)?;
    let place = Place { gateway: addr, wechat };
    println!("wxgate is process {} on {addr}; its configuration and log are in {}", gateway.pid(), folder.display());
    let tally = Tally::default();
    let usage = load(&args, place, &tally, &gateway)?;
    summarise(&usage);
    let after = gateway.usage()?;
    println!("after the load: {} KiB, {} open files", after.rss_kib, after.files);
    let taken = gateway.said("the changed configuration is in use")?.len();
    gateway.end()?;
    stand_in.end()?;
    match judge(&args, &tally, taken) {
        0 => Ok(()),
        wrong => Err(io::Error::other(format!("{wrong} things went wrong"))),
    }
}

fn config(args: &Args, wechat: SocketAddr) -> io::Result<String> {
    let (backend, echo) = (lean::start_backend(visitor::answer)?, sockets::start_echo()?);
    let config =
        lean::config(wechat, backend).replace("workers = 1", &format!("workers = {}\nwatch = \"0s\"", args.workers));
    let file = if args.restarts > 0 { "[sessions.snapshot]\npath = \"data/wxgate.db\"\n" } else { "" };
    Ok(format!(
        "{config}\n[[upstreams]]\nname = \"echo\"\nservers = [\"http://{echo}\"]\n\
         [[routes]]\npath = \"/ws/\"\nupstream = \"echo\"\nwebsocket = true\n{file}"
    ))
}

/// Lets everybody in, reports regularly, and returns what the gateway took, measured each time.
fn load(args: &Args, place: Place, tally: &Tally, gateway: &Gateway) -> io::Result<Vec<Usage>> {
    let length = Duration::from_mins(args.minutes.into());
    let every = Duration::from_secs(30).min(length / 10);
    let begin = SystemClock.now();
    let over = begin + length;
    let limit = args.requests;
    let goes_on = || SystemClock.now() < over && total(&tally.done) < limit && total(&tally.wrong) < HOPELESS;
    let (alive, ended) = mpsc::channel::<()>();
    let mut usage = vec![gateway.usage()?];
    thread::scope(|scope| {
        for number in 0..args.visitors {
            let alive = alive.clone();
            scope.spawn(move || {
                let _alive = alive;
                let mut visitor = Visitor::new(number, place);
                while goes_on() {
                    visitor.act(tally);
                }
            });
        }
        for number in 0..args.websockets {
            scope.spawn(move || tally.sockets.keep_open(number, place, goes_on));
        }
        if args.reload_every > 0 {
            scope.spawn(|| tally.turns.reload(gateway, Duration::from_secs(args.reload_every.into()), goes_on));
        }
        scope.spawn(|| tally.turns.restart(gateway, args.restarts, length / (args.restarts + 1), goes_on));
        drop(alive);
        while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            // One that is just being replaced has nothing to say.
            if let Ok(now) = gateway.usage() {
                report(SystemClock.now().since(begin), tally, &now);
                usage.push(now);
            }
        }
        Ok(usage)
    })
}

/// Says how it went, and how many things went wrong.
fn judge(args: &Args, tally: &Tally, taken: usize) -> u64 {
    let Tally { sockets, turns, .. } = tally;
    let [reloads, restarts, opened, echoes] =
        [&turns.reloads, &turns.restarts, &sockets.opened, &sockets.echoes].map(|n| n.load(Ordering::Relaxed));
    println!("{} requests, {} of them wrong", total(&tally.done), total(&tally.wrong));
    println!("{reloads} reloads, {taken} of them taken over; {restarts} restarts");
    println!("{opened} WebSockets opened, {echoes} echoes; ends: {:?}", sockets.ends());
    let failed = turns.wrong.lock().unwrap_or_else(PoisonError::into_inner);
    failed.iter().for_each(|what| println!("{what}"));
    // A restart says goodbye to each of them, and nothing else has a reason to end one.
    let mut ends = sockets.ends();
    let goodbyes = ends.remove("closed with 1001").unwrap_or_default();
    let dropped = ends.values().sum::<u64>() + goodbyes.saturating_sub(restarts * u64::from(args.websockets));
    total(&tally.wrong) + dropped + failed.len() as u64
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

fn summarise(usage: &[Usage]) {
    let (first, second_half) = (&usage[0], &usage[usage.len() / 2..]);
    println!("at the start: {} KiB, {} open files", first.rss_kib, first.files);
    let figures = |of: fn(&Usage) -> u64| {
        let mut all: Vec<u64> = second_half.iter().map(of).collect();
        all.sort_unstable();
        format!("min {} median {} max {}", all[0], all[all.len() / 2], all[all.len() - 1])
    };
    println!("second half: KiB {}; open files {}", figures(|u| u.rss_kib), figures(|u| u.files));
}
