//! Ten million sessions in a file, and the real gateway on it: bytes on disk, how long a start takes, and how much memory
//! the process has when its cache is full and has begun to let sessions go.
//!
//! ```text
//! cargo build --release
//! cargo run --release --example ten_million -- --folder /var/tmp
//! ```
//!
//! It fills the file by logins through the product's own sessions, each with a token, and keeps some of the tokens. The
//! gateway is then asked `GET /v1/session` with each of them once. Any other answer than 200 is an error at the end.
//!
//! A file of this size takes long to fill where each group of logins waits for a disk. With `--fill-in /dev/shm` it is
//! filled there, in memory, and then moved to `--folder`.

#![expect(clippy::print_stdout, reason = "what it finds out is for whoever has started it")]

mod filling;
mod gateway;
mod visits;
#[path = "../../tests/lean/wire.rs"]
mod wire;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser;
use rustix::fs::{Advice, fadvise};
use wxgate::session::SessionToken;

use gateway::Gateway;

#[derive(Debug, Parser)]
struct Args {
    /// The gateway, built in release mode
    #[arg(long, default_value = "target/release/wxgate")]
    wxgate: PathBuf,
    /// Where the file is while the gateway runs; it goes at the end
    #[arg(long)]
    folder: PathBuf,
    /// Where the file is filled, if not there
    #[arg(long)]
    fill_in: Option<PathBuf>,
    /// How many sessions, of as many users
    #[arg(long, default_value_t = 10_000_000)]
    sessions: u64,
    /// How many of their tokens are kept, and then shown
    #[arg(long, default_value_t = 1_500_000)]
    kept: u64,
    /// The gateway's `sessions.capacity`
    #[arg(long, default_value_t = 1_000_000)]
    capacity: u64,
    /// Connections that ask at once, each a thread
    #[arg(long, default_value_t = 32)]
    connections: usize,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir_in(&args.folder)?;
    let file = folder.path().join("wxgate.db");
    let tokens = fill(&args, folder.path())?;
    let bytes = fs::metadata(&file)?.len();
    println!("{} sessions in {} MiB, {} bytes each", args.sessions, bytes >> 20, bytes / args.sessions);

    let config = gateway::configure(folder.path(), args.capacity)?;
    forget(&file)?;
    let gateway = Gateway::start(&args.wxgate, &config)?;
    println!("ready {:.1?} after exec, with nothing of the file in the system's cache", gateway.ready_after);
    println!("then {} MiB resident", gateway.memory("VmRSS:")? >> 10);
    let refused = ask_for_all(&args, &gateway, &file, &tokens)?;
    println!("ended in {:.1?}", gateway.end()?);

    let gateway = Gateway::start(&args.wxgate, &config)?;
    println!("started again, ready {:.1?} after exec", gateway.ready_after);
    gateway.end()?;
    anyhow::ensure!(refused == 0, "{refused} live sessions were not answered with 200");
    Ok(())
}

/// Fills the file, its key beside it, and moves both to `folder` if they were made elsewhere.
fn fill(args: &Args, folder: &Path) -> anyhow::Result<Vec<SessionToken>> {
    let Some(elsewhere) = &args.fill_in else { return filling::fill(folder, args.sessions, args.kept) };
    let elsewhere = tempfile::tempdir_in(elsewhere)?;
    let tokens = filling::fill(elsewhere.path(), args.sessions, args.kept)?;
    for name in ["wxgate.db", "seal.key"] {
        fs::copy(elsewhere.path().join(name), folder.join(name))?;
    }
    Ok(tokens)
}

/// Shows each token once, and says what came of it and what it cost. How many were not answered with 200.
fn ask_for_all(args: &Args, gateway: &Gateway, file: &Path, tokens: &[SessionToken]) -> anyhow::Result<u64> {
    // What a disk adds to a look-up is the disk's.
    io::copy(&mut File::open(file)?, &mut io::sink())?;
    let visits = visits::ask(gateway.public, tokens, args.connections)?;
    let per_second = u128::from(visits.asked) * 1000 / visits.took.max(Duration::from_millis(1)).as_millis();
    println!("{} sessions asked for, {} answered with 200, {per_second} a second", visits.asked, visits.found);
    println!("the file was asked for {} of them", gateway.looked_up("miss")?);
    let (now, most) = (gateway.memory("VmRSS:")?, gateway.memory("VmHWM:")?);
    println!("with {} of them in memory: {} MiB resident, at most {} MiB", args.capacity, now >> 10, most >> 10);
    Ok(visits.asked - visits.found)
}

/// Takes a file out of the system's cache.
fn forget(path: &Path) -> anyhow::Result<()> {
    let file = File::open(path)?;
    file.sync_all()?;
    Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
}
