//! What becomes of listening sockets, of whatever kind they are, and of what is written about them.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    time::Duration,
};

use rustix::process::Signal;

use super::Story;
use crate::{
    support::{
        Client,
        binary::{Binary, folder},
        tls::swap,
        until,
    },
    systemd::SYSTEMD,
};

#[test]
fn keys_that_need_a_restart_are_in_use_after_it_and_unix_sockets_stay() {
    let listen = "\"127.0.0.1:0\", \"unix:wxgate.sock\"";
    let mut story = Story::listening("restart_keys", listen, "");
    let file = folder("restart_keys").join("gateway.toml");
    let more = fs::read_to_string(&file).unwrap().replace("workers = 2", "workers = 3\nmax_headers = 3");
    swap(&file, &more);
    story.gw.replace();
    let headers = [("A", "1"), ("B", "2"), ("C", "3"), ("D", "4")];
    assert_eq!(story.client().request("GET", "/public/", &headers, "").status, 431);
    let socket = folder("restart_keys").join("wxgate.sock");
    for _ in 0..9 {
        assert_eq!(Client::connect_unix(&socket).get("/public/").status, 200);
        assert_eq!(story.client().get("/public/").status, 200);
    }
    story.gw.replace();
    assert_eq!(Client::connect_unix(&socket).get("/public/").status, 200);
    story.gw.signal(Signal::TERM);
    until("the end of the socket", || (!socket.exists()).then_some(()));
}

#[test]
fn a_new_process_that_fails_leaves_the_unix_socket_of_the_old_one_alone() {
    let mut story = Story::listening("restart_unix_bad", "\"127.0.0.1:0\", \"unix:wxgate.sock\"", "");
    let (file, socket) =
        (folder("restart_unix_bad").join("gateway.toml"), folder("restart_unix_bad").join("wxgate.sock"));
    let good = fs::read_to_string(&file).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = |port: u16| {
        good.replace("[admin]\nlisten = \"127.0.0.1:0\"", &format!("[admin]\nlisten = \"127.0.0.1:{port}\""))
    };
    swap(&file, &admin(taken.local_addr().unwrap().port()));
    story.gw.signal(Signal::USR2);
    story.gw.messages.line("the new process has failed; this one goes on");
    assert_eq!(Client::connect_unix(&socket).get("/public/").status, 200);
    swap(&file, &good);
    story.gw.replace();
    assert_eq!(Client::connect_unix(&socket).get("/public/").status, 200);
}

#[test]
fn a_unix_socket_has_its_new_mode_after_a_restart() {
    let mut story = Story::listening("restart_unix_mode", "\"127.0.0.1:0\", \"unix:wxgate.sock\"", "");
    let place = folder("restart_unix_mode");
    let (file, mode) =
        (place.join("gateway.toml"), || fs::metadata(place.join("wxgate.sock")).unwrap().permissions().mode());
    assert_eq!(mode() & 0o777, 0o660);
    swap(&file, &fs::read_to_string(&file).unwrap().replace("workers = 2", "workers = 1\nsocket_mode = \"0600\""));
    story.gw.replace();
    assert_eq!(mode() & 0o777, 0o600);
    assert_eq!(Client::connect_unix(&place.join("wxgate.sock")).get("/public/").status, 200);
}

#[test]
fn the_file_of_a_unix_socket_that_is_no_longer_listened_at_is_removed() {
    let mut story = Story::listening("restart_unix_fewer", "\"127.0.0.1:0\", \"unix:wxgate.sock\"", "");
    let (file, socket) =
        (folder("restart_unix_fewer").join("gateway.toml"), folder("restart_unix_fewer").join("wxgate.sock"));
    swap(&file, &fs::read_to_string(&file).unwrap().replace(", \"unix:wxgate.sock\"", ""));
    story.gw.replace();
    until("the end of the file", || (!socket.exists()).then_some(()));
    assert_eq!(story.get("/public/", "-"), 200);
}

#[test]
fn what_is_no_longer_listened_at_is_closed() {
    let mut story = Story::listening("restart_fewer", "\"127.0.0.1:0\", \"127.0.0.2:0\"", "");
    let serving = story.gw.messages.line("127.0.0.2:");
    let (_, port) = serving.split_once("127.0.0.2:").unwrap();
    let port: u16 = port.split_once('"').unwrap().0.parse().unwrap();
    assert_eq!(Client::connect(([127, 0, 0, 2], port).into()).get("/public/").status, 200);
    let file = folder("restart_fewer").join("gateway.toml");
    swap(&file, &fs::read_to_string(&file).unwrap().replace(", \"127.0.0.2:0\"", ""));
    story.gw.replace();
    assert_eq!(story.get("/public/", "-"), 200);
    assert!(TcpStream::connect(("127.0.0.2", port)).is_err());
}

#[test]
fn sockets_that_systemd_has_bound_are_handed_on_and_on_and_it_is_told_by_whom() {
    let name = "restart_systemd";
    let (path, told) = (folder(name).join("notify.sock"), Duration::from_secs(20));
    let mut notified = None;
    let listen = "\"systemd:https\", \"systemd:local\"";
    let mut story = Story::served_by(name, listen, "", |config| {
        fs::create_dir_all(folder(name)).unwrap();
        notified = Some(UnixDatagram::bind(&path).unwrap());
        Binary::serve_under(SYSTEMD, name, config, &[("NOTIFY_SOCKET", path.to_str().unwrap())])
    });
    let notified = notified.unwrap();
    notified.set_read_timeout(Some(told)).unwrap();
    for _ in 0..3 {
        story.gw.replace();
        let pid = format!("MAINPID={}\n", story.gw.pid().as_raw_nonzero());
        let mut bytes = [0; 256];
        while notified.recv(&mut bytes).map(|n| bytes[..n] != *pid.as_bytes()).unwrap() {}
        assert_eq!(story.get("/public/", "-"), 200);
        assert_eq!(Client::connect_unix(&folder(name).join("passed.sock")).get("/public/").status, 200);
    }
}
