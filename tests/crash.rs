//! The promise that sessions survive: the real binary is killed at a random moment, again and again, while clients log in
//! and out. Whatever a client was told before the end holds after it: a token that it received works, and a token that
//! it saw logged out does not. What it was not told may be either way, but never an error.
//!
//! `kill -9` ends a process and not the machine: what it has given to the system survives without having reached the disk.
//! That a login is answered only when the disk has it is shown by `tests/system_calls.rs`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "crash/client.rs"]
mod client;
mod lean;
#[path = "lean/serving.rs"]
mod serving;

use std::{
    fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use wxgate::{
    model::{Entropy, SystemEntropy},
    simulator::{Options, Simulator},
};

use client::{Client, Fate, Kept};

/// Each a start, a load, and a kill. More can be asked for with `WXGATE_CRASH_ROUNDS`.
const ROUNDS: u32 = 200;

/// At once.
const CLIENTS: u32 = 16;

/// The kill comes after so many answers at most: early ones meet the first logins, late ones a file with a full log.
const MOST_ANSWERS: u32 = 400;

/// Tokens of earlier rounds that are tried again after each crash. At the end all of them are.
const OLD_ONES: usize = 50;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn what_a_client_was_told_before_a_crash_holds_after_it() {
    let seed = seed();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let folder = folder("crash");
    let wechat =
        Simulator::start(Options { minute_quota: 0, ..Options::on_free_port().with_app(lean::APP, lean::SECRET) });
    let wechat = Arc::new(wechat.unwrap());
    let backend = lean::start_backend(|_| ANSWER).unwrap();
    let config = lean::config(wechat.addr(), backend) + "\n[sessions.snapshot]\npath = \"data/wxgate.db\"\n";
    fs::write(folder.join("gateway.toml"), config).unwrap();

    let mut all: Vec<Kept> = Vec::new();
    let mut latest = 0;
    for round in 0..rounds() {
        let gateway = Gateway::start(&folder);
        verify(gateway.addr, &mut all[latest..], round);
        for _ in 0..OLD_ONES.min(latest) {
            let at = random.random_range(0..latest);
            verify(gateway.addr, &mut all[at..=at], round);
        }
        latest = all.len();
        all.extend(load_until_killed(gateway, &wechat, &mut random, round));
    }
    let gateway = Gateway::start(&folder);
    verify(gateway.addr, &mut all, rounds());
    lean::login(gateway.addr, wechat.addr(), "oAfter-all-that").unwrap();
    let told = |fate| all.iter().filter(|kept| kept.fate == fate).count();
    println!("{} tokens, {} of them logged out", all.len(), told(Fate::LoggedOut));
    assert!(told(Fate::LoggedIn) > 100 && told(Fate::LoggedOut) > 100, "too little happened to show anything");
    let pieces = fs::read_dir(folder.join("data")).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let file: Vec<u8> = pieces.flatten().collect();
    for kept in &all {
        assert!(memchr::memmem::find(&file, kept.token.as_bytes()).is_none(), "a token is in a file");
    }
}

/// Lets clients come until the gateway is killed in the middle of it. What they were told.
fn load_until_killed(mut gateway: Gateway, wechat: &Arc<Simulator>, random: &mut SmallRng, round: u32) -> Vec<Kept> {
    let answers = Arc::new(AtomicU32::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let client = Client {
                gateway: gateway.addr,
                wechat: Arc::clone(wechat),
                name: format!("{round}-{number}"),
                answers: Arc::clone(&answers),
                random: SmallRng::seed_from_u64(random.random()),
            };
            thread::spawn(move || client.come_and_go())
        })
        .collect();
    let enough = random.random_range(1..MOST_ANSWERS);
    while answers.load(Ordering::Relaxed) < enough {
        thread::yield_now();
        assert!(gateway.child.try_wait().unwrap().is_none(), "the gateway ended by itself");
    }
    gateway.child.kill().unwrap();
    gateway.child.wait().unwrap();
    clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
}

/// Asks for each session, and makes sure that what its client was told holds.
fn verify(gateway: SocketAddr, kept: &mut [Kept], round: u32) {
    let mut wire = lean::Wire::connect(gateway).unwrap();
    for kept in kept {
        let status = client::session(&mut wire, &kept.token).unwrap();
        match (kept.fate, status) {
            (Fate::LoggedIn, 200) | (Fate::LoggedOut, 401) => {}
            // Nobody was told. Whatever it is now, it has to stay.
            (Fate::Unknown, 200) => kept.fate = Fate::LoggedIn,
            (Fate::Unknown, 401) => kept.fate = Fate::LoggedOut,
            (fate, status) => panic!("before round {round}: {fate:?}, and now {status}: {}", kept.story),
        }
    }
}

/// The real binary on the file of this test. Dropped, it is killed.
struct Gateway {
    child: Child,
    addr: SocketAddr,
}

impl Gateway {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wxgate"))
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = Vec::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let addr = lines.by_ref().find_map(|line| {
            let addr = serving::address(&line);
            said.push(line);
            addr
        });
        // Nobody may be stopped by a pipe that is full.
        thread::spawn(move || lines.for_each(drop));
        let addr = addr.unwrap_or_else(|| panic!("it does not start: {}", said.join("\n")));
        Self { child, addr }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _: io::Result<()> = self.child.kill();
        let _: io::Result<_> = self.child.wait();
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _: io::Result<()> = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[expect(clippy::disallowed_methods, reason = "whoever wants more rounds says so here")]
fn rounds() -> u32 {
    std::env::var("WXGATE_CRASH_ROUNDS").ok().map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

fn seed() -> u64 {
    let mut seed = [0; 8];
    SystemEntropy.fill(&mut seed).unwrap();
    u64::from_le_bytes(seed)
}
