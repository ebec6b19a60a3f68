//! The two servers, each a process of its own on a socket in the file system, and what each takes for a request.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use wxgate::config::sections::ServerAddress;

use crate::{
    behind::program,
    support::{Recorder, Seen, until},
};

/// What every header begins with that differs with each request and each connection.
const NOT_COMPARED: [&str; 8] = [
    "connection",
    "content-length",
    "forwarded",
    "host",
    "transfer-encoding",
    "x-forwarded-host",
    "x-place",
    "x-request-id",
];

/// What a server took for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub method: String,
    pub target: String,
    /// Where that leads, decoded and resolved as this server does it.
    pub place: String,
    /// Each header as `name: value`, by name.
    pub headers: Vec<String>,
    pub body: String,
}

/// A running server. Dropped, it is killed.
pub struct Backend {
    child: Child,
    folder: tempfile::TempDir,
    heard: Box<dyn Fn() -> Vec<Heard>>,
}

impl Backend {
    /// nginx, at its most lenient. What it hears it passes on to a recorder.
    pub fn nginx() -> Self {
        let behind = Recorder::start();
        let scratch =
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path {name};\n"));
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr;\n\
             events {{}}\nhttp {{\naccess_log off;\n{}\
             server {{ listen unix:backend.sock; underscores_in_headers on; ignore_invalid_headers off;\n\
             location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_set_header Host $http_host;\n\
             proxy_set_header X-Place $uri; }} }} }}\n",
            scratch.concat(),
            behind.addr(),
        );
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("nginx.conf"), config).expect("a file");
        let mut command = Command::new(program("nginx"));
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf"]);
        let (child, _) = start(command, folder.path());
        Self { child, folder, heard: Box::new(move || behind.seen().iter().map(Heard::passed_on).collect()) }
    }

    /// Node's own server, as it comes.
    pub fn node() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("node");
        command.args(["-e", include_str!("server.js"), "backend.sock"]);
        let (child, said) = start(command, folder.path());
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let told = Arc::clone(&heard);
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                told.lock().expect("nobody panics with it").push(Heard::told(&line));
            }
        });
        Self { child, folder, heard: Box::new(move || heard.lock().expect("nobody panics with it").clone()) }
    }

    pub fn address(&self) -> ServerAddress {
        ServerAddress::Unix(self.folder.path().join("backend.sock"))
    }

    /// Every request so far.
    pub fn heard(&self) -> Vec<Heard> {
        (self.heard)()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server in its folder and waits until it listens there.
fn start(mut command: Command, folder: &Path) -> (Child, ChildStdout) {
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    until("a server", || {
        assert!(child.try_wait().expect("a status").is_none(), "{command:?} has ended");
        UnixStream::connect(folder.join("backend.sock")).ok()
    });
    let said = child.stdout.take().expect("a pipe");
    (child, said)
}

impl Heard {
    fn new(method: &str, target: &str, place: &str, headers: &[(String, String)], body: String) -> Self {
        let lines = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let compared = lines.filter(|(name, _)| !NOT_COMPARED.contains(&name.as_str()));
        let mut headers: Vec<_> = compared.map(|(name, value)| format!("{name}: {}", value.trim())).collect();
        headers.sort();
        Self { method: method.to_owned(), target: target.to_owned(), place: place.trim().to_owned(), headers, body }
    }

    fn passed_on(seen: &Seen) -> Self {
        let place = seen.header("x-place").unwrap_or_default();
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        Self::new(&seen.method, &seen.target, place, &seen.headers, body)
    }

    fn told(line: &str) -> Self {
        let line: Value = serde_json::from_str(line).expect("a JSON line");
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        let headers: Vec<(String, String)> = serde_json::from_value(line["headers"].clone()).expect("pairs");
        Self::new(text("method"), text("target"), text("place"), &headers, text("body").to_owned())
    }

    /// What it was told of the caller, by any name that it could take for one of ours.
    pub fn identity(&self) -> Vec<&str> {
        let alike = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
        let is_ours = |line: &&String| line.bytes().take(5).map(alike).eq(*b"x-wx-");
        self.headers.iter().filter(is_ours).map(String::as_str).collect()
    }
}
