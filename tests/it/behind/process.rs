//! A proxy as a process of its own, on a free port, with the configuration that its page in `docs/` shows.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::support::{ports::own_port, until};

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Caddy,
    HaProxy,
}

/// What stands in a configuration, and what is put in its place.
pub type Spoil<'a> = &'a [(&'a str, &'a str)];

/// A running proxy. Dropped, it is killed.
pub struct Process {
    child: Child,
    folder: tempfile::TempDir,
    pub addr: SocketAddr,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Nginx, Self::Caddy, Self::HaProxy];

    fn page(self) -> &'static str {
        match self {
            Self::Nginx => include_str!("../../../docs/BEHIND_NGINX.md"),
            Self::Caddy => include_str!("../../../docs/BEHIND_CADDY.md"),
            Self::HaProxy => include_str!("../../../docs/BEHIND_HAPROXY.md"),
        }
    }

    /// The text that the page shows in this language, with these addresses in place of its own.
    fn text(self, language: &str, moved: &[(&str, String)]) -> String {
        let (_, rest) = self.page().split_once(&format!("```{language}\n")).expect("the page shows it");
        let (text, _) = rest.split_once("```").expect("its end");
        moved.iter().fold(text.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "the page has no {from}");
            text.replace(from, to)
        })
    }

    /// Writes its files, with each `spoil.0` replaced, and says how it is started in their folder.
    fn command(self, folder: &Path, addr: SocketAddr, [wxgate, app]: [SocketAddr; 2], spoil: Spoil<'_>) -> Command {
        let write = |name: &str, text: String| {
            let text = spoil.iter().fold(text, |text, (from, to)| text.replace(from, to));
            fs::write(folder.join(name), text).expect("a file");
        };
        let (gate, backend) = (("127.0.0.1:8080", wxgate.to_string()), ("127.0.0.1:3000", app.to_string()));
        let mut command;
        match self {
            Self::Nginx => {
                let listen = ("listen 80;", format!("listen {addr};"));
                let scratch = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|name| format!("{name}_temp_path {name};\n"))
                    .concat();
                let around = format!(
                    "daemon off; master_process off; pid nginx.pid; error_log stderr;\n\
                     events {{}}\nhttp {{ access_log off;\n{scratch}{} }}\n",
                    self.text("nginx", &[listen, gate, backend])
                );
                write("nginx.conf", around);
                command = Command::new(program("nginx"));
                command.arg("-p").arg(folder).args(["-c", "nginx.conf"]);
            }
            Self::Caddy => {
                let site = ("api.example.com {", format!("http://:{} {{\nbind {}", addr.port(), addr.ip()));
                let text = self.text("caddyfile", &[site, gate, backend]);
                write("Caddyfile", format!("{{\nadmin off\nauto_https off\n}}\n{text}"));
                command = Command::new(program("caddy"));
                command.args(["run", "--config", "Caddyfile", "--adapter", "caddyfile"]);
                command.env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder).env("HOME", folder);
            }
            Self::HaProxy => {
                let bind = ("bind :80", format!("bind {addr}"));
                let script = ("/etc/haproxy/wxgate.lua", "wxgate.lua".to_owned());
                write("haproxy.cfg", self.text("haproxy", &[bind, script, gate.clone(), backend]));
                write("wxgate.lua", self.text("lua", &[gate]));
                command = Command::new(program("haproxy"));
                command.args(["-f", "haproxy.cfg", "-db"]);
            }
        }
        command
    }
}

/// Where it is: Debian has some of them where not everybody looks.
pub fn program(name: &str) -> PathBuf {
    let place = Path::new("/usr/sbin").join(name);
    if place.exists() { place } else { name.into() }
}

impl Process {
    /// Starts the proxy before this gateway and this backend.
    pub fn start(kind: Kind, behind: [SocketAddr; 2]) -> Self {
        Self::spoilt(kind, behind, &[])
    }

    /// The same after somebody has been at its configuration.
    pub fn spoilt(kind: Kind, behind: [SocketAddr; 2], spoil: Spoil<'_>) -> Self {
        let mut said = String::new();
        for _ in 0..20 {
            // Where somebody else is quicker to take the port, it is tried again with another.
            let addr = SocketAddr::from(([127, 0, 0, 1], own_port()));
            let folder = tempfile::tempdir().expect("a folder");
            let mut command = kind.command(folder.path(), addr, behind, spoil);
            let log = fs::File::create(folder.path().join("log")).expect("a file");
            command
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("a file"))
                .stderr(log);
            let child = command.spawn().unwrap_or_else(|error| panic!("{kind:?} does not start: {error}"));
            let mut process = Self { child, folder, addr };
            if process.listens() {
                return process;
            }
            said = process.said();
        }
        panic!("{kind:?} does not start: {said}");
    }

    /// Waits until it listens, or has ended.
    fn listens(&mut self) -> bool {
        until("a proxy", || {
            if self.child.try_wait().expect("a status").is_some() {
                return Some(false);
            }
            TcpStream::connect(self.addr).is_ok().then_some(true)
        })
    }

    /// What it has written so far.
    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
