//! A stand-in for WeChat's API and Douyin's, for tests, demos and other people's integration tests. Shares no code with the client.
//!
//! It speaks HTTP like the real one and keeps its rules: a code lives five minutes and works once, even when the
//! exchange fails. Beyond that it lies on request ([`Fault`]). Everything can be done in-process, with the methods
//! of [`Simulator`], or over HTTP under `/_sim/`.

mod apps;
mod control;
mod errmsg;
mod key_check;
mod phone_codes;
mod reply;
mod scenario;
mod serving;
mod stand_in;
mod tokens;
mod upstream;
mod user_data;
mod voice;
mod wechat;

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

pub use self::{
    apps::Apps,
    scenario::{Fault, InvalidOrder, Order},
    serving::StartError,
    upstream::Echo,
    user_data::UserData,
    voice::Dialect,
};
use self::{
    phone_codes::Number,
    serving::{Serving, serve},
    stand_in::StandIn,
    wechat::{User, WeChat},
};
use crate::model::{AppSecret, Clock, Entropy, EntropyError, SystemClock, SystemEntropy};

/// How a stand-in is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 finds a free port. Default: 127.0.0.1:9902.
    pub listen: SocketAddr,
    /// Whose codes can be exchanged. Default: nobody's.
    pub apps: Apps,
    /// Exchanges of one user in one app per minute of the clock; 0 is no limit. Default: 100, as WeChat's.
    pub minute_quota: u32,
    /// How long a code lives. Default: five minutes, as WeChat's.
    pub code_lifetime: Duration,
    /// What codes age by.
    pub clock: Arc<dyn Clock>,
    /// Where codes and session keys come from.
    pub entropy: Arc<dyn Entropy>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9902)),
            apps: Apps::Known(HashMap::new()),
            minute_quota: 100,
            code_lifetime: Duration::from_mins(5),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

/// A text that is not `APPID=SECRET`. The text itself is not shown: it may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an app is given as APPID=SECRET, neither of them empty")]
pub struct InvalidApp;

impl Options {
    /// On a free loopback port, as tests want it.
    pub fn on_free_port() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Self::default() }
    }

    /// Adds an app; where any app would have done, only those added do from then on.
    #[must_use]
    pub fn with_app(mut self, app_id: &str, secret: &str) -> Self {
        let mut apps = match self.apps {
            Apps::Any => HashMap::new(),
            Apps::Known(apps) => apps,
        };
        apps.insert(app_id.to_owned(), AppSecret::new(secret));
        self.apps = Apps::Known(apps);
        self
    }

    /// Adds an app written `APPID=SECRET`, as on the command line.
    pub fn with_app_pair(self, pair: &str) -> Result<Self, InvalidApp> {
        match pair.split_once('=') {
            Some((app_id, secret)) if !app_id.is_empty() && !secret.is_empty() => Ok(self.with_app(app_id, secret)),
            _ => Err(InvalidApp),
        }
    }
}

/// A running stand-in. It has a thread of its own and ends when dropped, cutting what is still under way.
pub struct Simulator {
    serving: Serving,
    stand_in: Arc<StandIn>,
}

impl Simulator {
    /// Starts one. Connections are accepted from the moment this returns.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let Options { listen, apps, minute_quota, code_lifetime, clock, entropy } = options;
        let stand_in = Arc::new(StandIn::new(WeChat::new(apps, code_lifetime, minute_quota, clock, entropy)));
        Ok(Self { serving: serve(listen, stand_in.clone())?, stand_in })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.serving.addr()
    }

    /// What to write into a gateway's `api_base`.
    pub fn api_base(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// From now on `code` logs `openid` in to `app_id`, once, until it expires.
    pub fn knows(&self, code: &str, app_id: &str, openid: &str) {
        self.learn(code, app_id, openid, None);
    }

    /// The same for a user with a unionid.
    pub fn knows_with_union(&self, code: &str, app_id: &str, openid: &str, unionid: &str) {
        self.learn(code, app_id, openid, Some(unionid));
    }

    /// The same with a code made here, of the shape WeChat's have.
    pub fn make_code(&self, app_id: &str, openid: &str) -> Result<String, EntropyError> {
        let code = self.stand_in.wechat.new_code()?;
        self.knows(&code, app_id, openid);
        Ok(code)
    }

    /// From now on `code` stands for this number in `app_id`, once, until it expires: what a tap on the phone button gives.
    pub fn knows_phone(&self, code: &str, app_id: &str, country: &str, pure: &str) {
        self.stand_in.wechat.learn_phone(code, app_id, Number { pure: pure.to_owned(), country: country.to_owned() });
    }

    /// The same with a code made here, of the shape WeChat's have.
    pub fn make_phone_code(&self, app_id: &str, country: &str, pure: &str) -> Result<String, EntropyError> {
        let code = self.stand_in.wechat.new_phone_code()?;
        self.knows_phone(&code, app_id, country, pure);
        Ok(code)
    }

    /// Ends all access tokens of an app, as it happens when somebody else asks for one by force.
    pub fn replace_tokens(&self, app_id: &str) {
        self.stand_in.wechat.replace_tokens(app_id);
    }

    /// Blocks a user as high risk, in every app, or lets them in again.
    pub fn block(&self, openid: &str, blocked: bool) {
        self.stand_in.wechat.block(openid, blocked);
    }

    /// What `wx.getUserInfo` gives to a client whose user has logged in: `info`, signed and encrypted with the key of that login.
    pub fn user_data(&self, app_id: &str, openid: &str, info: &serde_json::Value) -> Option<UserData> {
        self.stand_in.wechat.user_data(app_id, openid, info)
    }

    /// What an operator does at the console: from now on this is the app's secret, and the one before is wrong.
    pub fn has_secret(&self, app_id: &str, secret: &str) {
        self.stand_in.wechat.apps.set_secret(app_id, secret);
    }

    /// Whether a code that came with a wrong secret is still good. At first it is not.
    pub fn spares_codes(&self, spares: bool) {
        self.stand_in.wechat.apps.spare_codes(spares);
    }

    /// How an app is answered that asks as WeChat's do. At first as WeChat answers.
    pub fn speaks(&self, app_id: &str, dialect: Dialect) {
        self.stand_in.wechat.apps.set_dialect(app_id, dialect);
    }

    /// Orders a fault for the next call, or calls: `Order::from(fault).times(3)`. Orders queue up.
    pub fn next_fault(&self, order: impl Into<Order>) {
        self.stand_in.script.append(order.into());
    }

    /// Calls off the faults still to come.
    pub fn clear_faults(&self) {
        self.stand_in.script.clear();
    }

    /// How often an exchange of `code` was asked for. The first 100,000 different codes are counted.
    pub fn calls(&self, code: &str) -> u64 {
        self.stand_in.calls().codes.get(code).copied().unwrap_or(0)
    }

    /// How often the call at this path was made.
    pub fn calls_of(&self, path: &str) -> u64 {
        self.stand_in.calls().endpoints.get(path).copied().unwrap_or(0)
    }

    /// How often WeChat was called at all. A call that was cut unread is none.
    pub fn total_calls(&self) -> u64 {
        self.stand_in.calls().endpoints.values().sum()
    }

    /// Returns once at least `calls` calls wait for their release or their latency to end.
    pub async fn until_hanging(&self, calls: usize) {
        // The sender lives as long as self, so this can't fail.
        let _ = self.stand_in.hanging().wait_for(|hanging| *hanging >= calls).await;
    }

    /// Lets every call that hangs now go on.
    pub fn release(&self) {
        self.stand_in.release();
    }

    /// As if just started: no codes, no faults, nobody blocked, nothing counted. The apps stay.
    pub fn reset(&self) {
        self.stand_in.reset();
    }

    fn learn(&self, code: &str, app_id: &str, openid: &str, unionid: Option<&str>) {
        let user = User { app: app_id.to_owned(), openid: openid.to_owned(), unionid: unionid.map(str::to_owned) };
        self.stand_in.wechat.learn(code, user);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, BufRead, BufReader, Read, Write},
        net::{TcpListener, TcpStream},
    };

    use serde_json::{Value, json};

    use super::*;

    const APP: &str = "wx4f4bc4dec97d474b";

    fn simulator() -> Simulator {
        Simulator::start(Options::on_free_port().with_app(APP, "s1")).unwrap()
    }

    /// One connection, read as bytes: these tests are about what the sockets do.
    struct Client(BufReader<TcpStream>);

    struct Received {
        status: u16,
        body: Vec<u8>,
    }

    impl Client {
        fn connect(addr: SocketAddr) -> Self {
            let stream = TcpStream::connect(addr).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            Self(BufReader::new(stream))
        }

        fn ask(&mut self, code: &str) -> io::Result<Received> {
            let target =
                format!("/sns/jscode2session?appid={APP}&secret=s1&js_code={code}&grant_type=authorization_code");
            self.send("GET", &target, "")
        }

        fn send(&mut self, method: &str, target: &str, body: &str) -> io::Result<Received> {
            let length = body.len();
            let head = format!("{method} {target} HTTP/1.1\r\nhost: sim\r\ncontent-length: {length}\r\n\r\n");
            self.0.get_mut().write_all((head + body).as_bytes())?;
            let mut status = None;
            let mut length = 0;
            loop {
                let mut line = String::new();
                if self.0.read_line(&mut line)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let line = line.trim_end().to_ascii_lowercase();
                if line.is_empty() {
                    break;
                }
                status = status.or_else(|| line.split(' ').nth(1).and_then(|status| status.parse().ok()));
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.parse().unwrap();
                }
            }
            let mut body = Vec::new();
            self.0.by_ref().take(length).read_to_end(&mut body)?;
            if body.len() as u64 != length {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} of {length}", body.len())));
            }
            Ok(Received { status: status.unwrap(), body })
        }

        fn control(&mut self, method: &str, what: &str, body: &Value) -> (u16, Value) {
            let received = self.send(method, &format!("/_sim/{what}"), &body.to_string()).unwrap();
            (received.status, serde_json::from_slice(&received.body).unwrap_or_default())
        }
    }

    impl Received {
        fn json(&self) -> Value {
            assert_eq!(self.status, 200);
            serde_json::from_slice(&self.body).unwrap()
        }
    }

    #[test]
    fn a_code_made_in_process_works_once_over_a_socket() {
        let wechat = simulator();
        let code = wechat.make_code(APP, "oAlice").unwrap();
        assert_eq!(code.len(), 32);
        let mut client = Client::connect(wechat.addr());
        assert_eq!(client.ask(&code).unwrap().json()["openid"], "oAlice");
        assert_eq!(client.ask(&code).unwrap().json()["errcode"], 40163);
        assert_eq!((wechat.calls(&code), wechat.calls("other"), wechat.total_calls()), (2, 0, 2));
    }

    #[test]
    fn everything_can_be_done_over_http() {
        let wechat = simulator();
        let mut client = Client::connect(wechat.addr());
        let new = json!({ "appId": APP, "openid": "oAlice", "unionid": "uAlice" });
        let (status, made) = client.control("POST", "codes", &new);
        assert_eq!(status, 200);
        let code = made["code"].as_str().unwrap().to_owned();

        let app = json!({ "appId": APP, "secret": "s1", "dialect": "wechat" });
        assert_eq!(client.control("POST", "apps", &app), (204, Value::Null));
        let busy = json!({ "fault": "errcode", "errcode": -1 });
        assert_eq!(client.control("POST", "faults", &busy), (204, Value::Null));
        assert_eq!(client.ask(&code).unwrap().json()["errcode"], -1);
        assert_eq!(client.ask(&code).unwrap().json()["unionid"], "uAlice");
        let counted = json!({ "endpoints": { "/sns/jscode2session": 2 }, "codes": { code: 2 }, "hanging": 0 });
        assert_eq!(client.control("GET", "calls", &Value::Null), (200, counted));

        client.control("POST", "users", &json!({ "openid": "oAlice", "blocked": true }));
        client.control("POST", "codes", &json!({ "appId": APP, "openid": "oAlice", "code": "mine" }));
        assert_eq!(client.ask("mine").unwrap().json()["errcode"], 40226);

        client.control("POST", "faults", &json!({ "fault": "cut", "times": 9 }));
        assert_eq!(client.control("DELETE", "faults", &Value::Null).0, 204);
        assert_eq!(client.control("POST", "reset", &Value::Null).0, 204);
        assert_eq!(client.ask("mine").unwrap().json()["errcode"], 40029, "forgotten");
        assert_eq!(wechat.total_calls(), 1);
    }

    #[test]
    fn a_control_that_is_not_understood_says_why() {
        let wechat = simulator();
        let mut client = Client::connect(wechat.addr());
        let (status, said) = client.control("POST", "codes", &json!({ "appid": APP, "openid": "oAlice" }));
        assert_eq!(status, 400);
        assert!(said["error"].as_str().unwrap().starts_with("unknown field `appid`"), "{said}");
        let (status, said) = client.control("POST", "faults", &json!({ "fault": "rain" }));
        assert_eq!(status, 400);
        assert!(said["error"].as_str().unwrap().contains("unknown variant `rain`"), "{said}");
        assert_eq!(client.control("POST", "users", &json!({ "openid": "oAlice" })).0, 400);
        assert_eq!(client.control("GET", "codes", &Value::Null).0, 404);
    }

    #[test]
    fn what_a_client_would_be_given_can_be_had_over_http() {
        let wechat = simulator();
        let mut client = Client::connect(wechat.addr());
        let whose = json!({ "appId": APP, "openid": "oAlice", "userInfo": { "nickName": "Band" } });
        assert_eq!(client.control("POST", "user_data", &whose).0, 404);
        wechat.knows("c", APP, "oAlice");
        client.ask("c").unwrap();
        let (status, data) = client.control("POST", "user_data", &whose);
        assert_eq!((status, &data["rawData"]), (200, &json!(r#"{"nickName":"Band"}"#)));
        let in_process = wechat.user_data(APP, "oAlice", &whose["userInfo"]).unwrap();
        assert_eq!(data["signature"], in_process.signature);
        assert_ne!(data["encryptedData"], in_process.encrypted_data, "encrypted anew");
        let (_, data) = client.control("POST", "user_data", &json!({ "appId": APP, "openid": "oAlice" }));
        assert!(data["rawData"].as_str().unwrap().contains("微信用户"), "{data}");
    }

    #[test]
    fn a_connection_cut_after_reading_has_spent_the_code() {
        let wechat = simulator();
        wechat.knows("c", APP, "oAlice");
        wechat.next_fault(Fault::Cut);
        let cut = Client::connect(wechat.addr()).ask("c").err().map(|error| error.kind());
        assert_eq!(cut, Some(io::ErrorKind::UnexpectedEof));
        assert_eq!(Client::connect(wechat.addr()).ask("c").unwrap().json()["errcode"], 40163);
    }

    #[test]
    fn a_connection_cut_unread_is_reset_and_the_code_stays_good() {
        let wechat = simulator();
        wechat.knows("c", APP, "oAlice");
        let mut client = Client::connect(wechat.addr());
        assert_eq!(client.ask("other").unwrap().json()["errcode"], 40029, "the connection is in use");
        wechat.next_fault(Order::from(Fault::CutUnread).times(2));
        for mut client in [client, Client::connect(wechat.addr())] {
            assert_eq!(client.ask("c").err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionReset));
        }
        assert_eq!(wechat.calls("c"), 0, "nobody has read the call");
        assert_eq!(Client::connect(wechat.addr()).ask("c").unwrap().json()["openid"], "oAlice");
    }

    #[test]
    fn half_an_answer_ends_in_the_middle() {
        let wechat = simulator();
        wechat.knows("c", APP, "oAlice");
        wechat.next_fault(Fault::HalfAnswer);
        let error = Client::connect(wechat.addr()).ask("c").err().unwrap();
        let promised = r#"{"openid":"oAlice","session_key":"tiihtNczf5v6AKRyjwEUhQ=="}"#.len();
        assert_eq!(error.to_string(), format!("{} of {promised}", promised / 2));
    }

    #[test]
    fn an_oversize_answer_has_the_size_ordered() {
        let wechat = simulator();
        wechat.knows("c", APP, "oAlice");
        wechat.next_fault(Fault::Oversize { bytes: 1_000_000 });
        let received = Client::connect(wechat.addr()).ask("c").unwrap();
        assert_eq!(received.body.len(), 1_000_000);
        assert_eq!(received.json()["openid"], "oAlice", "it would be a success, were it not for its size");
    }

    #[test]
    fn an_endless_answer_is_still_coming_after_megabytes() {
        let wechat = simulator();
        wechat.next_fault(Fault::Endless);
        let mut client = Client::connect(wechat.addr());
        client.ask("c").unwrap();
        let read = io::copy(&mut client.0.by_ref().take(5_000_000), &mut io::sink()).unwrap();
        assert_eq!(read, 5_000_000);
        drop(client);
        assert_eq!(Client::connect(wechat.addr()).ask("d").unwrap().json()["errcode"], 40029, "and others are served");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_hanging_call_is_seen_and_released() {
        let wechat = simulator();
        wechat.knows("c", APP, "oAlice");
        wechat.next_fault(Fault::Hang);
        let addr = wechat.addr();
        let call = std::thread::spawn(move || Client::connect(addr).ask("c").unwrap().json());
        wechat.until_hanging(1).await;
        wechat.release();
        assert_eq!(call.join().unwrap()["openid"], "oAlice");
    }

    #[test]
    fn a_dropped_simulator_cuts_what_hangs_and_frees_its_port() {
        let wechat = simulator();
        let addr = wechat.addr();
        let mut client = Client::connect(addr);
        client.ask("c").unwrap();
        drop(wechat);
        assert!(client.ask("c").is_err());
        let again = Simulator::start(Options { listen: addr, ..Options::default() }).unwrap();
        assert_eq!(again.addr(), addr);
    }

    #[test]
    fn a_taken_address_is_an_error_that_names_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let error = Simulator::start(Options { listen: addr, ..Options::default() }).err().unwrap();
        assert_eq!(error.to_string(), format!("can't listen on {addr}"));
    }

    #[test]
    fn an_app_on_the_command_line_is_an_id_and_a_secret() {
        let options = Options::on_free_port().with_app_pair("wx1=a=b").unwrap();
        let secret = match &options.apps {
            Apps::Known(apps) => apps.get("wx1"),
            Apps::Any => None,
        };
        assert_eq!(secret.map(AppSecret::expose), Some("a=b"));
        assert!(!format!("{options:?}").contains("a=b"), "{options:?}");
        for pair in ["", "wx1", "wx1=", "=s"] {
            assert_eq!(Options::on_free_port().with_app_pair(pair).unwrap_err(), InvalidApp, "{pair}");
        }
    }

    #[test]
    fn the_echo_shows_the_identity_and_counts_the_body() {
        let echo = Echo::start(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let mut client = Client::connect(echo.addr());
        let body = "x".repeat(100_000);
        let target = "/orders?page=2 HTTP/1.1\r\nX-WX-OPENID: oAlice\r\nX_WX_Appid: forged\r\nX-Twice: a\r\nx-twice: b\r\nX-Rest:";
        let seen = client.send("PUT", target, &body).unwrap().json();
        assert_eq!(seen["identity"], json!({ "x-wx-openid": "oAlice", "x_wx_appid": "forged" }));
        assert_eq!(
            (&seen["method"], &seen["path"], &seen["query"]),
            (&json!("PUT"), &json!("/orders"), &json!("page=2"))
        );
        assert_eq!((&seen["headers"]["x-twice"], &seen["bodyBytes"]), (&json!(["a", "b"]), &json!(100_000)));
    }
}
