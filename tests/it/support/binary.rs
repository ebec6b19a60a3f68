//! The real binary, with all that it says.

use std::{
    fs,
    io::{self, Read, Write},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::JoinHandle,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Client, LogSink, until};

/// A `wxgate` of its own process. Dropped, it is killed.
pub struct Binary {
    child: Child,
    /// The process that has taken its place, and how many have.
    successor: Option<Pid>,
    replaced: usize,
    /// Standard output: the access log.
    pub lines: LogSink,
    /// Standard error: its own messages.
    pub messages: LogSink,
    readers: Vec<JoinHandle<()>>,
    addrs: [SocketAddr; 2],
}

impl Binary {
    /// Serves this configuration, which asks for port 0, from a folder of this name, with these variables.
    pub fn serve(name: &str, config: &str, env: &[(&str, &str)]) -> Self {
        Self::start(Command::new(env!("CARGO_BIN_EXE_wxgate")), name, config, env)
    }

    /// The same, after a shell has done something first.
    pub fn serve_after(shell: &str, name: &str, config: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{shell}; exec \"$0\""), env!("CARGO_BIN_EXE_wxgate")]);
        Self::start(command, name, config, &[])
    }

    /// The same, started by a program in Python whose last argument is the binary.
    pub fn serve_under(python: &str, name: &str, config: &str, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", python, env!("CARGO_BIN_EXE_wxgate")]);
        Self::start(command, name, config, env)
    }

    /// Serves the configuration of this file, which is in the folder already.
    pub fn serve_file(name: &str, file: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wxgate"));
        command.args(["--config", file]);
        Self::run(command, name, &[])
    }

    fn start(command: Command, name: &str, config: &str, env: &[(&str, &str)]) -> Self {
        let folder = folder(name);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("gateway.toml"), config).expect("a file");
        Self::run(command, name, env)
    }

    fn run(mut command: Command, name: &str, env: &[(&str, &str)]) -> Self {
        let folder = folder(name);
        let mut child = command
            .current_dir(&folder)
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (lines, messages) = (LogSink::default(), LogSink::default());
        let readers = vec![
            keep(child.stdout.take().expect("a pipe"), lines.clone()),
            keep(child.stderr.take().expect("a pipe"), messages.clone()),
        ];
        let addrs = until("two listeners", || {
            let text = messages.text();
            let mut found = text.lines().filter_map(addr);
            Some([found.next()?, found.next()?])
        });
        Self { child, successor: None, replaced: 0, lines, messages, readers, addrs }
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(self.addrs[0])
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    /// The same to the operators' listener.
    pub fn admin(&self) -> Client {
        Client::connect(self.admin_addr()).calling(&self.admin_addr().to_string())
    }

    /// Where the operators' listener is.
    pub fn admin_addr(&self) -> SocketAddr {
        self.addrs[1]
    }

    /// The most memory that it has had so far, in bytes.
    pub fn peak_memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
        line.trim().strip_suffix(" kB").and_then(|n| n.parse::<usize>().ok()).expect("kilobytes") * 1024
    }

    /// Sends SIGUSR2, and waits until another process has taken the place of this one, which has ended well.
    pub fn replace(&mut self) {
        self.signal(Signal::USR2);
        self.await_successor();
    }

    /// The same without the signal.
    pub fn await_successor(&mut self) {
        let before = self.pid();
        let line = until("a new process", || self.messages.nth_line("a new process takes over", self.replaced));
        let (_, pid) = line.split_once("\"pid\":").expect("its pid");
        let digits: String = pid.chars().take_while(char::is_ascii_digit).collect();
        let is_child = self.successor.is_none();
        self.successor = digits.parse().ok().and_then(Pid::from_raw);
        until("the end of the old one", || self.messages.nth_line("\"stopped\"", self.replaced));
        self.replaced += 1;
        if is_child {
            let status = self.child.wait().expect("an end");
            assert!(status.success(), "{status}: {}", self.messages.text());
        } else {
            until("the end of the old one", || (!is_alive(before)).then_some(()));
        }
    }

    /// The process that it has started to take its place.
    pub fn heir(&self) -> Pid {
        let ours = self.pid().as_raw_nonzero().to_string();
        until("a process of its own", || {
            let all = fs::read_dir("/proc").expect("processes").flatten();
            let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
            pids.filter(|pid| stat(*pid).is_some_and(|[_, parent]| parent == ours)).find_map(Pid::from_raw)
        })
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        if let Some(pid) = self.successor {
            return pid;
        }
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a signal");
    }

    /// Waits for a clean end, after somebody was told to stop.
    pub fn await_end(&mut self) {
        let status = self.child.wait().expect("an end");
        assert!(status.success(), "{status}: {}", self.messages.text());
    }

    /// Sends SIGTERM, waits for a clean end, and gives all that was written to standard output and standard error.
    pub fn stop(mut self) -> (String, String) {
        self.signal(Signal::TERM);
        // A process that it did not start itself ends when nobody has its standard output any more.
        let status = self.child.wait().expect("an end");
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader");
        }
        assert!(status.success(), "{status}: {}", self.messages.text());
        (self.lines.text(), self.messages.text())
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        if let Some(pid) = self.successor {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The state of a process, and its parent.
fn stat(pid: i32) -> Option<[String; 2]> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned);
    Some([words.next()?, words.next()?])
}

/// Whether it is there, and not only its name, because nobody has asked for its end.
pub fn is_alive(pid: Pid) -> bool {
    stat(pid.as_raw_nonzero().get()).is_some_and(|[state, _]| state != "Z")
}

/// Where a gateway of this name runs.
pub fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Whatever comes goes into the sink, until the end.
fn keep(mut from: impl Read + Send + 'static, mut into: LogSink) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut bytes) {
            let _: io::Result<()> = into.write_all(&bytes[..n]);
        }
    })
}

/// The address in a line that says where it listens, in either format.
fn addr(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("addr\":\"").or_else(|| line.split_once("addr="))?;
    let end = rest.find(['"', ' ']).unwrap_or(rest.len());
    rest[..end].parse().ok()
}
