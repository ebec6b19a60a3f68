//! Processes on processors of their own, and what the kernel says they take.

use std::{
    fs, io,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// Where a process may run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Core {
    /// What is measured.
    First,
    /// Load and backend.
    Second,
    Both,
}

impl Core {
    const fn list(self) -> &'static str {
        match self {
            Self::First => "0",
            Self::Second => "1",
            Self::Both => "0,1",
        }
    }

    /// A command that runs there.
    pub(super) fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", self.list()]).arg(program);
        command
    }

    /// Moves this process there, with the threads that it has yet to start.
    pub(super) fn take(self) -> io::Result<()> {
        let own = std::process::id().to_string();
        let mut command = Command::new("taskset");
        let status = command.args(["-acp", self.list(), &own]).stdout(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other("taskset can't move this process")) }
    }
}

/// A process with those that it has started, none of which outlives this.
pub(super) struct Process(pub(super) Child);

impl Process {
    /// What all of them have spent of the processors.
    pub(super) fn spent(&self) -> Duration {
        let nanos = self.tasks().into_iter().filter_map(|task| {
            let stat = fs::read_to_string(format!("{task}/schedstat")).ok()?;
            stat.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    /// How often they had to wait for something, and how often they were made to wait.
    pub(super) fn switches(&self) -> (u64, u64) {
        let of = |name| self.tasks().iter().filter_map(|task| number(&format!("{task}/status"), name)).sum();
        (of("voluntary_ctxt_switches:"), of("nonvoluntary_ctxt_switches:"))
    }

    /// KiB of memory, now and at most.
    pub(super) fn memory(&self) -> (u64, u64) {
        let status = format!("/proc/{}/status", self.0.id());
        (number(&status, "VmRSS:").unwrap_or(0), number(&status, "VmHWM:").unwrap_or(0))
    }

    fn tasks(&self) -> Vec<String> {
        let mut tasks = Vec::new();
        collect(&self.0.id().to_string(), &mut tasks);
        tasks
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A master ends its workers when it is asked to, and can't when it is killed.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        for _ in 0..100 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn collect(pid: &str, tasks: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(Path::new("/proc").join(pid).join("task")) else { return };
    for entry in entries.flatten() {
        let task = entry.path().to_string_lossy().into_owned();
        let children = fs::read_to_string(format!("{task}/children")).unwrap_or_default();
        tasks.push(task);
        children.split_whitespace().for_each(|child| collect(child, tasks));
    }
}

fn number(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}
