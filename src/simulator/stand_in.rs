//! One request in, one reply out: WeChat's paths go to its state by way of the ordered faults, `/_sim/` to the controls.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use super::{
    control,
    key_check::KeyCheck,
    reply::Reply,
    scenario::{Fault, Script},
    serving::Service,
    tokens::TokenCall,
    voice::{Dialect, Voice},
    wechat::{Answer, Call, WeChat},
};

/// The calls of WeChat's that are imitated.
const CODE2SESSION: &str = "/sns/jscode2session";
const TOKEN: &str = "/cgi-bin/token";
const STABLE_TOKEN: &str = "/cgi-bin/stable_token";
const PHONE_NUMBER: &str = "/wxa/business/getuserphonenumber";
const CHECK_SESSION: &str = "/wxa/checksession";
const RESET_SESSION: &str = "/wxa/resetusersessionkey";

/// The same call of Douyin's.
const DOUYIN: &str = "/api/apps/v2/jscode2session";

/// How many different codes the count names; later ones count towards the endpoint only.
const NAMED_CODES: usize = 100_000;

/// No request to the stand-in has a longer body.
const MAX_BODY: usize = 64 * 1024;

/// WeChat as a client meets it over HTTP.
pub(super) struct StandIn {
    pub(super) wechat: WeChat,
    pub(super) script: Script,
    tally: Mutex<Tally>,
    hanging: watch::Sender<usize>,
    release: Notify,
}

/// Who was called how often.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    /// By path.
    pub(super) endpoints: BTreeMap<String, u64>,
    /// By login code, as the caller sent it.
    pub(super) codes: BTreeMap<String, u64>,
}

impl StandIn {
    /// A stand-in nobody has called yet.
    pub(super) fn new(wechat: WeChat) -> Self {
        Self {
            wechat,
            script: Script::default(),
            tally: Mutex::default(),
            hanging: watch::Sender::new(0),
            release: Notify::new(),
        }
    }

    /// Answers one request.
    pub(super) async fn handle(&self, request: Request<Bytes>) -> Reply {
        if let Some(control) = request.uri().path().strip_prefix("/_sim/") {
            return control::handle(self, control, &request);
        }
        let (query, is_post) = (request.uri().query().unwrap_or_default(), request.method() == Method::POST);
        let plain = Voice::WeChat(Dialect::WeChat);
        match request.uri().path() {
            path @ (CODE2SESSION | TOKEN | CHECK_SESSION | RESET_SESSION) if request.method() != Method::GET => {
                self.refused(path, 43001, plain)
            }
            CODE2SESSION => {
                let call = Call::parse(query);
                let voice = Voice::WeChat(self.wechat.apps.dialect(call.app()));
                self.exchange(CODE2SESSION, &call, voice).await
            }
            DOUYIN if !is_post => self.refused(DOUYIN, 43001, Voice::Douyin),
            DOUYIN => self.exchange(DOUYIN, &Call::parse_json(request.body()), Voice::Douyin).await,
            path @ (STABLE_TOKEN | PHONE_NUMBER) if !is_post => self.refused(path, 43002, plain),
            CHECK_SESSION => {
                let check = KeyCheck::parse(query);
                self.call(CHECK_SESSION, None, |_| self.wechat.check_session(&check), Voice::ServerApi).await
            }
            RESET_SESSION => {
                let check = KeyCheck::parse(query);
                self.call(
                    RESET_SESSION,
                    None,
                    |ends_old: bool| self.wechat.reset_session(&check, ends_old),
                    Voice::ServerApi,
                )
                .await
            }
            TOKEN => {
                let call = TokenCall::plain(query);
                self.call(TOKEN, None, |_| self.wechat.give_token(&call), Voice::ServerApi).await
            }
            STABLE_TOKEN => match serde_json::from_slice::<TokenCall>(request.body()) {
                Ok(call) => self.call(STABLE_TOKEN, None, |_| self.wechat.give_token(&call), Voice::ServerApi).await,
                Err(_) => self.refused(STABLE_TOKEN, 47001, plain),
            },
            PHONE_NUMBER => match serde_json::from_slice::<PhoneCall>(request.body()) {
                Ok(PhoneCall { code }) => {
                    let token = token_in(query);
                    let truth = |burns_code: bool| self.wechat.phone_number(&token, &code, burns_code);
                    self.call(PHONE_NUMBER, Some(&code), truth, Voice::ServerApi).await
                }
                Err(_) => self.refused(PHONE_NUMBER, 47001, plain),
            },
            _ => self.refused("other", 40066, plain),
        }
    }

    /// The calls so far.
    pub(super) fn calls(&self) -> Tally {
        self.tally().clone()
    }

    /// How many calls wait for [`Self::release`], now and as it changes.
    pub(super) fn hanging(&self) -> watch::Receiver<usize> {
        self.hanging.subscribe()
    }

    /// Lets every call that waits now go on.
    pub(super) fn release(&self) {
        self.release.notify_waiters();
    }

    /// As if just started; only the apps stay.
    pub(super) fn reset(&self) {
        self.script.clear();
        self.wechat.forget_everything();
        *self.tally() = Tally::default();
        self.release();
    }

    fn refused(&self, endpoint: &str, errcode: i64, voice: Voice) -> Reply {
        self.tally().count(endpoint, None);
        Reply::Answer(voice.write(&self.wechat.refusal(errcode, None)))
    }

    async fn exchange(&self, endpoint: &str, call: &Call, voice: Voice) -> Reply {
        self.call(endpoint, Some(call.code()), |burns_code| self.wechat.exchange(call, burns_code), voice).await
    }

    async fn call(&self, path: &str, code: Option<&str>, truth: impl Fn(bool) -> Answer, voice: Voice) -> Reply {
        self.tally().count(path, code);
        let Some((fault, burns_code)) = self.script.next(path) else {
            return Reply::Answer(voice.write(&truth(true)));
        };
        // First the work, then the trouble: whoever gives up waiting has spent the code all the same.
        let answer = truth(burns_code);
        match fault {
            Fault::Latency { millis } => self.wait(Some(Duration::from_millis(millis))).await,
            Fault::Hang => self.wait(None).await,
            _ => {}
        }
        fault.spoil(answer, &self.wechat, voice)
    }

    /// Waits for the release, at most `limit`. It is real time that passes: a client's timeout is on trial here, and
    /// that client's clock is not ours to move.
    async fn wait(&self, limit: Option<Duration>) {
        let released = self.release.notified();
        let _counted = Waiting::new(&self.hanging);
        match limit {
            Some(limit) => drop(tokio::time::timeout(limit, released).await),
            None => released.await,
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service for StandIn {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => self.handle(Request::from_parts(head, body.to_bytes())).await,
            Err(_) => Reply::status(StatusCode::PAYLOAD_TOO_LARGE),
        }
    }

    fn cuts_next(&self) -> bool {
        self.script.may_cut_unread()
    }

    fn cut_unread(&self, first_bytes: &[u8]) -> bool {
        let target = first_bytes.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let path = target.split(|byte| *byte == b'?').next().and_then(|path| std::str::from_utf8(path).ok());
        let path = path.unwrap_or_default();
        !path.starts_with("/_sim/") && self.script.cuts_unread(path) && self.script.next(path).is_some()
    }
}

/// The body of the call for a phone number.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PhoneCall {
    code: String,
}

fn token_in(query: &str) -> String {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "access_token").map(|(_, value)| value.into_owned()).unwrap_or_default()
}

impl Tally {
    fn count(&mut self, endpoint: &str, code: Option<&str>) {
        *self.endpoints.entry(endpoint.to_owned()).or_default() += 1;
        let Some(code) = code else { return };
        if let Some(calls) = self.codes.get_mut(code) {
            *calls += 1;
        } else if self.codes.len() < NAMED_CODES {
            self.codes.insert(code.to_owned(), 1);
        }
    }
}

/// One call that waits. Counts itself out when it goes on, and when its client goes away.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, sync::Arc};

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        model::{SystemClock, SystemEntropy},
        simulator::{apps::Apps, phone_codes::Number, wechat::User},
    };

    const APP: &str = "wx4f4bc4dec97d474b";

    fn stand_in() -> StandIn {
        let entropy = Arc::new(SystemEntropy);
        StandIn::new(WeChat::new(Apps::Any, Duration::from_mins(5), 0, Arc::new(SystemClock), entropy))
    }

    impl StandIn {
        fn knows(&self, code: &str, openid: &str) {
            let user = User { app: APP.to_owned(), openid: openid.to_owned(), unionid: None };
            self.wechat.learn(code, user);
        }

        async fn ask(&self, code: &str) -> Value {
            let uri = format!("{CODE2SESSION}?appid={APP}&secret=s&js_code={code}&grant_type=authorization_code");
            self.send(Request::get(uri)).await
        }

        async fn send(&self, request: http::request::Builder) -> Value {
            let response = self.handle(request.body(Bytes::new()).unwrap()).await.whole().unwrap();
            assert_eq!(response.headers()["content-type"], "text/plain");
            assert_eq!(response.status(), 200);
            serde_json::from_slice(response.body()).unwrap()
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_exchange_is_json_labelled_as_text() {
        let stand_in = stand_in();
        stand_in.knows("c", "oAlice");
        assert_eq!(stand_in.ask("c").await["openid"], "oAlice");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_code_may_need_percent_encoding() {
        let stand_in = stand_in();
        stand_in.knows("a+b/c=&d e", "oAlice");
        assert_eq!(stand_in.ask("a%2Bb%2Fc%3D%26d%20e").await["openid"], "oAlice");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_path_or_method_wechat_does_not_have_is_refused() {
        let stand_in = stand_in();
        assert_eq!(stand_in.send(Request::get("/sns/nothing")).await["errcode"], 40066);
        assert_eq!(stand_in.send(Request::post(CODE2SESSION)).await["errcode"], 43001);
    }

    async fn post(stand_in: &StandIn, target: &str, body: Value) -> Value {
        let request = Request::post(target).body(Bytes::from(body.to_string())).unwrap();
        serde_json::from_slice(stand_in.handle(request).await.whole().unwrap().body()).unwrap()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_phone_code_and_an_access_token_give_a_number_and_a_login_code_gives_none() {
        let stand_in = stand_in();
        stand_in.knows("login code", "oAlice");
        stand_in.wechat.learn_phone("c", APP, Number { pure: "13800000000".into(), country: "86".into() });
        let call = json!({ "grant_type": "client_credential", "appid": APP, "secret": "s" });
        let given = post(&stand_in, STABLE_TOKEN, call.clone()).await;
        assert_eq!(given, post(&stand_in, STABLE_TOKEN, call).await, "asking again changes nothing");
        let target = |token: &Value| format!("{PHONE_NUMBER}?access_token={}", token.as_str().unwrap());
        let good = target(&given["access_token"]);
        let told = post(&stand_in, &good, json!({ "code": "login code" })).await;
        assert_eq!(told["errcode"], 40029);
        assert_eq!(post(&stand_in, &target(&json!("dead")), json!({ "code": "c" })).await["errcode"], 40001);
        let told = post(&stand_in, &good, json!({ "code": "c" })).await;
        assert_eq!(told["phone_info"]["phoneNumber"], "13800000000", "a refused token has spent nothing");
        assert_eq!(post(&stand_in, &good, json!({ "code": "c" })).await["errcode"], 40029);
        stand_in.wechat.replace_tokens(APP);
        assert_eq!(post(&stand_in, &good, json!({ "code": "c" })).await["errcode"], 40001);
        assert_eq!(post(&stand_in, &good, json!("c")).await["errcode"], 47001);
        assert_eq!(stand_in.send(Request::get(PHONE_NUMBER)).await["errcode"], 43002);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn douyin_is_asked_with_a_post_and_says_json() {
        let stand_in = stand_in();
        stand_in.knows("c", "oAlice");
        let ask = async |code: &str| {
            let body = serde_json::json!({ "appid": APP, "secret": "s", "code": code }).to_string();
            let reply = stand_in.handle(Request::post(DOUYIN).body(body.into()).unwrap()).await.whole().unwrap();
            assert_eq!(reply.headers()["content-type"], "application/json; charset=utf-8");
            serde_json::from_slice::<Value>(reply.body()).unwrap()
        };
        assert_eq!(ask("c").await["data"]["openid"], "oAlice");
        assert_eq!(ask("c").await["err_no"], 40018, "it works once");
        assert_eq!(ask("").await["err_no"], 40014);
        let get = stand_in.handle(Request::get(DOUYIN).body(Bytes::new()).unwrap()).await.whole().unwrap();
        assert!(String::from_utf8_lossy(get.body()).contains(r#""err_no":40014"#));
        assert_eq!(stand_in.calls().endpoints[DOUYIN], 4);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_busy_wechat_leaves_the_code_good_unless_told_otherwise() {
        let busy = Fault::Errcode { errcode: -1, errmsg: None };
        let stand_in = stand_in();
        stand_in.knows("c", "oAlice");
        stand_in.script.append(busy.clone().into());
        assert_eq!(stand_in.ask("c").await["errcode"], -1);
        assert_eq!(stand_in.ask("c").await["openid"], "oAlice");

        stand_in.knows("d", "oAlice");
        stand_in.script.append(crate::simulator::Order::from(busy).burns_code(true));
        assert_eq!(stand_in.ask("d").await["errcode"], -1);
        assert_eq!(stand_in.ask("d").await["errcode"], 40163);
        let calls = stand_in.calls();
        assert_eq!((calls.codes["c"], calls.codes["d"], calls.endpoints[CODE2SESSION]), (2, 2, 4));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_call_hangs_until_released_and_its_code_is_spent_meanwhile() {
        let stand_in = stand_in();
        stand_in.knows("c", "oAlice");
        stand_in.script.append(Fault::Hang.into());
        let (hung, again) = tokio::join!(stand_in.ask("c"), async {
            stand_in.hanging().wait_for(|count| *count == 1).await.unwrap();
            let again = stand_in.ask("c").await;
            stand_in.release();
            again
        });
        assert_eq!(again["errcode"], 40163);
        assert_eq!(hung["openid"], "oAlice");
        assert_eq!(*stand_in.hanging().borrow(), 0);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_client_that_gives_up_is_no_longer_counted_as_hanging() {
        let stand_in = stand_in();
        stand_in.script.append(Fault::Hang.into());
        let mut call = Box::pin(stand_in.ask("c"));
        assert!(poll_once(&mut call).await.is_none());
        assert_eq!(*stand_in.hanging().borrow(), 1);
        drop(call);
        assert_eq!(*stand_in.hanging().borrow(), 0);
    }

    async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }

    #[tokio::test(flavor = "current_thread")]
    async fn latency_ends_by_itself() {
        let stand_in = stand_in();
        stand_in.knows("c", "oAlice");
        stand_in.script.append(Fault::Latency { millis: 30 }.into());
        let before = tokio::time::Instant::now();
        assert_eq!(stand_in.ask("c").await["openid"], "oAlice");
        assert!(before.elapsed() >= Duration::from_millis(30), "{:?}", before.elapsed());
    }

    #[test]
    fn only_calls_to_wechat_are_cut_unread() {
        let stand_in = stand_in();
        stand_in.script.append(Fault::CutUnread.into());
        assert!(!stand_in.cut_unread(b"GET /_sim/calls "));
        assert!(stand_in.cut_unread(b"GET /sns/jscode2"));
        assert!(!stand_in.cut_unread(b"GET /sns/jscode2"), "the order is used up");
        stand_in.script.append(crate::simulator::Order::from(Fault::CutUnread).on(STABLE_TOKEN));
        assert!(!stand_in.cut_unread(b"GET /sns/jscode2session?appid=x HTTP/1.1"));
        assert!(stand_in.cut_unread(b"POST /cgi-bin/stable_token HTTP/1.1"));
    }

    #[test]
    fn the_count_names_only_so_many_codes() {
        let mut tally = Tally::default();
        for n in 0..=NAMED_CODES {
            tally.count(CODE2SESSION, Some(&n.to_string()));
        }
        assert_eq!(tally.codes.len(), NAMED_CODES);
        assert_eq!(tally.endpoints[CODE2SESSION], NAMED_CODES as u64 + 1);
    }
}
