//! The client of WeChat's API: what is asked of it, over the transport that all platforms share.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use super::{
    Granting, TokenSource, ToldNumber, code2session,
    endpoint::Endpoint,
    phone_number, session_check, session_reset,
    stable_token::{self, Granted},
};
use crate::{
    config::sections,
    model::{AccessToken, AppId, LoginCode, PhoneCode, SessionKey, UserKey},
    platform::{
        Asking, BuildError, CodeSession, Error, Platform,
        call::Call,
        transport::{Transport, builder, once_more},
    },
    telemetry::{Counters, PlatformCalls},
};

/// Asks WeChat, or whoever stands behind an app's `api_base`.
///
/// Its connections belong to the runtime on which it is first used: use it on one that outlives every login.
pub struct Client {
    transport: Transport,
    endpoints: HashMap<AppId, Endpoint>,
    counters: Arc<Counters>,
}

impl Client {
    /// A client for these apps. It connects when it is first asked.
    ///
    /// Each request that is tried is counted, the retry too: that is what WeChat's quotas count.
    pub fn new<'a>(
        section: &sections::WeChat,
        apps: impl IntoIterator<Item = &'a sections::App>,
        counters: Arc<Counters>,
    ) -> Result<Self, BuildError> {
        let apps: Vec<&sections::App> = apps.into_iter().collect();
        let transport = Transport::over(builder(section.timeout, &apps), section.timeout)?;
        Self::over(transport, &apps, counters)
    }

    fn over(transport: Transport, apps: &[&sections::App], counters: Arc<Counters>) -> Result<Self, BuildError> {
        let endpoint = |app: &&sections::App| Ok((app.app_id.clone(), Endpoint::of(app)?));
        Ok(Self { transport, endpoints: apps.iter().map(endpoint).collect::<Result<_, _>>()?, counters })
    }

    /// Begins with what an older client has found out: which secrets work.
    pub fn recall(&self, before: &Self) {
        for (app, endpoint) in &self.endpoints {
            if let Some(before) = before.endpoints.get(app) {
                endpoint.secrets.recall(&before.secrets);
            }
        }
    }

    /// What a phone code is worth to `app`, whose token this is. It is for the caller to give up in time.
    pub(super) async fn phone_number(
        &self,
        app: &AppId,
        token: &AccessToken,
        code: &PhoneCode,
    ) -> Result<ToldNumber, Error> {
        let endpoint = self.endpoint(app)?;
        let ask = || async {
            let json = phone_number::body(code).to_vec();
            let (status, body) = self.transport.post_json(phone_number::url(endpoint, token), json).await?;
            phone_number::read(status, &body, app)
        };
        once_more(|| counted(&self.counters.wechat.phone_number, ask())).await
    }

    /// Whether `key` still is the user's. It is for the caller to give up in time.
    pub(super) async fn check_session(
        &self,
        user: &UserKey,
        token: &AccessToken,
        key: &SessionKey,
    ) -> Result<bool, Error> {
        let endpoint = self.endpoint(&user.app)?;
        let ask = || async {
            let (status, body) = self.transport.get(session_check::url(endpoint, token, &user.openid, key)).await?;
            session_check::read(status, &body)
        };
        once_more(|| counted(&self.counters.wechat.check_session, ask())).await
    }

    /// Another key in the place of `key`, if that still is the user's. It is for the caller to give up in time.
    pub(super) async fn reset_session_key(
        &self,
        user: &UserKey,
        token: &AccessToken,
        key: &SessionKey,
    ) -> Result<Option<SessionKey>, Error> {
        let endpoint = self.endpoint(&user.app)?;
        let ask = || async {
            let (status, body) = self.transport.get(session_reset::url(endpoint, token, &user.openid, key)).await?;
            session_reset::read(status, &body, &user.openid)
        };
        let ask = || counted(&self.counters.wechat.reset_session_key, ask());
        match ask().await {
            // Only then: where a try was done and not heard of, another is refused, since it is signed with the key that was.
            Err(error) if error.nothing_was_sent() => ask().await,
            answer => answer,
        }
    }

    pub(super) fn apps(&self) -> impl Iterator<Item = AppId> {
        self.endpoints.keys().cloned()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.transport.timeout()
    }

    async fn exchange(&self, app: &AppId, code: &LoginCode) -> Result<CodeSession, Error> {
        let endpoint = self.endpoint(app)?;
        let ask = move |secret| async move {
            let (status, body) = self.transport.get(code2session::url(endpoint, secret, code)).await?;
            code2session::read(status, &body)
        };
        let calls = &self.counters.wechat.login;
        endpoint.secrets.send(move |secret| once_more(move || counted(calls, ask(secret)))).await
    }

    async fn grant(&self, app: &AppId) -> Result<Granted, Error> {
        let endpoint = self.endpoint(app)?;
        let ask = move |secret| async move {
            let json = stable_token::body(endpoint, secret).to_vec();
            let (status, body) = self.transport.post_json(stable_token::url(endpoint), json).await?;
            stable_token::read(status, &body)
        };
        let calls = &self.counters.wechat.access_token;
        endpoint.secrets.send(move |secret| once_more(move || counted(calls, ask(secret)))).await
    }

    fn endpoint(&self, app: &AppId) -> Result<&Endpoint, Error> {
        self.endpoints.get(app).ok_or(Error::UnknownApp)
    }
}

impl Platform for Client {
    fn code_to_session<'a>(&'a self, app: &'a AppId, code: &'a LoginCode) -> Asking<'a> {
        Box::pin(self.transport.within(self.exchange(app, code)))
    }
}

impl TokenSource for Client {
    fn stable_token<'a>(&'a self, app: &'a AppId) -> Granting<'a> {
        Box::pin(self.transport.within(self.grant(app)))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("transport", &self.transport).finish_non_exhaustive()
    }
}

/// One try.
async fn counted<T>(calls: &PlatformCalls, ask: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let call = Call::begin(calls);
    let answer = ask.await;
    call.end(&answer);
    answer
}

#[cfg(test)]
mod tests {
    //! Real sockets against a server that sends exactly the bytes it was told, and notes what it was asked.

    use std::{
        error::Error as StdError,
        io::{self, ErrorKind, Read, Write},
        iter,
        net::{SocketAddr, TcpListener, TcpStream},
        sync::Mutex,
        thread,
    };

    use super::*;
    use crate::{
        model::AppSecret,
        platform::{Flaw, Refusal, Stage, Trouble, transport::MAX_ANSWER},
        wechat::errcode,
    };

    const CODE: &str = "hunter2-code";
    const SECRET: &str = "hunter2-secret";
    const LOGIN: &str = r#"{"session_key":"tiihtNczf5v6AKRyjwEUhQ==","openid":"oGZUI0egBJY1zhBYw2KhdUfwVJJE"}"#;

    /// What the server does with one request.
    #[derive(Clone)]
    enum Act {
        /// Sends these bytes and closes.
        Send(Vec<u8>),
        /// Sends these bytes and waits for the next request on the same connection.
        SendAndKeep(Vec<u8>),
        /// Sends these bytes, then keeps the connection and says no more.
        SendAndHang(Vec<u8>),
        /// Sends these bytes again and again until nobody takes them.
        SendForEver(Vec<u8>),
        /// Sends a head and then a byte every few milliseconds.
        Trickle(Vec<u8>),
        /// Resets the connection.
        Reset,
    }

    struct Server {
        address: SocketAddr,
        requests: Arc<Mutex<Vec<String>>>,
    }

    impl Server {
        /// Each request takes the next act. A request beyond the last act is noted and gets an empty answer.
        fn that(acts: impl IntoIterator<Item = Act>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let server = Self { address: listener.local_addr().unwrap(), requests: Arc::default() };
            let (requests, acts) = (Arc::clone(&server.requests), acts.into_iter().collect::<Vec<_>>());
            thread::spawn(move || {
                let mut acts = acts.into_iter();
                for stream in listener.incoming() {
                    serve(&mut stream.unwrap(), &mut acts, &requests);
                }
            });
            server
        }

        fn requests(&self) -> Vec<String> {
            self.requests.lock().unwrap().clone()
        }

        fn url(&self) -> String {
            format!("http://{}/", self.address)
        }
    }

    fn serve(stream: &mut TcpStream, acts: &mut impl Iterator<Item = Act>, requests: &Mutex<Vec<String>>) {
        while let Some(head) = read_head(stream) {
            requests.lock().unwrap().push(head);
            match acts.next().unwrap_or(Act::Send(Vec::new())) {
                Act::Send(bytes) => return drop(stream.write_all(&bytes)),
                Act::SendAndKeep(bytes) => stream.write_all(&bytes).unwrap(),
                Act::SendAndHang(bytes) => {
                    stream.write_all(&bytes).unwrap();
                    let _ = stream.read(&mut [0]);
                    return;
                }
                Act::SendForEver(bytes) => {
                    while stream.write_all(&bytes).is_ok() {}
                    return;
                }
                Act::Trickle(head) => {
                    stream.write_all(&head).unwrap();
                    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                    let waiting = |e: io::Error| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                    while stream.write_all(b" ").is_ok() && stream.read(&mut [0]).is_err_and(waiting) {}
                    return;
                }
                Act::Reset => return socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap(),
            }
        }
    }

    fn read_head(stream: &mut TcpStream) -> Option<String> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte).ok()? == 0 {
                return None;
            }
            head.extend_from_slice(&byte);
        }
        Some(String::from_utf8(head).unwrap())
    }

    /// An answer as WeChat gives it: HTTP 200, JSON labelled as text.
    fn says(body: impl AsRef<[u8]>) -> Vec<u8> {
        answer("200 OK", "close", body)
    }

    fn answer(status: &str, connection: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
        let body = body.as_ref();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nConnection: {connection}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }

    fn refuses(errcode: i64) -> Act {
        Act::Send(says(format!(r#"{{"errcode":{errcode},"errmsg":"no, {CODE} {SECRET}, rid: 65-1d-5b"}}"#)))
    }

    fn refusal(errcode: i64) -> Refusal {
        Refusal { errcode, rid: Some("65-1d-5b".into()) }
    }

    fn app(api_base: &str) -> sections::App {
        let app_id = AppId::parse("wx4f4bc4dec97d474b").unwrap();
        sections::App::new(app_id, AppSecret::new(SECRET), api_base.parse().unwrap())
    }

    fn section(timeout: Duration) -> sections::WeChat {
        sections::WeChat { timeout, ..sections::WeChat::default() }
    }

    fn client(api_base: &str) -> Client {
        Client::new(&section(Duration::from_secs(30)), &[app(api_base)], Arc::default()).unwrap()
    }

    async fn login_with(client: &Client) -> Result<CodeSession, Error> {
        let app = AppId::parse("wx4f4bc4dec97d474b").unwrap();
        client.code_to_session(&app, &LoginCode::new(CODE)).await
    }

    /// One login against a server that acts like this; the error, and how many requests the server saw.
    async fn fails(acts: impl IntoIterator<Item = Act>) -> (Error, usize) {
        let server = Server::that(acts);
        let error = login_with(&client(&server.url())).await.unwrap_err();
        assert_tells_no_secret(&error);
        (error, server.requests().len())
    }

    /// The same against a server that must not be asked twice.
    async fn fails_at_once(act: Act) -> Error {
        let (error, requests) = fails([act, Act::Send(says(LOGIN))]).await;
        assert_eq!(requests, 1, "asked again after {error:?}");
        error
    }

    fn assert_tells_no_secret(error: &Error) {
        let chain = iter::successors(Some(error as &dyn StdError), |&error| error.source());
        for error in chain {
            let said = format!("{error} {error:?} {error:#?}");
            for secret in ["hunter2", "jscode2session", "wx4f4bc4dec97d474b", "http:"] {
                assert!(!said.contains(secret), "{said}");
            }
        }
    }

    fn broke(stage: Stage, kind: ErrorKind) -> Error {
        Error::Unreachable(Trouble { stage, kind: Some(kind) })
    }

    #[tokio::test]
    async fn a_code_is_exchanged_with_the_documented_call() {
        let server = Server::that([Act::Send(says(LOGIN))]);
        let counters = Arc::new(Counters::default());
        let client =
            Client::new(&section(Duration::from_secs(30)), &[app(&server.url())], Arc::clone(&counters)).unwrap();
        let session = login_with(&client).await.unwrap();
        assert_eq!(session.openid.as_str(), "oGZUI0egBJY1zhBYw2KhdUfwVJJE");
        assert_eq!(session.session_key.expose(), "tiihtNczf5v6AKRyjwEUhQ==");
        assert_eq!(session.unionid, None);
        assert_eq!(counters.wechat.login.total(), 1);

        let requests = server.requests();
        let mut lines = requests[0].trim_end().split("\r\n");
        assert_eq!(
            lines.next().unwrap(),
            "GET /sns/jscode2session?appid=wx4f4bc4dec97d474b&secret=hunter2-secret&js_code=hunter2-code\
             &grant_type=authorization_code HTTP/1.1"
        );
        let mut headers: Vec<_> = lines.map(|line| line.split(':').next().unwrap().to_lowercase()).collect();
        headers.sort();
        assert_eq!(headers, ["accept", "host", "user-agent"]);
    }

    #[tokio::test]
    async fn an_app_may_have_its_own_server_under_a_path() {
        let server = Server::that([Act::Send(says(LOGIN))]);
        login_with(&client(&format!("{}openserver", server.url()))).await.unwrap();
        assert!(server.requests()[0].starts_with("GET /openserver/sns/jscode2session?appid="));
    }

    #[tokio::test]
    async fn an_app_that_is_not_configured_is_not_asked_about() {
        let server = Server::that([]);
        let other = AppId::parse("wx0000").unwrap();
        let answer = client(&server.url()).code_to_session(&other, &LoginCode::new(CODE)).await;
        assert_eq!(answer.unwrap_err(), Error::UnknownApp);
        assert_eq!(server.requests().len(), 0);
    }

    #[tokio::test]
    async fn each_refusal_comes_through_the_socket_as_what_it_is() {
        assert_eq!(fails_at_once(refuses(40029)).await, Error::CodeInvalid(refusal(40029)));
        assert_eq!(fails_at_once(refuses(41008)).await, Error::CodeInvalid(refusal(41008)));
        assert_eq!(fails_at_once(refuses(40163)).await, Error::CodeUsed(refusal(40163)));
        assert_eq!(fails_at_once(refuses(40226)).await, Error::UserBlocked(refusal(40226)));
        assert_eq!(fails_at_once(refuses(45011)).await, Error::RateLimited(refusal(45011)));
        assert_eq!(fails_at_once(refuses(77777)).await, Error::BrokenAnswer(Flaw::UnknownErrcode(refusal(77777))));
        for code in [40013, 40125, 40164, 40243, 41002, 41004, 40001, 40002, 45009, 48001, 50001, 50002, 61003] {
            let error = fails_at_once(refuses(code)).await;
            assert!(matches!(error, Error::Misconfigured { .. }), "{error:?}");
            assert_eq!(error.refusal(), Some(&refusal(code)));
        }
    }

    #[tokio::test]
    async fn a_busy_wechat_is_asked_once_more() {
        let server = Server::that([refuses(errcode::BUSY), Act::Send(says(LOGIN))]);
        let client = client(&server.url());
        login_with(&client).await.unwrap();
        assert_eq!(server.requests().len(), 2);
        assert_eq!(client.counters.wechat.login.total(), 2);
    }

    #[tokio::test]
    async fn a_wechat_that_is_busy_twice_is_not_asked_a_third_time() {
        let acts = [refuses(errcode::BUSY), refuses(errcode::BUSY), Act::Send(says(LOGIN))];
        assert_eq!(fails(acts).await, (Error::Busy(refusal(-1)), 2));
    }

    #[tokio::test]
    async fn used_after_busy_sends_the_client_for_a_new_code() {
        let acts = [refuses(errcode::BUSY), refuses(errcode::CODE_USED)];
        assert_eq!(fails(acts).await, (Error::CodeInvalid(refusal(40163)), 2));
    }

    #[tokio::test]
    async fn a_connection_that_breaks_before_the_answer_is_not_tried_again() {
        assert_eq!(fails_at_once(Act::Reset).await, broke(Stage::Request, ErrorKind::ConnectionReset));
        let closed = fails_at_once(Act::Send(Vec::new())).await;
        assert!(matches!(closed, Error::Unreachable(Trouble { stage: Stage::Request, .. })), "{closed:?}");
    }

    #[tokio::test]
    async fn half_an_answer_is_not_tried_again_and_logs_nobody_in() {
        let whole = says(LOGIN);
        let half = fails_at_once(Act::Send(whole[..whole.len() - 1].to_vec())).await;
        assert!(matches!(half, Error::Unreachable(Trouble { stage: Stage::Answer, .. })), "{half:?}");
        let head = fails_at_once(Act::Send(b"HTTP/1.1 200 OK\r\nContent-".to_vec())).await;
        assert!(matches!(head, Error::Unreachable(Trouble { stage: Stage::Request, .. })), "{head:?}");
        let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"ope\r\n";
        let chunk = fails_at_once(Act::Send(chunk.into())).await;
        assert!(matches!(chunk, Error::Unreachable(Trouble { stage: Stage::Answer, .. })), "{chunk:?}");
    }

    #[tokio::test]
    async fn a_kept_connection_is_used_again_and_its_death_is_not_hidden_by_a_retry() {
        let server =
            Server::that([Act::SendAndKeep(answer("200 OK", "keep-alive", LOGIN)), Act::Reset, Act::Send(says(LOGIN))]);
        let client = client(&server.url());
        login_with(&client).await.unwrap();
        let error = login_with(&client).await.unwrap_err();
        assert_eq!(error, broke(Stage::Request, ErrorKind::ConnectionReset));
        assert_eq!(server.requests().len(), 2);
    }

    #[tokio::test]
    async fn what_is_not_http_is_a_broken_connection() {
        let error = fails_at_once(Act::Send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec())).await;
        assert!(matches!(error, Error::Unreachable(Trouble { stage: Stage::Request, .. })), "{error:?}");
    }

    #[tokio::test]
    async fn an_answer_may_be_64_kib_long_and_not_a_byte_longer() {
        let pad = |len: usize| format!("{LOGIN}{}", " ".repeat(len - LOGIN.len()));
        let server = Server::that([Act::Send(says(pad(MAX_ANSWER)))]);
        login_with(&client(&server.url())).await.unwrap();
        let error = fails_at_once(Act::Send(says(pad(MAX_ANSWER + 1)))).await;
        assert_eq!(error, Error::BrokenAnswer(Flaw::TooLarge));
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_off() {
        let spaces = vec![b' '; 4096];
        let close = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        let lying = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n".to_vec();
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let chunk = [b"1000\r\n".as_slice(), &spaces, b"\r\n"].concat();
        for (head, more) in [(close, &spaces), (lying, &spaces), (chunked, &chunk)] {
            // The first round alone is past the bound, so that nobody reads what the second one means.
            let error = fails_at_once(Act::SendForEver([head, more.repeat(20)].concat())).await;
            assert_eq!(error, Error::BrokenAnswer(Flaw::TooLarge));
        }
    }

    #[tokio::test]
    async fn endless_headers_are_cut_off() {
        let error = fails_at_once(Act::SendForEver(b"HTTP/1.1 200 OK\r\nX: ".repeat(1000))).await;
        assert!(matches!(error, Error::Unreachable(Trouble { stage: Stage::Request, .. })), "{error:?}");
    }

    #[tokio::test]
    async fn what_follows_a_shorter_declared_length_is_not_read() {
        let body = format!("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{LOGIN}");
        assert_eq!(fails_at_once(Act::Send(body.into())).await, Error::BrokenAnswer(Flaw::NotJson));
    }

    #[tokio::test]
    async fn a_slow_answer_ends_at_the_deadline_of_the_whole_and_is_not_tried_again() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n".to_vec();
        for slow in [Act::SendAndHang(Vec::new()), Act::SendAndHang(head.clone()), Act::Trickle(head)] {
            let server = Server::that([slow, Act::Send(says(LOGIN))]);
            let client = Client::new(&section(Duration::from_secs(1)), &[app(&server.url())], Arc::default()).unwrap();
            assert_eq!(login_with(&client).await.unwrap_err(), Error::Timeout);
            assert_eq!(server.requests().len(), 1);
        }
    }

    #[tokio::test]
    async fn the_deadline_holds_for_the_retry_too() {
        let server = Server::that([refuses(errcode::BUSY), Act::SendAndHang(Vec::new())]);
        let client = Client::new(&section(Duration::from_secs(1)), &[app(&server.url())], Arc::default()).unwrap();
        assert_eq!(login_with(&client).await.unwrap_err(), Error::Timeout);
        assert_eq!(server.requests().len(), 2);
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let elsewhere = Server::that([Act::Send(says(LOGIN))]);
        for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
            let url = elsewhere.url();
            let redirect = format!("HTTP/1.1 {status}\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n");
            let error = fails_at_once(Act::Send(redirect.into())).await;
            assert_eq!(error, Error::BrokenAnswer(Flaw::Status(status[..3].parse().unwrap())));
        }
        assert_eq!(elsewhere.requests().len(), 0);
    }

    #[tokio::test]
    async fn another_status_is_told_unless_wechat_explains_it() {
        let gone = fails_at_once(Act::Send(answer("502 Bad Gateway", "close", "<html>"))).await;
        assert_eq!(gone, Error::BrokenAnswer(Flaw::Status(502)));
        let body = r#"{"errcode":"45011","errmsg":"x, rid: 65-1d-5b"}"#;
        assert_eq!(
            fails_at_once(Act::Send(answer("429 Slow", "close", body))).await,
            Error::RateLimited(refusal(45011))
        );
    }

    #[tokio::test]
    async fn an_openid_that_would_break_a_header_is_wechats_fault() {
        let body = r#"{"openid":"o\r\nX-WX-OPENID: admin","session_key":"k"}"#;
        let error = fails_at_once(Act::Send(says(body))).await;
        assert!(matches!(error, Error::BrokenAnswer(Flaw::BadId { field: "openid", .. })), "{error:?}");
    }

    /// Resolves the first time to the first address, and from then on to the second.
    struct Names(Mutex<Vec<Option<SocketAddr>>>);

    impl reqwest::dns::Resolve for Names {
        fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
            let found = self.0.lock().unwrap().pop().unwrap();
            Box::pin(async move {
                let address = found.ok_or_else(|| io::Error::from(ErrorKind::HostUnreachable))?;
                Ok(Box::new(iter::once(address)) as reqwest::dns::Addrs)
            })
        }
    }

    fn client_resolving(addresses: impl IntoIterator<Item = Option<SocketAddr>>) -> Client {
        let mut addresses: Vec<_> = addresses.into_iter().collect();
        addresses.reverse();
        let (app, timeout) = (app("http://wechat.test"), Duration::from_secs(30));
        let names = Arc::new(Names(Mutex::new(addresses)));
        over(builder(timeout, &[&app]).dns_resolver(names), timeout, &app)
    }

    /// An address that refuses connections for as long as the socket lives: bound, but nobody listens.
    fn refusing() -> (socket2::Socket, SocketAddr) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    #[tokio::test]
    async fn a_refused_connection_is_tried_once_more() {
        let (_socket, dead) = refusing();
        let server = Server::that([Act::Send(says(LOGIN))]);
        login_with(&client_resolving([Some(dead), Some(server.address)])).await.unwrap();

        let error = login_with(&client_resolving([Some(dead), Some(dead)])).await.unwrap_err();
        assert_eq!(error, broke(Stage::Connect, ErrorKind::ConnectionRefused));
        assert_eq!(error.to_string(), "the platform was not reached: no connection (connection refused)");
        assert_tells_no_secret(&error);
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_tried_once_more() {
        let server = Server::that([Act::Send(says(LOGIN))]);
        login_with(&client_resolving([None, Some(server.address)])).await.unwrap();

        let error = login_with(&client_resolving([None, None])).await.unwrap_err();
        assert_eq!(error, broke(Stage::Resolve, ErrorKind::HostUnreachable));
        assert_tells_no_secret(&error);
    }

    #[tokio::test]
    async fn a_retry_after_a_refused_connection_is_the_only_one() {
        let (_socket, dead) = refusing();
        let server = Server::that([refuses(errcode::BUSY), Act::Send(says(LOGIN))]);
        let error = login_with(&client_resolving([Some(dead), Some(server.address)])).await.unwrap_err();
        assert_eq!(error, Error::Busy(refusal(-1)));
        assert_eq!(server.requests().len(), 1);
    }

    /// A client that trusts nobody, for servers that don't get as far as a certificate.
    fn https_client(address: SocketAddr, timeout: Duration) -> Client {
        let app = app(&format!("https://{address}"));
        over(builder(timeout, &[&app]).tls_certs_only([]), timeout, &app)
    }

    fn over(builder: reqwest::ClientBuilder, timeout: Duration, app: &sections::App) -> Client {
        Client::over(Transport::over(builder, timeout).unwrap(), &[app], Arc::default()).unwrap()
    }

    #[tokio::test]
    async fn a_server_that_speaks_no_tls_is_tried_once_more_and_gets_no_secret() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = https_client(listener.local_addr().unwrap(), Duration::from_secs(30));
        let heard = Arc::<Mutex<Vec<_>>>::default();
        let notes = Arc::clone(&heard);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut hello = [0; 4096];
                let len = stream.as_ref().unwrap().read(&mut hello).unwrap();
                notes.lock().unwrap().push(String::from_utf8_lossy(&hello[..len]).into_owned());
                stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            }
        });
        let error = login_with(&client).await.unwrap_err();
        assert_eq!(error, broke(Stage::Tls, ErrorKind::InvalidData));
        assert_tells_no_secret(&error);
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 2);
        assert!(heard.iter().all(|hello| !hello.contains("hunter2")));
    }

    #[tokio::test]
    async fn a_server_that_never_completes_the_connection_is_not_reached_rather_than_slow() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = https_client(silent.local_addr().unwrap(), Duration::from_secs(2));
        let error = login_with(&client).await.unwrap_err();
        assert_eq!(error, broke(Stage::Connect, ErrorKind::TimedOut));
        assert_eq!(client.counters.wechat.login.total(), 2);
    }

    #[tokio::test]
    async fn nothing_that_is_traced_holds_a_secret() {
        let (reader, writer) = io::pipe().unwrap();
        let subscriber =
            tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(Mutex::new(writer));
        let guard = tracing::subscriber::set_default(subscriber.finish());
        tracing::trace!("the first line");
        let server = Server::that([refuses(errcode::BUSY), Act::Reset]);
        login_with(&client(&server.url())).await.unwrap_err();
        drop(guard);
        let traced = io::read_to_string(reader).unwrap();
        assert!(traced.contains("the first line"), "{traced}");
        assert!(!traced.contains("hunter2"), "{traced}");
    }

    #[test]
    fn nothing_of_the_client_or_its_config_is_printed() {
        let said = format!("{:?}", client("http://wechat.test"));
        assert_eq!(said, "Client { transport: Transport { timeout: 30s, .. }, .. }");
    }

    #[test]
    fn an_api_base_that_takes_no_path_is_refused() {
        let refused = Client::new(&section(Duration::from_secs(1)), &[app("data:text")], Arc::default()).unwrap_err();
        assert_eq!(refused.to_string(), "`api_base` of app wx4f4bc4dec97d474b can't be the base of a URL");
    }
}
