//! Sockets that systemd has bound, and what it is told.

use std::{
    net::TcpListener,
    os::unix::net::{UnixDatagram, UnixListener},
    time::Duration,
};

use rustix::process::Signal;
use wxgate::{
    app::World,
    config::sections::{ListenAt, Listener, Speaks},
    server::systemd::{Passed, PassedSockets},
};

use crate::support::{
    Client, TestGateway,
    binary::{Binary, folder},
    client::head,
    messages,
    tls::{Authority, swap},
    until,
};

/// What systemd does: it binds, and becomes the binary.
pub const SYSTEMD: &str = r#"
import os, socket, sys
os.chdir(os.getcwd())
tcp = socket.socket(); tcp.bind(("127.0.0.1", 0)); tcp.listen(16)
unix = socket.socket(socket.AF_UNIX)
if os.path.exists("passed.sock"): os.unlink("passed.sock")
unix.bind("passed.sock"); unix.listen(16)
for place, passed in ((3, tcp), (4, unix)):
    if passed.fileno() != place: os.dup2(passed.fileno(), place)
    os.set_inheritable(place, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="https:local")
os.execv(sys.argv[1], sys.argv[1:])
"#;

const REST: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[apps]]
app_id = "wx4f4bc4dec97d474b"
secret = "not used here"

[[upstreams]]
name = "app"
servers = ["http://127.0.0.1:9"]

[[routes]]
path = "/"
upstream = "app"
"#;

/// An answer that says that somebody is there.
const NOBODY_KNOWN: u16 = 401;

#[test]
fn sockets_that_systemd_has_bound_are_served() {
    let config = format!("[server]\nlisten = [\"systemd:https\", \"systemd:local\"]\nworkers = 2\n{REST}");
    let gw = Binary::serve_under(SYSTEMD, "systemd_sockets", &config, &[]);
    for _ in 0..8 {
        assert_eq!(gw.client().get("/").status, NOBODY_KNOWN);
        let path = folder("systemd_sockets").join("passed.sock");
        assert_eq!(Client::connect_unix(&path).get("/").status, NOBODY_KNOWN);
    }
    gw.stop();
    assert!(folder("systemd_sockets").join("passed.sock").exists(), "it is not ours to remove");
}

#[test]
fn systemd_is_told_how_it_is_going() {
    let place = folder("systemd_notify");
    std::fs::create_dir_all(&place).unwrap();
    let path = place.join("notify.sock");
    let _ = std::fs::remove_file(&path);
    let notified = UnixDatagram::bind(&path).unwrap();
    notified.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let told = || {
        let mut bytes = [0; 256];
        let n = notified.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..n]).into_owned()
    };
    let config = format!("[server]\nlisten = [\"127.0.0.1:0\"]\n{REST}");
    let gw = Binary::serve("systemd_notify", &config, &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    assert_eq!(told(), "READY=1\n");
    gw.signal(Signal::HUP);
    let reloading = told();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(told(), "READY=1\n");
    gw.signal(Signal::TERM);
    assert_eq!(told(), "STOPPING=1\n");
}

#[test]
fn a_hang_up_signal_makes_it_read_its_certificates_again() {
    let (ca, place) = (Authority::new(), folder("systemd_certificates"));
    std::fs::create_dir_all(&place).unwrap();
    let write = |name: &str| {
        let pair = ca.pair(&[name]);
        swap(&place.join("chain.pem"), &pair.chain);
        swap(&place.join("key.pem"), &pair.key);
    };
    write("old.example");
    let tls = "[server.tls]\ncert = \"chain.pem\"\nkey = \"key.pem\"\nwatch = \"0s\"\n";
    let config = format!("[server]\nlisten = [\"127.0.0.1:0\"]\n{tls}{REST}");
    let gw = Binary::serve("systemd_certificates", &config, &[]);
    let shown = |name: &str| ca.dialler().try_dial(gw.addr(), name).is_ok();
    assert!(shown("old.example"));
    write("new.example");
    gw.signal(Signal::HUP);
    until("the new one", || shown("new.example").then_some(()));
    swap(&place.join("key.pem"), "garbage");
    gw.signal(Signal::HUP);
    let line = gw.messages.line("a changed certificate can't be used");
    assert!(line.contains("key.pem holds no private key in PEM form"), "{line}");
    assert!(shown("new.example"));
}

/// A gateway that takes over these sockets under the name `web`.
fn taking_over(sockets: Vec<Passed>) -> TestGateway {
    let sockets = PassedSockets::of(sockets.into_iter().map(|socket| ("web".to_owned(), socket)));
    let web = Listener { listen: ListenAt::Systemd("web".to_owned()), speaks: Speaks::Http, proxy_protocol: false };
    let change = |config: &mut wxgate::config::Config| config.server.listeners = vec![web];
    TestGateway::try_in(World { sockets, ..World::default() }, change).unwrap()
}

#[test]
fn who_comes_while_nobody_serves_is_answered_by_the_next() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let passed = || vec![Passed::Tcp(socket.try_clone().unwrap())];
    let first = taking_over(passed());
    assert_eq!(Client::connect(addr).get("/public/1").status, 200);
    first.stop();
    let mut patient = Client::connect(addr);
    patient.send(head("GET", "/public/2", &[], 0));
    let _second = taking_over(passed());
    assert_eq!(patient.reply().status, 200);
}

#[test]
fn one_name_may_stand_for_several_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = tcp.local_addr().unwrap();
    let _gw = taking_over(vec![Passed::Tcp(tcp), Passed::Unix(UnixListener::bind(&path).unwrap())]);
    assert_eq!(Client::connect(addr).get("/public/").status, 200);
    assert_eq!(Client::connect_unix(&path).get("/public/").status, 200);
}

#[test]
fn a_socket_that_systemd_has_not_bound_is_missed_and_one_that_nobody_wants_is_told() {
    let missing = |config: &mut wxgate::config::Config| {
        config.server.listen.push(ListenAt::Systemd("web".to_owned()));
    };
    let error = TestGateway::try_in(World::default(), missing).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "can't listen on systemd:web");
    let extra = TcpListener::bind("127.0.0.1:0").unwrap();
    let sockets = PassedSockets::of([("a-socket-nobody-wants".to_owned(), Passed::Tcp(extra))]);
    let world = World { sockets, ..World::default() };
    let said = messages();
    drop(TestGateway::try_in(world, |_| {}).unwrap());
    said.line("a-socket-nobody-wants");
}
