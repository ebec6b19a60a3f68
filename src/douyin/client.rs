//! The client of Douyin's API: one call per login, over the transport that all platforms share.

use std::{collections::HashMap, fmt, sync::Arc};

use super::code2session::{self, Endpoint};
use crate::{
    config::sections,
    model::{AppId, AppSecret, LoginCode},
    platform::{
        Asking, BuildError, CodeSession, Error, Platform,
        call::Call,
        transport::{Transport, builder, once_more},
    },
    telemetry::Counters,
};

/// Asks Douyin, or whoever stands behind an app's `api_base`.
///
/// Its connections belong to the runtime on which it is first used: use it on one that outlives every login.
pub struct Client {
    transport: Transport,
    endpoints: HashMap<AppId, Endpoint>,
    counters: Arc<Counters>,
}

impl Client {
    /// A client for these apps. It connects when it is first asked, and counts each request, the retry too.
    pub fn new<'a>(
        section: &sections::WeChat,
        apps: impl IntoIterator<Item = &'a sections::App>,
        counters: Arc<Counters>,
    ) -> Result<Self, BuildError> {
        let apps: Vec<&sections::App> = apps.into_iter().collect();
        let transport = Transport::over(builder(section.timeout, &apps), section.timeout)?;
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

    async fn exchange(&self, app: &AppId, code: &LoginCode) -> Result<CodeSession, Error> {
        let endpoint = self.endpoints.get(app).ok_or(Error::UnknownApp)?;
        endpoint.secrets.send(move |secret| once_more(move || self.ask(endpoint, secret, code))).await
    }

    async fn ask(&self, endpoint: &Endpoint, secret: &AppSecret, code: &LoginCode) -> Result<CodeSession, Error> {
        let call = Call::begin(&self.counters.douyin);
        let answer = self.transport.post_json(endpoint.url(), endpoint.body(secret, code)).await;
        let answer = answer.and_then(|(status, body)| code2session::read(status, &body));
        call.end(&answer);
        answer
    }
}

impl Platform for Client {
    fn code_to_session<'a>(&'a self, app: &'a AppId, code: &'a LoginCode) -> Asking<'a> {
        Box::pin(self.transport.within(self.exchange(app, code)))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("transport", &self.transport).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    //! What goes over a real socket. The stories with many answers are those of the gateway.

    use std::{
        io::{self, Read, Write},
        net::TcpListener,
        sync::Mutex,
        thread,
        time::Duration,
    };

    use super::*;

    const LOGIN: &str =
        r#"{"err_no":0,"err_tips":"success","data":{"session_key":"k==","openid":"oLin","unionid":""}}"#;

    /// Answers one request with a login, and gives back what was asked.
    fn server() -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/base", listener.local_addr().unwrap());
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut part) = (String::new(), [0; 4096]);
            while !request.ends_with('}') {
                let len = stream.read(&mut part).unwrap();
                request += std::str::from_utf8(&part[..len]).unwrap();
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", LOGIN.len());
            stream.write_all((head + LOGIN).as_bytes()).unwrap();
            request
        });
        (base, asked)
    }

    #[tokio::test]
    async fn the_call_arrives_as_douyin_has_it_documented_and_nothing_secret_is_traced() {
        let (reader, writer) = io::pipe().unwrap();
        let subscriber =
            tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(Mutex::new(writer));
        let guard = tracing::subscriber::set_default(subscriber.finish());
        tracing::trace!("the first line");
        let (base, asked) = server();
        let app_id = AppId::parse("tt5daf2b0123457910").unwrap();
        let app = sections::App::new(app_id.clone(), AppSecret::new("hunter2-secret"), base.parse().unwrap());
        let section = sections::WeChat { timeout: Duration::from_secs(30), ..sections::WeChat::default() };
        let counters = Arc::new(Counters::default());
        let client = Client::new(&section, [&app], Arc::clone(&counters)).unwrap();
        let session = client.code_to_session(&app_id, &LoginCode::new("hunter2-code")).await.unwrap();
        drop(guard);
        assert_eq!((session.openid.as_str(), session.unionid), ("oLin", None));
        assert_eq!((counters.douyin.ok.get(), counters.wechat.login.total()), (1, 0));

        let asked = asked.join().unwrap();
        let (head, body) = asked.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /base/api/apps/v2/jscode2session HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
        assert!(!head.contains("hunter2"), "nothing secret is in the address or a header");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let wanted =
            serde_json::json!({ "appid": "tt5daf2b0123457910", "secret": "hunter2-secret", "code": "hunter2-code" });
        assert_eq!(body, wanted);
        let traced = io::read_to_string(reader).unwrap();
        assert!(traced.contains("the first line") && !traced.contains("hunter2"), "{traced}");
        assert!(!format!("{client:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn an_app_that_is_not_douyins_is_not_asked_about() {
        let client = Client::new(&sections::WeChat::default(), [], Arc::default()).unwrap();
        let wechats = AppId::parse("wx4f4bc4dec97d474b").unwrap();
        let answer = client.code_to_session(&wechats, &LoginCode::new("c")).await;
        assert_eq!(answer.unwrap_err(), Error::UnknownApp);
    }
}
