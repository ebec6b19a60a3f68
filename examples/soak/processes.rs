//! The gateway and the stand-in as processes of their own: started, asked what they take, ended.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::lean;

/// A process, which does not outlive this.
pub(super) struct Process(Child);

/// What a process takes.
pub(super) struct Usage {
    pub(super) rss_kib: u64,
    pub(super) files: u64,
}

/// Starts the stand-in and returns where it listens.
pub(super) fn start_stand_in(binary: &Path) -> io::Result<(Process, SocketAddr)> {
    let app = format!("{}={}", lean::APP, lean::SECRET);
    let mut command = Command::new(binary);
    command.args(["simulate", "--listen", "127.0.0.1:0", "--minute-quota", "0", "--app", &app]);
    let mut child = Process(command.stdout(Stdio::piped()).spawn()?);
    let addr = address(child.0.stdout.take(), "listens on")?;
    Ok((child, addr))
}

/// The gateway, whichever process it is at the moment.
pub(super) struct Gateway {
    /// The first one. It has to be asked for its end.
    first: Process,
    pid: AtomicU32,
    config: PathBuf,
    /// What is written there, whatever else is.
    text: String,
    log: PathBuf,
}

impl Gateway {
    /// Starts it and returns where it listens. Its access log is thrown away; what else it has to say goes into a file.
    pub(super) fn start(binary: &Path, folder: &Path, text: String) -> io::Result<(Self, SocketAddr)> {
        fs::create_dir_all(folder)?;
        let (config, log) = (folder.join("gateway.toml"), folder.join("wxgate.log"));
        fs::write(&config, &text)?;
        let mut command = Command::new(binary);
        command.arg("--config").arg(&config);
        let mut first = Process(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?);
        let mut said = Tee { from: first.0.stderr.take(), to: File::create(&log)? };
        let addr = address(Some(&mut said), "serving")?;
        // Nobody may be stopped by a pipe that is full.
        thread::spawn(move || io::copy(&mut said, &mut io::sink()));
        let pid = AtomicU32::new(first.0.id());
        Ok((Self { first, pid, config, text, log }, addr))
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    pub(super) fn usage(&self) -> io::Result<Usage> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss_kib = rss.and_then(|rss| rss.trim().trim_end_matches(" kB").parse().ok());
        let files = fs::read_dir(format!("/proc/{}/fd", self.pid()))?.count() as u64;
        Ok(Usage { rss_kib: rss_kib.ok_or(io::ErrorKind::InvalidData)?, files })
    }

    /// Puts this behind its configuration, in one step.
    pub(super) fn write(&self, more: &str) -> io::Result<()> {
        let draft = self.config.with_extension("new");
        fs::write(&draft, format!("{}{more}", self.text))?;
        fs::rename(draft, &self.config)
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        Ok(kill_process(pid, signal)?)
    }

    /// Has another process take its place, and waits until that one is alone.
    pub(super) fn replace(&self) -> io::Result<()> {
        let before = self.pid();
        let so_far = self.said("a new process takes over")?.len();
        self.signal(Signal::USR2)?;
        let line = wait_for(|| Ok(self.said("a new process takes over")?.get(so_far).cloned()))?;
        let digits = line.split_once("\"pid\":").map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit));
        let pid =
            digits.and_then(|digits| digits.collect::<String>().parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        self.pid.store(pid, Ordering::Relaxed);
        wait_for(|| Ok((!is_alive(before)).then_some(())))
    }

    /// The lines with this in them that it has said so far.
    pub(super) fn said(&self, part: &str) -> io::Result<Vec<String>> {
        let text = fs::read_to_string(&self.log)?;
        Ok(text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect())
    }

    /// Ends it as an operator does, and expects it to end well.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        let last = self.pid();
        wait_for(|| Ok((!is_alive(last)).then_some(())))?;
        let status = self.first.0.wait()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("a process ended with {status}"))) }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already, and the first is no other's business.
        if self.pid() != self.first.0.id() && is_alive(self.pid()) {
            let _ = self.signal(Signal::KILL);
        }
    }
}

/// Asks again and again, for longer than anything takes.
fn wait_for<T>(mut ask: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    for _ in 0..3000 {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Whether a process is there, and not only waits for somebody to ask for its end.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
}

impl Process {
    /// Ends it as an operator does, and expects it to end well.
    pub(super) fn end(mut self) -> io::Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::TERM)?;
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("a process ended with {status}"))) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is read, written down as well.
struct Tee<R> {
    from: Option<R>,
    to: File,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.from.as_mut().map_or(Ok(0), |from| from.read(buf))?;
        io::Write::write_all(&mut self.to, &buf[..read])?;
        Ok(read)
    }
}

/// The first loopback address in the first line that has this word in it.
fn address(output: Option<impl Read>, word: &str) -> io::Result<SocketAddr> {
    let lines = BufReader::new(output.ok_or(io::ErrorKind::BrokenPipe)?).lines();
    let found = lines.map_while(Result::ok).filter(|line| line.contains(word)).find_map(|line| {
        let digits = line.split_once("127.0.0.1:")?.1.chars().take_while(char::is_ascii_digit);
        digits.collect::<String>().parse().ok()
    });
    let port: u16 = found.ok_or_else(|| io::Error::other(format!("a process ended before it said '{word}'")))?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}
