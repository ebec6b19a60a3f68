//! The gateway as a process of its own: started, timed, asked what it takes, ended.

use std::{
    fs,
    io::{self, BufRead, BufReader, Lines},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::wire::Wire;

/// The app of all sessions.
pub(super) const APP: &str = "wx4f4bc4dec97d474b";

/// So long it may take to be ready.
const PATIENCE: Duration = Duration::from_mins(1);

/// A gateway, which does not outlive this.
pub(super) struct Gateway {
    child: Child,
    pub(super) public: SocketAddr,
    admin: SocketAddr,
    /// How long after it was executed `/readyz` said yes.
    pub(super) ready_after: Duration,
}

/// Writes a `gateway.toml` for the file of sessions in this folder. Nothing is forwarded and nobody logs in, so neither the
/// backend nor WeChat is anywhere.
pub(super) fn configure(folder: &Path, capacity: u64) -> io::Result<PathBuf> {
    let (path, file) = (folder.join("gateway.toml"), folder.join("wxgate.db"));
    let config = format!(
        r#"
[server]
listen = ["127.0.0.1:0"]

[admin]
listen = "127.0.0.1:0"

[[apps]]
app_id = "{APP}"
secret = "no secret to anybody who reads this"
api_base = "http://127.0.0.1:9"

[sessions]
capacity = {capacity}
[sessions.snapshot]
path = '{}'

[[upstreams]]
name = "app"
servers = ["http://127.0.0.1:9"]

[[routes]]
path = "/"
upstream = "app"
"#,
        file.display()
    );
    fs::write(&path, config)?;
    Ok(path)
}

impl Gateway {
    /// Returns when it is ready. Its access log is thrown away.
    pub(super) fn start(binary: &Path, config: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(binary);
        command.arg("--config").arg(config).stdout(Stdio::null()).stderr(Stdio::piped());
        let begun = Instant::now();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut gateway =
            Self { child: command.spawn()?, public: nowhere, admin: nowhere, ready_after: Duration::ZERO };
        let stderr = gateway.child.stderr.take().ok_or_else(|| anyhow::anyhow!("no pipe"))?;
        let mut said = BufReader::new(stderr).lines();
        gateway.public = address(&mut said, "serving")?;
        gateway.admin = address(&mut said, "operators")?;
        // Nobody may be stopped by a pipe that is full.
        thread::spawn(move || said.for_each(drop));
        let mut wire = Wire::connect(gateway.admin)?;
        while !ask(&mut wire, "/readyz")?.0.starts_with("HTTP/1.1 200 ") {
            anyhow::ensure!(begun.elapsed() < PATIENCE, "the gateway is not ready");
        }
        gateway.ready_after = begun.elapsed();
        Ok(gateway)
    }

    /// A line of `/proc/…/status`, in KiB.
    pub(super) fn memory(&self, line: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = status.lines().find_map(|found| found.strip_prefix(line));
        Ok(kib.ok_or_else(|| anyhow::anyhow!("no {line}"))?.trim().trim_end_matches(" kB").parse()?)
    }

    /// How many look-ups of a session had this outcome.
    pub(super) fn looked_up(&self, outcome: &str) -> anyhow::Result<u64> {
        let (_, page) = ask(&mut Wire::connect(self.admin)?, "/metrics")?;
        let sample = format!("wxgate_session_lookups_total{{outcome=\"{outcome}\"}} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&sample));
        Ok(value.ok_or_else(|| anyhow::anyhow!("no {sample}"))?.parse()?)
    }

    /// Ends it as an operator does, expects it to end well, and says how long that took.
    pub(super) fn end(mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "the gateway ended with {status}");
        Ok(begun.elapsed())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The loopback address in the next line that has this word in it.
fn address(said: &mut Lines<BufReader<ChildStderr>>, word: &str) -> anyhow::Result<SocketAddr> {
    let found = said.map_while(Result::ok).filter(|line| line.contains(word)).find_map(|line| {
        let digits = line.split_once("127.0.0.1:")?.1.chars().take_while(char::is_ascii_digit);
        digits.collect::<String>().parse::<u16>().ok()
    });
    let port = found.ok_or_else(|| anyhow::anyhow!("the gateway ended before it said '{word}'"))?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// The head and the body of what the operators' listener answers.
fn ask(wire: &mut Wire, path: &str) -> io::Result<(String, String)> {
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").as_bytes())?;
    let head = String::from_utf8_lossy(wire.head()?).into_owned();
    let mut body = Vec::new();
    wire.body(|piece| body.extend_from_slice(piece))?;
    Ok((head, String::from_utf8_lossy(&body).into_owned()))
}
