//! Stopping: what runs is finished, what idles is closed, and what takes too long is cut; in process and as a process.

use std::{
    fs,
    io::{self, BufRead, BufReader, Lines},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
    sync::{Mutex, mpsc},
    thread::{JoinHandle, spawn},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use wxgate::config::Config;

use crate::support::{
    Client, Recorder, TestGateway,
    client::head,
    until,
    upstream::{Then, answer},
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The example of RFC 6455, 1.3.
const OPENED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const OPENING: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];
/// `hi` in a frame, as a client sends it with a mask of zeros.
const HI: &[u8] = b"\x81\x82\0\0\0\0hi";

/// The upstream answers `/public/slow` when the sender sends, or is gone.
fn slow(upstream: &Recorder) -> mpsc::Sender<()> {
    let (open, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    upstream.does(move |seen, out| {
        if seen.target.ends_with("slow") {
            let _ = wait.lock().unwrap().recv();
        }
        answer(out, OK)
    });
    open
}

/// Begins to stop, and returns when nobody gets in any more.
fn stop(gw: TestGateway) -> JoinHandle<()> {
    let addr = gw.addr();
    let stopping = spawn(move || gw.stop());
    until("the door to close", || TcpStream::connect(addr).is_err().then_some(()));
    stopping
}

/// It was taken from the queue as the last one, and its client has not had the time to ask.
#[test]
fn whoever_has_just_come_may_still_ask() {
    let mut gw = TestGateway::with(|config| config.server.drain_idle = Duration::ZERO);
    let addr = gw.addr();
    let mut newcomers: Vec<Client> = (0..4).map(|_| gw.client()).collect();
    gw.stop_while(|_| {
        until("nobody is let in", || TcpStream::connect(addr).err());
        for newcomer in &mut newcomers {
            let reply = newcomer.get("/public/");
            assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
        }
    });
}

#[test]
fn a_request_under_way_is_finished() {
    let gw = TestGateway::start();
    let open = slow(&gw.upstream);
    let mut clients: Vec<Client> = (0..4).map(|_| gw.client()).collect();
    for client in &mut clients {
        client.send(head("GET", "/public/slow", &[], 0));
    }
    gw.upstream.wait_for(4);
    let stopping = stop(gw);
    drop(open);
    for client in &mut clients {
        let reply = client.reply();
        assert_eq!((reply.text().as_str(), reply.header("connection")), ("ok", Some("close")));
        assert!(client.is_closed());
    }
    stopping.join().unwrap();
}

#[test]
fn an_answer_that_has_begun_is_finished() {
    let gw = TestGateway::start();
    let (open, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    gw.upstream.does(move |_, out| {
        answer(out, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
        let _ = wait.lock().unwrap().recv();
        answer(out, "later")
    });
    let mut client = gw.client();
    client.send(head("GET", "/public/", &[], 0));
    let mut begun = Vec::new();
    while !begun.ends_with(b"first") {
        begun.extend(client.some(1));
    }
    let stopping = stop(gw);
    drop(open);
    assert_eq!(client.rest(), b"later");
    stopping.join().unwrap();
}

#[test]
fn an_upload_under_way_is_finished() {
    let gw = TestGateway::start();
    let mut client = gw.client();
    client.send(head("POST", "/public/", &[], 9)).send("half");
    until("the first half", || (gw.upstream.bytes() > 9).then_some(()));
    let stopping = stop(gw);
    assert_eq!(client.raw("other").status, 200);
    stopping.join().unwrap();
}

#[test]
fn idle_connections_are_closed_at_once() {
    let gw = TestGateway::with(|config| config.server.drain_timeout = Duration::from_hours(1));
    let (mut fresh, mut used, mut parked) = (gw.client(), gw.client(), gw.client());
    assert_eq!(parked.get("/public/").status, 200);
    assert!(parked.stays_silent(Duration::from_millis(1600)));
    assert_eq!(used.get("/public/").status, 200);
    gw.stop();
    for client in [&mut fresh, &mut used, &mut parked] {
        assert_eq!(client.rest(), b"");
    }
}

/// Begins to stop, with an hour for idle connections, and returns when answers say so.
fn stop_with_patience(gw: TestGateway) -> (SocketAddr, JoinHandle<()>) {
    let addr = gw.addr();
    let stopping = spawn(move || gw.stop());
    until("a goodbye", || (Client::connect(addr).get("/public/").header("connection") == Some("close")).then_some(()));
    (addr, stopping)
}

fn patient(config: &mut Config) {
    let server = &mut config.server;
    (server.workers, server.drain_idle, server.drain_timeout) = (1, Duration::from_hours(1), Duration::from_hours(2));
}

#[test]
fn who_asks_on_an_idle_connection_while_it_stops_is_answered_and_told_to_go() {
    let gw = TestGateway::with(patient);
    let (mut fresh, mut used, mut parked) = (gw.client(), gw.client(), gw.client());
    assert_eq!(parked.get("/public/").status, 200);
    assert!(parked.stays_silent(Duration::from_millis(1600)));
    assert_eq!(used.get("/public/").header("connection"), None);
    let (addr, stopping) = stop_with_patience(gw);
    for client in [&mut fresh, &mut used, &mut parked, &mut Client::connect(addr)] {
        let reply = client.post("/public/", "body");
        assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
        assert!(client.is_closed());
    }
    stopping.join().unwrap();
    assert!(TcpStream::connect(addr).is_err(), "it ends when nobody is there any more");
}

#[test]
fn who_has_an_answer_from_before_may_ask_once_more() {
    let gw = TestGateway::with(patient);
    let (open, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    gw.upstream.does(move |seen, out| {
        if seen.target != "/public/long" {
            return answer(out, OK);
        }
        answer(&mut *out, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
        let _ = wait.lock().unwrap().recv();
        answer(out, "later")
    });
    let mut client = gw.client();
    client.send(head("GET", "/public/long", &[], 0));
    assert_eq!(client.head_only().header("connection"), None);
    let (_, stopping) = stop_with_patience(gw);
    drop(open);
    assert_eq!(client.some(10), b"firstlater");
    assert_eq!(client.get("/public/").header("connection"), Some("close"));
    stopping.join().unwrap();
}

#[test]
fn who_says_nothing_is_closed_when_the_time_for_it_is_over() {
    let gw = TestGateway::with(|config| {
        (config.server.drain_idle, config.server.drain_timeout) = (Duration::from_millis(300), Duration::from_hours(1));
    });
    let (mut fresh, mut used) = (gw.client(), gw.client());
    assert_eq!(used.get("/public/").status, 200);
    gw.stop();
    assert_eq!((fresh.rest(), used.rest()), (Vec::new(), Vec::new()));
}

#[test]
fn a_websocket_stays_open_as_long_as_others_may_still_come() {
    let gw = TestGateway::with(|config| {
        patient(config);
        config.routes[2].websocket = true;
    });
    gw.upstream.does(|seen, out| {
        if seen.header("upgrade").is_none() {
            return answer(out, OK);
        }
        answer(&mut *out, OPENED);
        let _ = io::copy(&mut out.try_clone().unwrap(), out);
        Then::Close
    });
    let mut socket = gw.client();
    socket.send(head("GET", "/public/", &OPENING, 0));
    assert_eq!(socket.head_only().status, 101);
    let (_, stopping) = stop_with_patience(gw);
    assert_eq!(socket.send(HI).some(HI.len()), HI);
    drop(socket);
    stopping.join().unwrap();
}

#[test]
fn what_takes_too_long_is_cut() {
    let gw = TestGateway::with(|config| config.server.drain_timeout = Duration::from_millis(200));
    let _open = slow(&gw.upstream);
    let (mut waiting, mut sending) = (gw.client(), gw.client());
    waiting.send(head("GET", "/public/slow", &[], 0));
    sending.send(head("POST", "/public/", &[], 9)).send("half");
    gw.upstream.wait_for(1);
    gw.stop();
    assert_eq!((waiting.rest(), sending.rest()), (Vec::new(), Vec::new()));
}

#[test]
fn who_has_come_and_asked_is_served() {
    for workers in [1, 2] {
        for _ in 0..8 {
            let gw = TestGateway::with(|config| config.server.workers = workers);
            let mut old: Vec<Client> = (0..8).map(|_| gw.client()).collect();
            assert!(old.iter_mut().all(|client| client.get("/public/").status == 200));
            let new: Vec<Client> = (0..32).map(|_| gw.client()).collect();
            let mut clients: Vec<Client> = old.into_iter().chain(new).collect();
            for client in &mut clients {
                client.send(head("GET", "/public/", &[], 0));
            }
            gw.stop();
            for (n, client) in clients.iter_mut().enumerate() {
                assert_eq!(client.try_reply("GET").map(|reply| reply.status).ok(), Some(200), "client {n}");
            }
        }
    }
}

#[test]
fn a_connection_beyond_the_limit_does_not_hold_up_the_end() {
    let gw = TestGateway::with(|config| config.server.max_connections = 1);
    let open = slow(&gw.upstream);
    let mut first = gw.client();
    first.send(head("GET", "/public/slow", &[], 0));
    gw.upstream.wait_for(1);
    let mut waiting: Vec<Client> = (0..4).map(|_| gw.client()).collect();
    let stopping = stop(gw);
    drop(open);
    assert_eq!(first.reply().status, 200);
    stopping.join().unwrap();
    assert!(waiting.iter_mut().all(Client::is_closed));
}

/// wxgate as its own process.
struct Process {
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
    addr: SocketAddr,
}

impl Process {
    fn start(test: &str, upstream: &Recorder, server: &str) -> Self {
        let mut child = wxgate(test, upstream, server).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = said.by_ref().map(Result::unwrap).find(|line| line.contains("\"serving\"")).expect("it serves");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let addr = line["addr"].as_str().unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        Self { child, said, addr }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn wait_for(&mut self, words: &str) {
        assert!(self.said.by_ref().map(Result::unwrap).any(|line| line.contains(words)), "it never said {words}");
    }

    fn exit_code(mut self) -> Option<i32> {
        // Reads until it closes, so that it never waits for a reader.
        self.said.by_ref().for_each(drop);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only a test that failed leaves it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wxgate(test: &str, upstream: &Recorder, server: &str) -> Command {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("gateway.toml");
    let config = format!(
        "[server]\n{server}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[apps]]\napp_id = \"wx4f4bc4dec97d474b\"\nsecret = {{ env = \"WX_APP_SECRET\" }}\n\
         [[upstreams]]\nname = \"app\"\nservers = [\"http://{}\"]\n\
         [[routes]]\npath = \"/\"\nauth = \"none\"\nupstream = \"app\"\n",
        upstream.addr()
    );
    fs::write(&path, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wxgate"));
    command.env("WX_APP_SECRET", "a-secret-of-its-own").stdin(Stdio::null()).stdout(Stdio::null());
    command.arg("--config").arg(path);
    command
}

const FREE: &str = "listen = [\"127.0.0.1:0\"]\ndrain_timeout = \"1h\"\ndrain_idle = \"0s\"";

#[test]
fn a_signal_ends_the_process_well() {
    for (test, signal) in [("drain_term", Signal::TERM), ("drain_int", Signal::INT)] {
        let upstream = Recorder::start();
        let open = slow(&upstream);
        let mut process = Process::start(test, &upstream, FREE);
        let (mut idle, mut busy) = (Client::connect(process.addr), Client::connect(process.addr));
        assert_eq!(idle.get("/public/").status, 200);
        busy.send(head("GET", "/public/slow", &[], 0));
        upstream.wait_for(2);
        process.signal(signal);
        process.wait_for("stopping");
        assert_eq!(idle.rest(), b"");
        drop(open);
        assert_eq!(busy.reply().text(), "ok");
        assert_eq!(process.exit_code(), Some(0), "{test}");
    }
}

#[test]
fn a_second_signal_cuts_at_once() {
    let upstream = Recorder::start();
    let _open = slow(&upstream);
    let mut process = Process::start("drain_twice", &upstream, FREE);
    let mut busy = Client::connect(process.addr);
    busy.send(head("GET", "/public/slow", &[], 0));
    upstream.wait_for(1);
    process.signal(Signal::TERM);
    process.wait_for("stopping");
    process.signal(Signal::TERM);
    assert_eq!(busy.rest(), b"");
    assert_eq!(process.exit_code(), Some(0));
}

#[test]
fn a_port_in_use_is_said_plainly() {
    let upstream = Recorder::start();
    let taken = upstream.addr();
    let Output { status, stderr, .. } =
        wxgate("drain_taken", &upstream, &format!("listen = [\"{taken}\"]")).output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.lines().any(|line| line.starts_with(&format!("wxgate: can't listen on {taken}: "))), "{said}");
}
