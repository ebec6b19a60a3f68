//! What a proxied, authenticated request costs in system calls: four on sockets, which is what taking a request, passing it
//! on, taking the answer and passing that on needs. The real binary runs under strace.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod lean;
#[path = "lean/serving.rs"]
mod serving;

use std::{
    fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use wxgate::simulator::{Options, Simulator};

const REQUESTS: u32 = 2000;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";

/// What reads or writes a socket, and other things as well.
const ON_SOCKETS: &str = "read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg";

/// Four, and what the connections, the login and the end cost once, spread over all requests.
const AT_MOST: f64 = 4.05;

#[test]
fn a_get_takes_four_system_calls() {
    let calls = per_request("get", |token| {
        format!("GET /api/items?page=2 HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {token}\r\n\r\n")
    });
    assert!((4.0..=AT_MOST).contains(&calls), "{calls} system calls per request");
}

#[test]
fn a_post_of_a_kilobyte_takes_four_system_calls() {
    let calls = per_request("post", |token| {
        format!(
            "POST /api/items HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: 1024\r\n\r\n{}",
            "a".repeat(1024)
        )
    });
    assert!((4.0..=AT_MOST).contains(&calls), "{calls} system calls per request");
}

/// A login is on the disk, as far as the system knows, before its client hears of it, and so are a log-out and a change of a
/// profile. It is seen in
/// the order of the system calls: the log is written, the system is told to bring it to the disk and says that it has,
/// and then the answer leaves. What the disk does with what it was told, no test can see; nor would this one see a page
/// that should be in the log and was forgotten, which is what `tests/crash.rs` is for.
#[test]
fn no_login_and_no_log_out_is_answered_before_it_is_on_the_disk() {
    let wechat = Simulator::start(Options::on_free_port().with_app(lean::APP, lean::SECRET)).unwrap();
    let backend = lean::start_backend(|_| ANSWER).unwrap();
    let config = lean::config(wechat.addr(), backend) + "\n[sessions.snapshot]\npath = \"data/wxgate.db\"\n";
    let traced = Traced::start("durable", &format!("{ON_SOCKETS},pwrite64,fsync,fdatasync"), &config);
    let mut answers = 0;
    for number in 0..20 {
        let token = lean::login(traced.addr, wechat.addr(), &format!("oUser-{number}")).unwrap();
        let told = r#"{"nickName":"Anna"}"#;
        let mut wire = lean::Wire::connect(traced.addr).unwrap();
        let change = format!(
            "PUT /v1/profile HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{told}",
            told.len()
        );
        wire.send(change.as_bytes()).unwrap();
        assert!(wire.head().unwrap().starts_with(b"HTTP/1.1 200 "));
        let mut wire = lean::Wire::connect(traced.addr).unwrap();
        let log_out = format!("POST /v1/logout HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
        wire.send(log_out.as_bytes()).unwrap();
        assert!(wire.head().unwrap().starts_with(b"HTTP/1.1 204 "));
        answers += 3;
    }
    let trace = traced.stop();
    let mut log = OnItsWay::default();
    let seen = trace.lines().filter(|line| log.answers(line)).count();
    assert_eq!(seen, answers, "each answer of the public listener was looked at");
}

/// What of the write-ahead log has been written and not yet brought to the disk.
#[derive(Default)]
struct OnItsWay {
    /// Since the last answer something was written,
    written: bool,
    /// and since that, the system has said that it is on the disk.
    on_the_disk: bool,
    /// A thread that has asked and not been told yet.
    syncing: Option<String>,
}

impl OnItsWay {
    /// Takes in the next line of a trace. True where it is the answer to a login or a log-out, which must be on the disk.
    fn answers(&mut self, line: &str) -> bool {
        let thread = line.split_whitespace().next().unwrap_or_default();
        let to_the_log = line.contains("wxgate.db-wal>");
        if to_the_log && line.contains("pwrite64(") {
            (self.written, self.on_the_disk) = (true, false);
        } else if to_the_log && line.contains("sync(") {
            if line.ends_with("= 0") {
                self.on_the_disk = true;
            } else {
                assert!(line.contains("<unfinished"), "it can't be brought to the disk: {line}");
                self.syncing = Some(thread.to_owned());
            }
        } else if line.contains("sync resumed>") && self.syncing.as_deref() == Some(thread) {
            assert!(line.ends_with("= 0"), "it was not brought to the disk: {line}");
            (self.on_the_disk, self.syncing) = (true, None);
        } else if is_on_a_socket(line) && (line.contains("HTTP/1.1 200") || line.contains("HTTP/1.1 204")) {
            // What the gateway reads from the stand-in begins so too.
            if line.contains("recvfrom(") || line.contains("read(") {
                return false;
            }
            assert!(self.written && self.on_the_disk, "answered too early: {line}");
            *self = Self::default();
            return true;
        }
        false
    }
}

#[test]
fn an_answer_before_the_disk_would_be_seen() {
    let written = "7 pwrite64(9</data/wxgate.db-wal>, \"\\0\", 4096, 56) = 4096";
    let asked = "7 fdatasync(9</data/wxgate.db-wal> <unfinished ...>";
    let told = "7 <... fdatasync resumed>) = 0";
    let answer = "8 writev(12<socket:[4]>, [{iov_base=\"HTTP/1.1 200 OK\\r\\n\"";
    let seen = |lines: &[&str]| {
        let mut log = OnItsWay::default();
        lines.iter().filter(|line| log.answers(line)).count()
    };
    assert_eq!(seen(&[written, asked, told, answer]), 1);
    for early in
        [&[answer][..], &[written, answer], &[written, asked, answer], &[written, asked, told, written, answer]]
    {
        assert!(std::panic::catch_unwind(|| seen(early)).is_err(), "{early:?}");
    }
}

/// A file is as lost as its folder, and a folder is on the disk when the one above has been brought there after it was
/// made.
#[test]
fn what_the_first_start_makes_is_on_the_disk_with_all_folders_on_the_way() {
    let config = lean::config("127.0.0.1:1".parse().unwrap(), "127.0.0.1:1".parse().unwrap())
        + "\n[sessions.snapshot]\npath = \"data/deep/wxgate.db\"\n[sessions.seal]\nkey = { file = \"keys/seal.key\" }\n";
    let traced = Traced::start("folders", "?mkdir,mkdirat,openat,linkat,fsync", &config);
    let folder = traced.folder.canonicalize().unwrap();
    let trace = traced.stop();
    for made in ["data", "data/deep", "data/deep/wxgate.db", "keys", "keys/seal.key"] {
        let is_made = |line: &&str| {
            let by = ["mkdir", "O_CREAT", "linkat"].iter().any(|how| line.contains(how));
            by && line.contains(&format!("{made}\"")) && !line.contains("= -1")
        };
        let synced = format!("{}>) = 0", folder.join(made).parent().unwrap().display());
        let after = trace.lines().skip_while(|line| !is_made(line)).skip(1);
        let mut syncs = after.filter(|line| line.contains("fsync("));
        assert!(syncs.any(|line| line.ends_with(&synced)), "{made}: {trace}");
    }
}

/// Sends the same request over one connection again and again, and says how often a socket was read or written per
/// request.
fn per_request(name: &str, request: impl Fn(&str) -> String) -> f64 {
    let wechat = Simulator::start(Options::on_free_port().with_app(lean::APP, lean::SECRET)).unwrap();
    let backend = lean::start_backend(|_| ANSWER).unwrap();
    let traced = Traced::start(name, ON_SOCKETS, &lean::config(wechat.addr(), backend));
    let token = lean::login(traced.addr, wechat.addr(), "oAlice").unwrap();
    let bytes = request(&token);
    let mut wire = lean::Wire::connect(traced.addr).unwrap();
    for _ in 0..REQUESTS {
        wire.send(bytes.as_bytes()).unwrap();
        assert!(wire.head().unwrap().starts_with(b"HTTP/1.1 200 "));
        wire.body(|_| {}).unwrap();
    }
    let calls = traced.stop().lines().filter(|line| is_on_a_socket(line)).count();
    f64::from(u32::try_from(calls).unwrap()) / f64::from(REQUESTS)
}

/// A gateway under strace.
struct Traced {
    strace: Child,
    /// The gateway's own process.
    pid: Pid,
    addr: SocketAddr,
    folder: PathBuf,
}

impl Traced {
    fn start(name: &str, calls: &str, config: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("system_calls_{name}"));
        let _: io::Result<()> = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("gateway.toml"), config).unwrap();
        let strace = Command::new("strace")
            .args(["-f", "-y", "-e", &format!("trace={calls}"), "-o", "trace"])
            // The shell is there to tell the number of the process that it becomes.
            .args(["sh", "-c", r#"echo $$ >&2; exec "$0" --config gateway.toml"#, env!("CARGO_BIN_EXE_wxgate")])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut strace = strace.unwrap_or_else(|error| panic!("this test needs strace: {error}"));
        let mut said = BufReader::new(strace.stderr.take().unwrap()).lines();
        let pid = said.next().unwrap().unwrap();
        let pid = pid.parse().ok().and_then(Pid::from_raw);
        let addr = said.by_ref().find_map(|line| serving::address(&line.unwrap()));
        // Nobody may be stopped by a pipe that is full.
        std::thread::spawn(move || said.for_each(drop::<io::Result<String>>));
        Self { strace, pid: pid.unwrap(), addr: addr.unwrap(), folder }
    }

    /// Stops the gateway and returns what strace wrote.
    fn stop(mut self) -> String {
        kill_process(self.pid, Signal::TERM).unwrap();
        assert!(self.strace.wait().unwrap().success());
        fs::read_to_string(self.folder.join("trace")).unwrap()
    }
}

/// Whether a line is the beginning of a call on a socket, as in `2859 writev(12<socket:[48213]>, …`. The end of one that
/// was interrupted by another thread's stands on a line of its own, without the descriptor.
fn is_on_a_socket(line: &str) -> bool {
    line.split_once('(').is_some_and(|(_, rest)| {
        let descriptor = rest.split(',').next().unwrap_or_default();
        descriptor.contains("<socket:[") || descriptor.contains("<TCP:[")
    })
}

#[test]
fn only_sockets_are_counted() {
    for line in
        ["77 writev(12<socket:[48213]>, [{iov_base=\"", "8 recvfrom(9<TCP:[127.0.0.1:1->127.0.0.1:2]>, \"G\", 1, 0"]
    {
        assert!(is_on_a_socket(line), "{line}");
    }
    for line in [
        "77 write(1</dev/null>, \"{\\\"ts\\\":\\\"<socket:[1]>\", 9) = 9",
        "77 <... writev resumed>) = 120",
        "77 write(5<anon_inode:[eventfd]>, \"\\1\", 8) = 8",
        "77 +++ exited with 0 +++",
    ] {
        assert!(!is_on_a_socket(line), "{line}");
    }
}
