//! What wxgate and systemd say to each other: sockets that were bound before it started, and how it is doing. Where it was
//! not started by systemd, none of this does anything.

use std::{collections::HashMap, io, net::TcpListener, os::unix::net::UnixListener};

use listenfd::ListenFd;
use sd_notify::{NotifyState, listen_fds_with_names, notify};

/// What a socket is called that has no name.
const NAMELESS: &str = "unknown";

/// By which systemd says what sockets it has bound for a process.
pub const VARIABLES: [&str; 4] = ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "LISTEN_PIDFDID"];

/// A socket that was bound for us.
#[derive(Debug)]
pub enum Passed {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// The sockets that were bound for this process, by their names in systemd (`FileDescriptorName=`).
#[derive(Debug, Default)]
pub struct PassedSockets(HashMap<String, Vec<Passed>>);

impl PassedSockets {
    /// Those of this process. It is to be asked once and early: what says that there are any is gone after it, so that no
    /// child takes them for its own.
    pub fn of_this_process() -> io::Result<Self> {
        let mut names = listen_fds_with_names()?.map(|(_, name)| name);
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for place in 0..passed.len() {
            let name = names.next().unwrap_or_else(|| NAMELESS.to_owned());
            let socket = match passed.take_tcp_listener(place) {
                Ok(tcp) => tcp.map(Passed::Tcp),
                Err(_) => passed.take_unix_listener(place)?.map(Passed::Unix),
            };
            sockets.extend(socket.map(|socket| (name, socket)));
        }
        Ok(Self::of(sockets))
    }

    /// These sockets, by name.
    pub fn of(sockets: impl IntoIterator<Item = (String, Passed)>) -> Self {
        let mut by_name = HashMap::<_, Vec<_>>::new();
        for (name, socket) in sockets {
            by_name.entry(name).or_default().push(socket);
        }
        Self(by_name)
    }

    /// Takes the sockets of this name; there may be several, and there may be none.
    pub fn take(&mut self, name: &str) -> Vec<Passed> {
        self.0.remove(name).unwrap_or_default()
    }

    /// The names of those that nobody has taken.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

/// Tells systemd that everything listens.
pub fn tell_ready() {
    tell(&[NotifyState::Ready]);
}

/// Tells systemd that files are being read again; [`tell_ready`] ends that.
pub fn tell_reloading() {
    let states = [Some(NotifyState::Reloading), NotifyState::monotonic_usec_now().ok()];
    tell(&states.into_iter().flatten().collect::<Vec<_>>());
}

/// Tells systemd which process it is about from here on.
pub fn tell_main(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

/// Tells systemd that a stop has begun.
pub fn tell_stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = notify(states) {
        tracing::warn!(%error, "systemd could not be told how it is going");
    }
}
