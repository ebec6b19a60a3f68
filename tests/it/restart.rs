//! Another process in the place of this one: it takes the listening sockets over, and nobody's request fails.

use std::{
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use rustix::process::Signal;
use wxgate::simulator::{Options, Simulator};

use crate::support::{
    APP, Client, Recorder, SECRET,
    binary::{Binary, folder},
    client::head,
    tls::swap,
    until,
    upstream::answer,
};

const CLIENTS: usize = 6;

/// A gateway, WeChat and a backend.
struct Story {
    gw: Binary,
    wechat: Simulator,
    upstream: Recorder,
}

fn text(wechat: &Simulator, upstream: &Recorder, listen: &str, rest: &str) -> String {
    format!(
        "[server]\nlisten = [{listen}]\nworkers = 2\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[apps]]\napp_id = \"{APP}\"\nsecret = \"{SECRET}\"\napi_base = \"{}\"\n\
         [[upstreams]]\nname = \"app\"\nservers = [\"http://{}\"]\n\
         [[routes]]\npath = \"/\"\nupstream = \"app\"\n\
         [[routes]]\npath = \"/public/\"\nupstream = \"app\"\nauth = \"none\"\n{rest}",
        wechat.api_base(),
        upstream.addr()
    )
}

impl Story {
    fn begin(name: &str, rest: &str) -> Self {
        Self::listening(name, "\"127.0.0.1:0\"", rest)
    }

    fn listening(name: &str, listen: &str, rest: &str) -> Self {
        let _ = fs::remove_dir_all(folder(name));
        let wechat = Simulator::start(Options::on_free_port().with_app(APP, SECRET)).unwrap();
        let upstream = Recorder::start();
        let gw = Binary::serve(name, &text(&wechat, &upstream, listen, rest), &[]);
        Self { gw, wechat, upstream }
    }

    fn login(&self) -> String {
        let code = self.wechat.make_code(APP, "oAlice").unwrap();
        let body = serde_json::json!({ "jsCode": code, "appId": APP }).to_string();
        let reply = self.gw.client().post("/v1/verify", &body);
        format!("Bearer {}", reply.json()["token"].as_str().unwrap())
    }

    /// Has a crowd of clients ask for `path` again and again, each time on a new connection, while another process takes this
    /// one's place `times` times. Each of their requests is answered with 200.
    fn replaced_under_load(&mut self, path: &str, bearer: &str) {
        let (addr, over, answered) = (self.gw.addr(), AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        assert_eq!(get(addr, path, bearer), 200);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let some_more = || {
                let enough = answered.load(Ordering::Relaxed) + 20 * CLIENTS;
                until("requests", || (answered.load(Ordering::Relaxed) >= enough).then_some(()));
            };
            some_more();
            self.gw.replace();
            some_more();
            over.store(true, Ordering::Relaxed);
        });
        assert_eq!(self.upstream.count(), answered.load(Ordering::Relaxed), "and none was sent twice");
    }
}

fn get(addr: SocketAddr, path: &str, bearer: &str) -> u16 {
    let headers = [("Connection", "close"), ("Authorization", bearer)];
    Client::connect(addr).request("GET", path, &headers, "").status
}

#[test]
fn under_load_not_one_request_fails_while_the_process_is_replaced() {
    let mut story = Story::begin("restart_memory", "");
    story.replaced_under_load("/public/", "-");
    assert_eq!(story.gw.admin().get("/healthz").status, 200);
}

#[test]
fn with_a_file_of_sessions_nobody_fails_and_nobody_is_logged_out() {
    let mut story = Story::begin("restart_file", "[sessions.snapshot]\npath = \"data/wxgate.db\"\n");
    let bearer = story.login();
    story.replaced_under_load("/orders", &bearer);
    let bearer = story.login();
    assert_eq!(get(story.gw.addr(), "/orders", &bearer), 200);
}

#[test]
fn what_is_under_way_ends_with_the_old_process() {
    let mut story = Story::begin("restart_long", "");
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let finished = std::sync::Mutex::new(finished);
    story.upstream.does(move |seen, out| {
        if seen.target == "/public/long" {
            finished.lock().unwrap().recv().unwrap();
        }
        answer(out, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let mut long = story.gw.client();
    long.send(head("GET", "/public/long", &[], 0));
    story.upstream.wait_for(1);
    story.gw.signal(Signal::USR2);
    story.gw.messages.line("replaced: another wxgate takes new connections");
    assert_eq!(get(story.gw.addr(), "/public/new", "-"), 200);
    finish.send(()).unwrap();
    assert_eq!(long.reply().text(), "ok");
    story.gw.await_successor();
}

#[test]
fn a_new_process_that_can_not_start_leaves_the_old_one_where_it_is() {
    let mut story = Story::begin("restart_bad", "");
    let file = folder("restart_bad").join("gateway.toml");
    let good = fs::read_to_string(&file).unwrap();
    swap(&file, "[server");
    story.gw.signal(Signal::USR2);
    story.gw.messages.line("the new process has failed; this one goes on");
    assert_eq!(get(story.gw.addr(), "/public/", "-"), 200);
    swap(&file, &good);
    story.gw.replace();
    assert_eq!(get(story.gw.addr(), "/public/", "-"), 200);
}

#[test]
fn keys_that_need_a_restart_are_in_use_after_it_and_unix_sockets_stay() {
    let listen = "\"127.0.0.1:0\", \"unix:wxgate.sock\"";
    let mut story = Story::listening("restart_keys", listen, "");
    let file = folder("restart_keys").join("gateway.toml");
    let more = fs::read_to_string(&file).unwrap().replace("workers = 2", "workers = 3\nmax_headers = 3");
    swap(&file, &more);
    story.gw.replace();
    let headers = [("A", "1"), ("B", "2"), ("C", "3"), ("D", "4")];
    assert_eq!(story.gw.client().request("GET", "/public/", &headers, "").status, 431);
    let socket = folder("restart_keys").join("wxgate.sock");
    for _ in 0..9 {
        assert_eq!(Client::connect_unix(&socket).get("/public/").status, 200);
        assert_eq!(story.gw.client().get("/public/").status, 200);
    }
    story.gw.signal(Signal::TERM);
    until("the end of the socket", || (!socket.exists()).then_some(()));
}
