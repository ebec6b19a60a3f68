//! Several listeners at once, and those on Unix sockets.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use tempfile::TempDir;
use wxgate::{
    app::World,
    config::{
        Config,
        sections::{ListenAt, Listener, Rate, Speaks},
    },
};

use crate::support::{
    Client, TestGateway,
    client::head,
    http2::{GET, Http2},
    tls::{Authority, speak_tls},
    upstream::{Then, answer},
};

/// A gateway with a Unix socket beside its address, and where that is.
fn start(change: impl FnOnce(&mut Config)) -> (TestGateway, PathBuf, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wxgate.sock");
    let gw = TestGateway::with(|config| {
        config.server.listen.push(ListenAt::Unix(path.clone()));
        change(config);
    });
    (gw, path, folder)
}

#[test]
fn requests_come_in_at_every_listener_there_is() {
    let ca = Authority::new();
    let (gw, path, _folder) = start(|config| {
        let free = config.server.listen.remove(0);
        let listener = |listen: &ListenAt, speaks| Listener { listen: listen.clone(), speaks, proxy_protocol: false };
        speak_tls(config, vec![ca.files("api", &["api.example.com"])]);
        let unix = config.server.listen.remove(0);
        config.server.listeners =
            vec![listener(&free, Speaks::Http), listener(&unix, Speaks::Http), listener(&free, Speaks::Https)];
    });
    let [plain, tls] = gw.app().addrs() else { panic!("two addresses") };
    assert_eq!(Client::connect(*plain).get("/public/plain").status, 200);
    assert_eq!(ca.dialler().dial(*tls, "api.example.com").get("/public/tls").status, 200);
    assert_eq!(Client::connect_unix(&path).get("/public/unix").status, 200);
    let places: Vec<String> = gw.app().places().iter().map(ToString::to_string).collect();
    assert_eq!(places, [plain.to_string(), format!("unix:{}", path.display()), tls.to_string()]);
}

#[test]
fn tls_is_spoken_at_a_unix_socket_as_well() {
    let ca = Authority::new();
    let (gw, path, _folder) = start(|config| _ = speak_tls(config, vec![ca.files("api", &["api.example.com"])]));
    let mut client = ca.dialler().dial_unix(&path, "api.example.com");
    for _ in 0..2 {
        assert_eq!(client.post("/public/", "body").status, 200);
        assert!(client.stays_silent(Duration::from_millis(1600)), "longer than the connection keeps its buffers");
    }
    let seen = gw.upstream.last();
    assert_eq!((seen.header("x-forwarded-proto"), seen.header("x-forwarded-for")), (Some("https"), Some("127.0.0.1")));
    let client = ca.dialler().offering(&["h2"]).dial_unix(&path, "api.example.com");
    assert_eq!(Http2::over(client).ask(&GET).verdict(), "200");
    assert_eq!(Client::connect_unix(&path).get("/public/").status, 400, "and nothing else");
}

#[test]
fn whoever_comes_by_a_unix_socket_is_this_machine() {
    let (gw, path, _folder) = start(|_| {});
    let forged = [("X-Forwarded-For", "203.0.113.9")];
    assert_eq!(Client::connect_unix(&path).request("GET", "/public/1", &forged, "").status, 200);
    assert_eq!(gw.upstream.last().header("x-forwarded-for"), Some("127.0.0.1"));
    assert!(gw.log.line("/public/1").contains("\"client\":\"127.0.0.1\""));
}

#[test]
fn where_this_machine_is_trusted_a_proxy_tells_its_clients_apart() {
    let (gw, path, _folder) = start(|config| {
        config.server.trusted_proxies = vec!["127.0.0.1".parse::<std::net::IpAddr>().unwrap().into()];
        config.limits.verify_per_ip = Rate { count: 1.try_into().unwrap(), per: Duration::from_mins(1) };
    });
    let login = |ip: &str| {
        let body = format!(r#"{{"jsCode":"{}","appId":"{}"}}"#, gw.code("oAlice"), crate::support::APP);
        Client::connect_unix(&path).request("POST", "/v1/verify", &[("X-Forwarded-For", ip)], &body).status
    };
    assert_eq!([login("203.0.113.9"), login("203.0.113.9"), login("203.0.113.10")], [200, 429, 200]);
}

#[test]
fn a_connection_by_a_unix_socket_is_parked_and_wakes() {
    let (_gw, path, _folder) = start(|_| {});
    let mut client = Client::connect_unix(&path);
    for _ in 0..2 {
        assert_eq!(client.post("/public/", "body").status, 200);
        assert!(client.stays_silent(Duration::from_millis(1600)), "longer than the connection keeps its buffers");
    }
    assert_eq!(client.raw("GET /public/2 HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
}

#[test]
fn a_hang_up_by_a_unix_socket_ends_the_request_at_the_upstream() {
    let (gw, path, _folder) = start(|_| {});
    let (open, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    gw.upstream.does(move |_, _| {
        let _ = wait.lock().unwrap().recv();
        Then::Close
    });
    let mut client = Client::connect_unix(&path);
    client.send(head("GET", "/public/slow", &[], 0));
    gw.upstream.wait_for(1);
    drop(client);
    assert!(gw.log.line("/public/slow").contains("\"status\":499"));
    drop(open);
}

#[test]
fn a_stop_answers_who_waits_at_a_unix_socket_and_removes_it() {
    let (gw, path, _folder) = start(|config| config.server.workers = 1);
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    gw.upstream.does(move |_, out| {
        let _ = wait.lock().unwrap().recv();
        answer(out, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
    });
    let mut client = Client::connect_unix(&path);
    client.send(head("GET", "/public/", &[], 0));
    gw.upstream.wait_for(1);
    let stopping = std::thread::spawn(move || gw.stop());
    go_on.send(()).unwrap();
    assert_eq!(client.reply().text(), "late");
    stopping.join().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_second_gateway_at_the_same_path_does_not_start() {
    let (gw, path, _folder) = start(|_| {});
    let second = |path: &Path| {
        let at = ListenAt::Unix(path.to_owned());
        TestGateway::try_in(World::default(), |config| config.server.listen = vec![at]).map(drop)
    };
    let error = second(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("can't listen on unix:{}", path.display()));
    assert_eq!(Client::connect_unix(&path).get("/public/").status, 200);
    drop(gw);
    assert!(second(&path).is_ok());
    fs::write(&path, "dear diary").unwrap();
    assert!(second(&path).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "dear diary");
}
