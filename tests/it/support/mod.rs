//! The harness: a real gateway on free ports, with a stand-in for WeChat, a recording upstream and a clock that stands
//! still. Everything is read and written as bytes, because half of the stories are about bytes.

pub mod attack;
pub mod binary;
pub mod cable;
pub mod client;
pub mod http2;
pub mod http2_backend;
pub mod http2_client;
pub mod http2_server;
pub mod link;
pub mod messages;
pub mod oracle;
pub mod pictures;
pub mod ports;
pub mod redis_server;
pub mod refusal;
pub mod s3_server;
pub mod scripted;
pub mod tls;
pub mod upstream;
pub mod ways;

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use wxgate::{
    app::{self, App, World},
    config::{
        Change, Config,
        sections::{
            Admin, Api, App as AppSection, Endpoint, IdentityHeaders, Limits, Log, Rate, Route, Server, Sessions,
            Upstream, WeChat,
        },
    },
    model::{AppId, AppSecret, ManualClock, Timestamp},
    server::Place,
    simulator::{Options, Simulator},
    store::Store,
    upstream::Resolver,
};

pub use client::{Client, Reply};
pub use messages::messages;
pub use upstream::{Recorder, Seen};

/// The app that most stories play in, and its secret.
pub const APP: &str = "wx4f4bc4dec97d474b";
pub const SECRET: &str = "the-app-secret-of-the-first-app";
/// Another app, for stories about strangers.
pub const OTHER_APP: &str = "wx00000000000other";
pub const OTHER_SECRET: &str = "the-app-secret-of-the-other-app";

/// A gateway and everything around it. Dropping it stops it, and fails the test when it does not end cleanly.
pub struct TestGateway {
    pub wechat: Simulator,
    pub upstream: Recorder,
    pub clock: Arc<ManualClock>,
    pub log: LogSink,
    config: Config,
    app: Option<App>,
}

impl TestGateway {
    /// One app more than needed, everything to one upstream, a session required but under `/public/` and `/maybe/`.
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// The same after `change` has been at its configuration.
    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::on(None, change)
    }

    /// The same on a store of the story's own.
    pub fn on(store: Option<Arc<dyn Store>>, change: impl FnOnce(&mut Config)) -> Self {
        Self::try_in(World { store, ..World::default() }, change).expect("the gateway starts")
    }

    /// The same where names lead where the story says.
    pub fn where_names_lead(resolver: Arc<dyn Resolver>, change: impl FnOnce(&mut Config)) -> Self {
        Self::try_in(World { resolver, ..World::default() }, change).expect("the gateway starts")
    }

    /// The same in a world of the story's own, as far as the harness has nothing to put in its place.
    pub fn try_in(world: World, change: impl FnOnce(&mut Config)) -> Result<Self, app::Error> {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_790_000_000_000)));
        let wechat = Simulator::start(Options {
            clock: clock.clone(),
            ..Options::on_free_port().with_app(APP, SECRET).with_app(OTHER_APP, OTHER_SECRET)
        });
        let wechat = wechat.expect("the stand-in starts");
        let upstream = Recorder::start();
        let mut config = config(&wechat.api_base(), &upstream);
        change(&mut config);
        let log = LogSink::default();
        let world = World { clock: clock.clone(), access_log: Box::new(log.clone()), ..world };
        let app = App::start(config.clone(), world)?;
        Ok(Self { wechat, upstream, clock, log, config, app: Some(app) })
    }

    pub fn addr(&self) -> SocketAddr {
        self.app().addrs()[0]
    }

    pub fn admin_addr(&self) -> SocketAddr {
        self.app().admin_addrs()[0]
    }

    pub fn admin(&self) -> Client {
        let addr = self.admin_addr();
        Client::connect(addr).calling(&addr.to_string())
    }

    /// A connection to the backends' listener, where there is one with an address.
    pub fn internal(&self) -> Client {
        let addr = self.internal_addr();
        Client::connect(addr).calling(&addr.to_string())
    }

    pub fn internal_addr(&self) -> SocketAddr {
        match self.app().internal_place() {
            Some(Place::Tcp(addr)) => *addr,
            other => panic!("no address: {other:?}"),
        }
    }

    pub fn app(&self) -> &App {
        self.app.as_ref().expect("it runs")
    }

    /// Requests sent a second time so far.
    pub fn retries(&self) -> u64 {
        self.app().upstreams().status().iter().map(|upstream| upstream.retries).sum()
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(self.addr())
    }

    /// Sends these bytes on a connection of their own and reads one answer.
    pub fn raw(&self, bytes: impl AsRef<[u8]>) -> Reply {
        self.client().raw(bytes)
    }

    /// Asks for a login, whatever comes of it.
    pub fn verify(&self, body: &Value) -> Reply {
        self.client().post("/v1/verify", &body.to_string())
    }

    /// The same to the first app, with a code.
    pub fn verify_code(&self, code: &str) -> Reply {
        self.verify(&serde_json::json!({ "jsCode": code, "appId": APP }))
    }

    /// A code that logs `openid` in to the first app.
    pub fn code(&self, openid: &str) -> String {
        self.wechat.make_code(APP, openid).expect("a code")
    }

    /// Waits until so many calls to WeChat hang.
    pub fn until_hanging(&self, calls: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(self.wechat.until_hanging(calls));
    }

    /// A user who has logged in: `openid` of the first app.
    pub fn login(&self, openid: &str) -> User {
        self.login_to(APP, openid)
    }

    /// The same, to another app.
    pub fn login_to(&self, app: &str, openid: &str) -> User {
        let code = self.wechat.make_code(app, openid).expect("a code");
        let reply = self.verify(&serde_json::json!({ "jsCode": code, "appId": app }));
        assert_eq!(reply.status, 200, "{reply:?}");
        let token = reply.json()["token"].as_str().expect("a token").to_owned();
        User { client: self.client(), token, openid: openid.to_owned() }
    }

    /// Runs on with its configuration after `change` has been at it. Its workers follow a moment later.
    pub fn reload(&mut self, change: impl FnOnce(&mut Config)) -> Change {
        change(&mut self.config);
        self.app().reloader().reload(self.config.clone()).expect("the configuration is taken over")
    }

    /// Moves the time.
    pub fn later(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Stops as one SIGTERM does: what is under way may finish. Waits for the end.
    pub fn stop(mut self) {
        self.end(std::future::pending());
    }

    /// Stops, and does something meanwhile. What is beside the gateway stays.
    pub fn stop_while(&mut self, meanwhile: impl FnOnce(&Simulator) + Send) {
        let app = self.app.take();
        let wechat = &self.wechat;
        std::thread::scope(|scope| {
            scope.spawn(move || meanwhile(wechat));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let ended = runtime.block_on(app.expect("it runs").stop(std::future::pending()));
            ended.expect("every worker ends well");
        });
    }

    fn end(&mut self, hurry: impl Future<Output = ()>) {
        let Some(app) = self.app.take() else { return };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let ended = runtime.block_on(app.stop(hurry));
        if !std::thread::panicking() {
            ended.expect("every worker ends well");
        }
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        // A test that is over has nobody left to wait for.
        self.end(std::future::ready(()));
    }
}

/// Somebody with a token and a connection.
pub struct User {
    pub client: Client,
    pub token: String,
    pub openid: String,
}

impl User {
    /// A GET with the token.
    pub fn get(&mut self, path: &str) -> Reply {
        self.request("GET", path, &[], "")
    }

    /// A PUT of JSON with the token.
    pub fn put(&mut self, path: &str, body: &Value) -> Reply {
        self.request("PUT", path, &[], &body.to_string())
    }

    /// A POST with the token.
    pub fn post(&mut self, path: &str, body: &str) -> Reply {
        self.request("POST", path, &[], body)
    }

    /// Any request with the token and more headers.
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![("Authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        self.client.request(method, path, &all, body)
    }
}

/// What most stories run on. Timeouts are short where a story has to wait for one, limits wide where it does not.
fn config(api_base: &str, upstream: &Recorder) -> Config {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let app = |id: &str, secret: &str| {
        AppSection::new(AppId::parse(id).expect("an AppID"), AppSecret::new(secret), api_base.parse().expect("a URL"))
    };
    let optional = Route { auth: wxgate::config::sections::AuthRule::Optional, ..Route::new("/maybe/", "app") };
    let often = Rate { count: 1_000_000.try_into().expect("not zero"), per: Duration::from_mins(1) };
    let open = Route { auth: wxgate::config::sections::AuthRule::None, ..Route::new("/public/", "app") };
    Config {
        server: Server { listen: vec![free.into()], workers: 2, drain_idle: Duration::ZERO, ..Server::default() },
        admin: Admin { listen: free, ..Admin::default() },
        internal: None,
        webhook: None,
        api: Api::default(),
        apps: vec![app(APP, SECRET), app(OTHER_APP, OTHER_SECRET)],
        wechat: WeChat::default(),
        sessions: Sessions::default(),
        identity: IdentityHeaders::default(),
        assertion: None,
        limits: Limits { verify_per_ip: often, profile_per_user: often, ..Limits::default() },
        avatars: None,
        log: Log::default(),
        upstreams: vec![Upstream::new("app", vec![endpoint(upstream.addr())])],
        routes: vec![Route::new("/", "app"), optional, open],
    }
}

pub fn endpoint(addr: SocketAddr) -> Endpoint {
    Endpoint { host: addr.ip().to_string(), port: addr.port() }
}

/// A server that refuses every connection for as long as the socket lives: it is bound, and nobody listens.
pub fn refusing() -> (socket2::Socket, Endpoint) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    let addr = socket.local_addr().expect("an address").as_socket().expect("an IP address");
    (socket, endpoint(addr))
}

/// Where the access log goes.
#[derive(Clone, Default)]
pub struct LogSink(Arc<Mutex<Vec<u8>>>);

impl LogSink {
    /// All lines so far.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).expect("UTF-8")
    }

    /// The line with this in it that comes after so many others.
    pub fn nth_line(&self, part: &str, n: usize) -> Option<String> {
        self.text().lines().filter(|line| line.contains(part)).nth(n).map(str::to_owned)
    }

    /// Waits for a line with this in it.
    pub fn line(&self, part: &str) -> String {
        until(&format!("a log line with {part}"), || {
            self.text().lines().find(|line| line.contains(part)).map(str::to_owned)
        })
    }
}

impl Write for LogSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's patience is real time")]
/// Asks again and again until there is an answer, and fails after a time that no healthy run needs.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}
