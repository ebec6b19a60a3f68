//! Flow 2: a login code becomes a session. No HTTP in here.
//!
//! A login may arrive twice: WeChat's own client resends a request that it believes lost, and users tap twice. A code
//! works once, so the second arrival must not go to the platform: see [`once`](crate::once).

mod error;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::runtime::Handle;

pub use error::Error;

use crate::{
    model::{AppId, Clock, Identity, LoginCode, Secret, SessionKey, UserKey},
    once::{Once, Told},
    platform::Platform,
    telemetry::Counters,
};

/// Who makes a session of a proven identity. The sessions' side of this seam is connected where all is wired.
pub trait SessionIssuer: fmt::Debug + Send + Sync {
    /// Begins a session and keeps `key` as the user's newest. An error means that the session is not kept anywhere.
    fn issue(&self, identity: Identity, key: SessionKey) -> Issuing<'_>;
}

/// A session about to begin.
pub type Issuing<'a> =
    Pin<Box<dyn Future<Output = Result<Issued, Arc<dyn std::error::Error + Send + Sync>>> + Send + 'a>>;

/// What the client gets.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The session token, for the `Authorization` header.
    pub token: Secret,
    /// When the session ends if it is never used.
    pub expires_in: Duration,
}

/// Turns login codes into sessions.
pub struct Login {
    exchange: Arc<Exchange>,
    /// A token, and how long it is good if it is not used.
    once: Once<AppId, Duration, Error>,
    window: Duration,
    counters: Arc<Counters>,
}

impl Login {
    /// Logins through `platform` into `sessions`.
    ///
    /// Each exchange runs on `runtime`, not on its caller's: neither a client that hangs up nor a worker that stops
    /// can break off an exchange whose code is spent, and who asks again within `window` gets what came of it.
    pub fn new(
        platform: Arc<dyn Platform>,
        sessions: Arc<dyn SessionIssuer>,
        window: Duration,
        runtime: Handle,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
    ) -> Self {
        let once = Once::new(window, runtime, clock);
        Self { exchange: Arc::new(Exchange { platform, sessions }), once, window, counters }
    }

    /// The same through others. What has come of logins is still known, and what is under way goes on.
    #[must_use]
    pub fn through(&self, platform: Arc<dyn Platform>, sessions: Arc<dyn SessionIssuer>) -> Self {
        let exchange = Arc::new(Exchange { platform, sessions });
        Self { exchange, once: self.once.clone(), window: self.window, counters: Arc::clone(&self.counters) }
    }

    /// Spends `code` and begins a session, or gives the answer that the same code got just now. `place` is kept for as long
    /// as the platform is asked, whether or not somebody still waits for it.
    pub async fn exchange(&self, app: &AppId, code: &LoginCode, place: impl Send + 'static) -> Result<Issued, Error> {
        let question = || {
            let (exchange, app, code) = (Arc::clone(&self.exchange), app.clone(), code.clone());
            async move {
                let _place = place;
                let Issued { token, expires_in } = exchange.run(&app, &code).await?;
                Ok(Told { text: token, beside: expires_in })
            }
        };
        let asked = self.once.ask(app, code.expose(), question);
        if asked.already {
            self.counters.logins_replayed.inc();
        }
        let Told { text, beside } = asked.told().await.map_err(|_| Error::Interrupted)??;
        Ok(Issued { token: text, expires_in: beside })
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("window", &self.window).finish_non_exhaustive()
    }
}

struct Exchange {
    platform: Arc<dyn Platform>,
    sessions: Arc<dyn SessionIssuer>,
}

impl Exchange {
    async fn run(&self, app: &AppId, code: &LoginCode) -> Result<Issued, Error> {
        let found = self.platform.code_to_session(app, code).await?;
        let user = UserKey { app: app.clone(), openid: found.openid };
        let identity = Identity { user, unionid: found.unionid };
        self.sessions.issue(identity, found.session_key).await.map_err(Error::Session)
    }
}

#[cfg(test)]
mod tests {
    //! Logins that arrive twice, at once or one after the other, told with a WeChat that does as it is told.

    use std::{
        collections::VecDeque,
        fmt,
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use tokio::sync::{Notify, Semaphore};

    use super::*;
    use crate::{
        model::{ManualClock, OpenId, Timestamp, UnionId},
        platform::{self, Asking, CodeSession, Refusal},
    };

    const WINDOW: Duration = Duration::from_secs(10);

    /// Answers with an openid made of app and code, or with what was ordered; holds each answer until it may go.
    #[derive(Debug)]
    struct ScriptedWeChat {
        asked: Mutex<Vec<String>>,
        orders: Mutex<VecDeque<Order>>,
        arrived: Notify,
        may_answer: Semaphore,
    }

    #[derive(Debug)]
    enum Order {
        Fail(platform::Error),
        Panic,
    }

    impl ScriptedWeChat {
        fn hold(&self) {
            self.may_answer.forget_permits(Semaphore::MAX_PERMITS);
        }

        fn let_go(&self) {
            self.may_answer.add_permits(1_000);
        }

        fn orders(&self, order: Order) {
            self.orders.lock().unwrap().push_back(order);
        }

        fn asked(&self) -> Vec<String> {
            self.asked.lock().unwrap().clone()
        }
    }

    impl Platform for ScriptedWeChat {
        fn code_to_session<'a>(&'a self, app: &'a AppId, code: &'a LoginCode) -> Asking<'a> {
            let user = format!("{app}/{}", code.expose());
            self.asked.lock().unwrap().push(user.clone());
            self.arrived.notify_one();
            Box::pin(async move {
                self.may_answer.acquire().await.unwrap().forget();
                let order = self.orders.lock().unwrap().pop_front();
                match order {
                    Some(Order::Fail(error)) => Err(error),
                    Some(Order::Panic) => unreachable!("ordered"),
                    None => Ok(CodeSession {
                        openid: OpenId::parse(&user).unwrap(),
                        unionid: Some(UnionId::parse("u1").unwrap()),
                        session_key: SessionKey::new("k1"),
                    }),
                }
            })
        }
    }

    /// Numbers the sessions it begins, and writes into the token whose they are.
    #[derive(Debug, Default)]
    struct CountingIssuer {
        issued: AtomicUsize,
        broken: Mutex<Option<fmt::Error>>,
    }

    impl SessionIssuer for CountingIssuer {
        fn issue(&self, identity: Identity, key: SessionKey) -> Issuing<'_> {
            let number = self.issued.fetch_add(1, Ordering::SeqCst) + 1;
            let broken = self.broken.lock().unwrap().take();
            Box::pin(async move {
                if let Some(error) = broken {
                    return Err(Arc::new(error) as Arc<dyn std::error::Error + Send + Sync>);
                }
                assert_eq!((identity.unionid.unwrap().as_str(), key.expose()), ("u1", "k1"));
                let token = format!("wxg_{number}_{}_{}", identity.user.app, identity.user.openid.as_str());
                Ok(Issued { token: Secret::new(token), expires_in: Duration::from_hours(1) })
            })
        }
    }

    struct Story {
        login: Arc<Login>,
        wechat: Arc<ScriptedWeChat>,
        issuer: Arc<CountingIssuer>,
        clock: Arc<ManualClock>,
        counters: Arc<Counters>,
    }

    impl Story {
        fn with_window(window: Duration) -> Self {
            Self::on(&Handle::current(), window)
        }

        fn on(runtime: &Handle, window: Duration) -> Self {
            let wechat = Arc::new(ScriptedWeChat {
                asked: Mutex::default(),
                orders: Mutex::default(),
                arrived: Notify::new(),
                may_answer: Semaphore::new(1_000),
            });
            let issuer = Arc::new(CountingIssuer::default());
            let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_000_000)));
            let counters = Arc::new(Counters::default());
            let login = Login::new(
                Arc::clone(&wechat) as Arc<dyn Platform>,
                Arc::clone(&issuer) as Arc<dyn SessionIssuer>,
                window,
                runtime.clone(),
                Arc::clone(&clock) as Arc<dyn Clock>,
                Arc::clone(&counters),
            );
            Self { login: Arc::new(login), wechat, issuer, clock, counters }
        }

        async fn login(&self, app: &str, code: &str) -> Result<String, Error> {
            let issued = self.login.exchange(&AppId::parse(app).unwrap(), &LoginCode::new(code), ()).await?;
            assert_eq!(issued.expires_in, Duration::from_hours(1));
            Ok(issued.token.expose().to_owned())
        }

        fn replayed(&self) -> u64 {
            self.counters.logins_replayed.get()
        }
    }

    fn code_used() -> platform::Error {
        platform::Error::CodeUsed(Refusal { errcode: 40163, rid: Some("r1".into()) })
    }

    #[tokio::test]
    async fn a_code_becomes_a_session() {
        let story = Story::with_window(WINDOW);
        assert_eq!(story.login("wx1", "c1").await.unwrap(), "wxg_1_wx1_wx1/c1");
        assert_eq!(story.replayed(), 0);
    }

    #[tokio::test]
    async fn the_same_code_twice_at_once_is_one_exchange_and_one_token() {
        let story = Story::with_window(WINDOW);
        story.wechat.hold();
        let both = async { tokio::join!(story.login("wx1", "c1"), story.login("wx1", "c1")) };
        let release = async {
            story.wechat.arrived.notified().await;
            story.wechat.let_go();
        };
        let ((first, second), ()) = tokio::join!(both, release);
        assert_eq!(first.unwrap(), "wxg_1_wx1_wx1/c1");
        assert_eq!(second.unwrap(), "wxg_1_wx1_wx1/c1");
        assert_eq!(story.wechat.asked(), ["wx1/c1"]);
        assert_eq!(story.replayed(), 1);
    }

    #[tokio::test]
    async fn a_code_that_comes_again_within_the_window_gets_the_same_token() {
        let story = Story::with_window(WINDOW);
        let first = story.login("wx1", "c1").await.unwrap();
        story.clock.advance(Duration::from_millis(9_999));
        assert_eq!(story.login("wx1", "c1").await.unwrap(), first);
        assert_eq!(story.wechat.asked().len(), 1);
        assert_eq!(story.issuer.issued.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn after_the_window_wechat_is_asked_again() {
        let story = Story::with_window(WINDOW);
        story.login("wx1", "c1").await.unwrap();
        story.clock.advance(WINDOW);
        story.wechat.orders(Order::Fail(code_used()));
        let again = story.login("wx1", "c1").await;
        assert!(matches!(again, Err(Error::Platform(platform::Error::CodeUsed(_)))), "{again:?}");
        assert_eq!(story.wechat.asked().len(), 2);
        assert_eq!(story.replayed(), 0);
    }

    #[tokio::test]
    async fn a_replay_does_not_lengthen_the_window() {
        let story = Story::with_window(WINDOW);
        for _ in 0..4 {
            story.login("wx1", "c1").await.unwrap();
            story.clock.advance(Duration::from_secs(4));
        }
        assert_eq!(story.wechat.asked().len(), 2);
    }

    #[tokio::test]
    async fn a_failure_is_the_same_for_who_asks_again() {
        let story = Story::with_window(WINDOW);
        story.wechat.orders(Order::Fail(code_used()));
        for _ in 0..2 {
            let error = story.login("wx1", "c1").await.unwrap_err();
            assert!(matches!(&error, Error::Platform(cause) if *cause == code_used()), "{error:?}");
        }
        assert_eq!(story.wechat.asked().len(), 1);
        assert_eq!(story.replayed(), 1);
    }

    #[tokio::test]
    async fn a_window_of_zero_remembers_nothing_but_still_joins_what_is_under_way() {
        let story = Story::with_window(Duration::ZERO);
        story.login("wx1", "c1").await.unwrap();
        assert_eq!(story.login("wx1", "c1").await.unwrap(), "wxg_2_wx1_wx1/c1");

        story.wechat.hold();
        let both = async { tokio::join!(story.login("wx1", "c2"), story.login("wx1", "c2")) };
        let release = async {
            while story.replayed() == 0 {
                tokio::task::yield_now().await;
            }
            story.wechat.let_go();
        };
        let ((first, second), ()) = tokio::join!(both, release);
        assert_eq!(first.unwrap(), second.unwrap());
        assert_eq!(story.wechat.asked(), ["wx1/c1", "wx1/c1", "wx1/c2"]);
    }

    #[tokio::test]
    async fn code_ab_of_app_c_and_code_a_of_app_bc_never_share_a_flight() {
        let story = Story::with_window(WINDOW);
        story.wechat.hold();
        let both = async { tokio::join!(story.login("c", "ab"), story.login("bc", "a")) };
        let release = async {
            while story.wechat.asked().len() < 2 {
                tokio::task::yield_now().await;
            }
            story.wechat.let_go();
        };
        let ((left, right), ()) = tokio::join!(both, release);
        assert!(left.unwrap().ends_with("_c_c/ab"));
        assert!(right.unwrap().ends_with("_bc_bc/a"));
        assert_eq!(story.replayed(), 0);
    }

    #[tokio::test]
    async fn the_same_code_for_another_app_is_another_login() {
        let story = Story::with_window(WINDOW);
        assert_eq!(story.login("wx1", "c1").await.unwrap(), "wxg_1_wx1_wx1/c1");
        assert_eq!(story.login("wx2", "c1").await.unwrap(), "wxg_2_wx2_wx2/c1");
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_finds_its_session_when_it_comes_back() {
        let story = Story::with_window(WINDOW);
        story.wechat.hold();
        let login = Arc::clone(&story.login);
        let first = Handle::current()
            .spawn(async move { login.exchange(&AppId::parse("wx1").unwrap(), &LoginCode::new("c1"), ()).await });
        story.wechat.arrived.notified().await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        story.wechat.let_go();
        assert_eq!(story.login("wx1", "c1").await.unwrap(), "wxg_1_wx1_wx1/c1");
        assert_eq!(story.wechat.asked(), ["wx1/c1"]);
    }

    #[test]
    fn a_worker_that_goes_away_does_not_break_off_an_exchange() {
        let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let worker = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let story = Story::on(control.handle(), WINDOW);
        story.wechat.hold();
        worker.block_on(async {
            tokio::select! {
                answer = story.login("wx1", "c1") => panic!("{answer:?}"),
                () = story.wechat.arrived.notified() => {}
            }
        });
        drop(worker);
        story.wechat.let_go();
        assert_eq!(control.block_on(story.login("wx1", "c1")).unwrap(), "wxg_1_wx1_wx1/c1");
        assert_eq!(story.wechat.asked(), ["wx1/c1"]);
    }

    #[tokio::test]
    async fn a_panic_within_an_exchange_is_an_error_for_all_who_wait() {
        let story = Story::with_window(WINDOW);
        story.wechat.orders(Order::Panic);
        let (first, second) = tokio::join!(story.login("wx1", "c1"), story.login("wx1", "c1"));
        assert!(matches!(first, Err(Error::Interrupted)), "{first:?}");
        assert!(matches!(second, Err(Error::Interrupted)), "{second:?}");
        assert_eq!(story.login("wx1", "c1").await.unwrap(), "wxg_1_wx1_wx1/c1");
    }

    #[test]
    fn a_login_while_the_process_stops_is_an_error() {
        let control = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let worker = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let story = Story::on(control.handle(), WINDOW);
        drop(control);
        let answer = worker.block_on(story.login("wx1", "c1"));
        assert!(matches!(answer, Err(Error::Interrupted)), "{answer:?}");
    }

    #[tokio::test]
    async fn a_session_that_could_not_be_kept_is_told_apart_with_its_cause() {
        let story = Story::with_window(WINDOW);
        *story.issuer.broken.lock().unwrap() = Some(fmt::Error);
        for _ in 0..2 {
            let error = story.login("wx1", "c1").await.unwrap_err();
            assert!(matches!(error, Error::Session(_)), "{error:?}");
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert_eq!(cause, fmt::Error.to_string());
        }
        assert_eq!(story.wechat.asked().len(), 1);
    }

    #[tokio::test]
    async fn nothing_of_a_login_is_printed() {
        let story = Story::with_window(WINDOW);
        story.login("wx1", "hunter2").await.unwrap();
        assert_eq!(format!("{:?}", story.login), "Login { window: 10s, .. }");
    }
}
