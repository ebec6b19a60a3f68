//! A real redis-server of a test's own: on a free port of the loopback, in a folder that goes with it.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use redis::{Commands, Connection, Value};
use rustix::process::{Pid, Signal, kill_process};
use wxgate::config::sections::{Endpoint, Redis, RedisServers};

use super::{ports::own_port, until};

/// A redis-server. Dropped, it is killed.
pub struct RedisServer {
    child: Option<Child>,
    folder: tempfile::TempDir,
    port: u16,
    options: Vec<String>,
    /// `--sentinel` makes another kind of server of it.
    sentinel: bool,
    /// Whether it answers in the clear and asks for no password, so that the harness can talk to it.
    open: bool,
}

impl RedisServer {
    /// One that keeps nothing over a restart.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same with more options.
    pub fn with(options: &[&str]) -> Self {
        Self::launch(options, false, true)
    }

    /// One that the harness can't talk to, for it wants TLS or a password.
    pub fn closed(options: &[&str]) -> Self {
        Self::launch(options, false, false)
    }

    /// A sentinel, with these lines in its file.
    pub fn sentinel(lines: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("sentinel.conf"), lines).expect("a file");
        Self::run(Self { child: None, folder, port: 0, options: Vec::new(), sentinel: true, open: true })
    }

    fn launch(options: &[&str], sentinel: bool, open: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Self::run(Self { child: None, folder, port: 0, options, sentinel, open })
    }

    /// Starts it, on another port where somebody was quicker.
    fn run(mut self) -> Self {
        for _ in 0..20 {
            self.port = own_port();
            if self.start_process() {
                return self;
            }
        }
        panic!("redis-server does not start: is it installed?");
    }

    fn start_process(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        if self.sentinel {
            command.arg("sentinel.conf").arg("--sentinel");
        }
        let port = self.port.to_string();
        let words = ["--bind", "127.0.0.1", "--port", if self.wants_tls() { "0" } else { &port }, "--daemonize", "no"];
        command.args(words).args(["--protected-mode", "no", "--loglevel", "warning"]);
        if !self.sentinel {
            command.args(["--save", "", "--repl-diskless-sync-delay", "0"]);
        }
        if self.wants_tls() {
            command.args(["--tls-port", &port]);
        }
        command.args(&self.options).current_dir(self.folder.path());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).spawn();
        self.child = Some(child.expect("redis-server is installed"));
        until("a redis-server", || {
            let ended = self.child.as_mut().expect("a child").try_wait().expect("a status").is_some();
            if ended {
                return Some(false);
            }
            self.answers().then_some(true)
        })
    }

    fn wants_tls(&self) -> bool {
        self.options.iter().any(|option| option.starts_with("--tls-"))
    }

    fn answers(&self) -> bool {
        if !self.open {
            return TcpStream::connect(self.addr()).is_ok();
        }
        let url = format!("redis://{}", self.addr());
        let connection = redis::Client::open(url).and_then(|client| client.get_connection());
        connection.is_ok_and(|mut c| redis::cmd("PING").query::<Value>(&mut c).is_ok())
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn endpoint(&self) -> Endpoint {
        super::endpoint(self.addr())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The section that leads here. Times are short: a test has to wait for some of them.
    pub fn section(&self) -> Redis {
        section(RedisServers::One(self.endpoint()))
    }

    /// A connection of the test's own.
    pub fn connection(&self) -> Connection {
        let client = redis::Client::open(format!("redis://{}", self.addr())).expect("an address");
        client.get_connection().expect("a connection")
    }

    /// One command, its words between spaces.
    pub fn tell(&self, words: &str) -> Value {
        let mut words = words.split(' ');
        let mut cmd = redis::cmd(words.next().expect("a word"));
        cmd.arg(words.collect::<Vec<_>>());
        cmd.query(&mut self.connection()).expect("an answer")
    }

    /// Everything in it, names and values, as one lump of bytes.
    pub fn dump(&self) -> Vec<u8> {
        let mut connection = self.connection();
        let keys: Vec<Vec<u8>> = connection.keys("*").expect("names");
        let mut all = Vec::new();
        for key in keys {
            let kind: String = redis::cmd("TYPE").arg(&key).query(&mut connection).expect("a type");
            let value: Vec<Vec<u8>> = match kind.as_str() {
                "string" => vec![connection.get(&key).expect("a value")],
                "zset" => connection.zrange(&key, 0, -1).expect("members"),
                other => panic!("a {other} in Redis"),
            };
            all.extend(key);
            all.extend(value.concat());
        }
        all
    }

    /// Cuts every connection but the one that says so.
    pub fn cut_connections(&self) {
        redis::cmd("CLIENT").arg("KILL").arg("SKIPME").arg("yes").query::<Value>(&mut self.connection()).expect("cut");
    }

    /// Stops it in the middle of whatever it does. Its kernel goes on taking connections.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("an end");
        }
    }

    /// Starts it again, empty, where it was.
    pub fn restart(&mut self) {
        self.kill();
        // Nobody else gets this port within moments, but the kernel may hold it for one.
        until("the old port", || self.start_process().then_some(()));
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().expect("it runs").id();
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("a signal");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A section with times that a test can wait for.
pub fn section(servers: RedisServers) -> Redis {
    Redis { timeout: Duration::from_millis(500), stale_for: Duration::from_secs(1), ..Redis::new(servers) }
}

/// A Cluster of three masters.
pub struct RedisCluster {
    pub members: Vec<RedisServer>,
}

impl RedisCluster {
    pub fn start() -> Self {
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        let members: Vec<RedisServer> = (0..3).map(|_| RedisServer::with(&options)).collect();
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]);
        create.args(members.iter().map(|member| member.addr().to_string()));
        let done = create.arg("--cluster-yes").stdout(Stdio::null()).status().expect("redis-cli is installed");
        assert!(done.success(), "redis-cli --cluster create");
        let cluster = Self { members };
        cluster.until_whole();
        cluster
    }

    pub fn section(&self) -> Redis {
        section(RedisServers::Cluster(vec![self.members[0].endpoint()]))
    }

    /// Waits until every member has heard that all is well.
    pub fn until_whole(&self) {
        until("a whole Cluster", || {
            let whole = |member: &RedisServer| match member.tell("CLUSTER INFO") {
                Value::BulkString(info) => String::from_utf8_lossy(&info).contains("cluster_state:ok"),
                _ => false,
            };
            self.members.iter().all(whole).then_some(())
        });
    }
}

/// A server that takes every connection and never says a word, as one does that is stopped.
pub struct Silent {
    addr: SocketAddr,
    asked: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Silent {
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (asked, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&asked), Arc::clone(&over));
        thread::spawn(move || {
            let mut taken = Vec::new();
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                taken.push(stream);
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { addr, asked, over }
    }

    pub fn endpoint(&self) -> Endpoint {
        super::endpoint(self.addr)
    }

    /// How many connections were made to it.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Whoever waits for a connection gets one, and sees that it is over.
        let _ = TcpStream::connect(self.addr);
    }
}
