//! The gateway and the stand-in as processes of their own: started, asked what they take, ended.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
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

/// Starts the gateway and returns where it listens. Its access log is thrown away; what else it has to say goes into a
/// file.
pub(super) fn start_gateway(binary: &Path, folder: &Path, config: &str) -> io::Result<(Process, SocketAddr)> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("gateway.toml"), config)?;
    let mut command = Command::new(binary);
    command.arg("--config").arg(folder.join("gateway.toml"));
    let mut child = Process(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?);
    let mut said = Tee { from: child.0.stderr.take(), to: File::create(folder.join("wxgate.log"))? };
    let addr = address(Some(&mut said), "serving")?;
    // Nobody may be stopped by a pipe that is full.
    thread::spawn(move || io::copy(&mut said, &mut io::sink()));
    Ok((child, addr))
}

impl Process {
    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(super) fn usage(&self) -> io::Result<Usage> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss_kib = rss.and_then(|rss| rss.trim().trim_end_matches(" kB").parse().ok());
        let files = fs::read_dir(format!("/proc/{}/fd", self.pid()))?.count() as u64;
        Ok(Usage { rss_kib: rss_kib.ok_or(io::ErrorKind::InvalidData)?, files })
    }

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
