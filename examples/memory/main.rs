//! What sessions in memory cost: bytes each, beside what Redis takes for the same ones; hot look-ups per second; and how
//! long the longest look-up and the longest login take while there are very many.
//!
//! ```text
//! cargo run --release --example memory -- --sessions 1000000 --redis
//! cargo run --release --example memory -- --sessions 1000000 --look-ups 5s
//! cargo run --release --example memory -- --sessions 10000000 --stalls 1m
//! ```
//!
//! It logs so many users in, with memory for a store, and says by how much the process has grown. The allocator is the
//! binary's. Each user has one session, with an openid, a unionid and a session_key as WeChat makes them.

#![expect(clippy::print_stdout, reason = "what it finds out is for whoever has started it")]

mod in_redis;
mod look_ups;
#[path = "../shared_sessions/server.rs"]
mod server;
mod stalls;

use std::{
    fs,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use clap::Parser;
use wxgate::{
    config::sections,
    model::{AppId, Identity, OpenId, SessionKey, SystemClock, SystemEntropy, UnionId, UserKey},
    session::{SessionToken, Sessions},
    store::Memory,
    telemetry::UserTagger,
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Of so many sessions the tokens are kept, where somebody is to look them up. They lie evenly among the others, of which
/// there are ten times as many at least.
const KEPT: u64 = 100_000;

#[derive(Debug, Parser)]
struct Args {
    /// How many sessions, of as many users
    #[arg(long, default_value_t = 1_000_000)]
    sessions: u64,
    /// Put the same sessions into a redis-server of its own and say what they take there
    #[arg(long)]
    redis: bool,
    /// Count hot look-ups for so long, with one thread and with two
    #[arg(long, value_parser = humantime::parse_duration)]
    look_ups: Option<Duration>,
    /// Let two threads look up and log in for so long, and time each of these
    #[arg(long, value_parser = humantime::parse_duration)]
    stalls: Option<Duration>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    anyhow::ensure!(args.sessions > 0, "no sessions, nothing to measure");
    // As many as there is room for: from then on each login makes somebody leave.
    let section = sections::Sessions { capacity: args.sessions, ..Default::default() };
    let tags = UserTagger::new(None, &SystemEntropy)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (store, handle) = (Arc::new(Memory::new()), runtime.handle().clone());
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let sessions = Sessions::new(&section, store, handle, clock, entropy, tags, Arc::default());

    let before = resident()?;
    let tokens = fill(&sessions, args.sessions, args.look_ups.or(args.stalls).is_some())?;
    let grown = resident()?.saturating_sub(before + size_of_val(tokens.as_slice()) as u64);
    println!("{} sessions in memory: {} MiB, {} bytes each", args.sessions, grown >> 20, grown / args.sessions);
    if args.redis {
        in_redis::measure(args.sessions)?;
    }
    if let Some(lasts) = args.look_ups {
        look_ups::measure(&sessions, &tokens, lasts)?;
    }
    if let Some(lasts) = args.stalls {
        stalls::measure(&sessions, &tokens, args.sessions, lasts)?;
    }
    Ok(())
}

/// Logs them in, one after the other. The tokens that are kept.
fn fill(sessions: &Sessions, wanted: u64, keeps: bool) -> anyhow::Result<Vec<SessionToken>> {
    let each = if keeps { wanted.div_ceil(KEPT).max(10) } else { u64::MAX };
    let mut tokens = Vec::with_capacity(if keeps { usize::try_from(wanted / each + 1)? } else { 0 });
    for number in 0..wanted {
        let issued = at_once(sessions.issue(identity(number)?, session_key()))?;
        if keeps && number % each == 0 {
            tokens.push(issued.token);
        }
    }
    Ok(tokens)
}

/// The user of this number.
fn identity(number: u64) -> anyhow::Result<Identity> {
    let openid = OpenId::parse(&format!("oGZUI0egBJY1zhBYw2Kh{number:08}"))?;
    let unionid = UnionId::parse(&format!("o6_bmasdasdsad6_2sg_{number:08}"))?;
    let user = UserKey { app: AppId::parse("wx4f4bc4dec97d474b")?, openid };
    Ok(Identity { user, unionid: Some(unionid) })
}

fn session_key() -> SessionKey {
    SessionKey::new("tiihtNczf5v6AKRyjwEUhQ==")
}

/// Bytes of memory that the process has.
fn resident() -> anyhow::Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(1).ok_or_else(|| anyhow::anyhow!("no resident pages in statm"))?;
    Ok(pages.parse::<u64>()? * 4096)
}

fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("memory answers at once"),
    }
}
