//! Another process in the place of this one: it takes the listening sockets over, and nobody's request fails.

mod load;
mod sessions;
mod sockets;
mod tunnels;

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use wxgate::simulator::{Options, Simulator};

use crate::{
    support::{
        APP, Client, Recorder, SECRET,
        binary::{Binary, folder},
        client::head,
        redis_server::RedisServer,
        until,
    },
    websocket::echoed,
};

const CLIENTS: usize = 6;

/// Sessions in a file.
const FILE: &str = "[sessions.snapshot]\npath = \"data/wxgate.db\"\n";

/// Sessions in Redis.
fn in_redis(server: &RedisServer) -> String {
    let seal = "5e".repeat(32);
    format!("[sessions.redis]\nurl = \"redis://{}\"\n[sessions.seal]\nkey = \"{seal}\"\n", server.addr())
}

/// A gateway, WeChat and a backend.
struct Story {
    gw: Binary,
    wechat: Simulator,
    upstream: Recorder,
    dial: Box<dyn Fn(SocketAddr) -> Client + Sync>,
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
        Self::served_by(name, listen, rest, |config| Binary::serve(name, config, &[]))
    }

    /// With these lines more in `[server]`.
    fn with(name: &str, server: &str, rest: &str) -> Self {
        let serve = |config: &str| {
            let config = config.replace("workers = 2\n", &format!("workers = 2\n{server}\n"));
            Binary::serve(name, &config, &[])
        };
        Self::served_by(name, "\"127.0.0.1:0\"", rest, serve)
    }

    fn served_by(name: &str, listen: &str, rest: &str, serve: impl FnOnce(&str) -> Binary) -> Self {
        let _ = fs::remove_dir_all(folder(name));
        let wechat = Simulator::start(Options::on_free_port().with_app(APP, SECRET)).unwrap();
        let upstream = Recorder::start();
        let gw = serve(&text(&wechat, &upstream, listen, rest));
        Self { gw, wechat, upstream, dial: Box::new(Client::connect) }
    }

    fn client(&self) -> Client {
        (self.dial)(self.gw.addr())
    }

    fn login(&self) -> String {
        let code = self.wechat.make_code(APP, "oAlice").unwrap();
        let body = serde_json::json!({ "jsCode": code, "appId": APP }).to_string();
        let reply = self.client().post("/v1/verify", &body);
        format!("Bearer {}", reply.json()["token"].as_str().unwrap())
    }

    /// From now on the backend answers `/public/long` when somebody says so. Somebody has asked for it.
    fn with_a_long_one(&self) -> (Client, mpsc::Sender<()>) {
        let (finish, finished) = mpsc::channel::<()>();
        let finished = Mutex::new(finished);
        self.upstream.does(move |seen, out| {
            if seen.target == "/public/long" {
                finished.lock().unwrap().recv().unwrap();
            }
            echoed(seen, out)
        });
        let (mut long, before) = (self.client(), self.upstream.count());
        long.send(head("GET", "/public/long", &[], 0));
        self.upstream.wait_for(before + 1);
        (long, finish)
    }

    fn get(&self, path: &str, bearer: &str) -> u16 {
        self.client().request("GET", path, &[("Connection", "close"), ("Authorization", bearer)], "").status
    }

    /// Has a crowd of clients post to `path` again and again while another process takes this one's place `times` times. Every
    /// second of them keeps its connection for as long as no answer says that it ends; none sends anything twice. Each of
    /// their requests is answered with 200.
    fn replaced_under_load(&mut self, times: usize, path: &str, bearer: &str) {
        let (addr, dial, gw) = (self.gw.addr(), &self.dial, &mut self.gw);
        let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (over, answered) = (&over, &answered);
                scope.spawn(move || {
                    let (says, mut kept) = (if client % 2 == 0 { "keep-alive" } else { "close" }, None);
                    while !over.load(Ordering::Relaxed) {
                        let mut client = kept.take().unwrap_or_else(|| dial(addr));
                        let headers = [("Connection", says), ("Authorization", bearer)];
                        let reply = client.request("POST", path, &headers, "body");
                        assert_eq!(reply.status, 200, "{reply:?}");
                        answered.fetch_add(1, Ordering::Relaxed);
                        kept = (reply.header("connection") != Some("close")).then_some(client);
                    }
                });
            }
            let some_more = || {
                let enough = answered.load(Ordering::Relaxed) + 20 * CLIENTS;
                until("requests", || (answered.load(Ordering::Relaxed) >= enough).then_some(()));
            };
            for _ in 0..times {
                some_more();
                gw.replace();
            }
            some_more();
            over.store(true, Ordering::Relaxed);
        });
        assert_eq!(self.upstream.count(), answered.load(Ordering::Relaxed), "and none was sent twice");
    }
}
