//! Tokens as they are lent and renewed, told with a WeChat that does as it is told.

mod life;

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{Notify, Semaphore};

use super::*;
use crate::{
    model::{ManualClock, Timestamp},
    platform::Refusal,
};

const APP: &str = "wx4f4bc4dec97d474b";
const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Gives `<app>/1`, `<app>/2` and so on, or what was ordered; holds each answer until it may go.
#[derive(Debug)]
struct ScriptedOffice {
    asked: AtomicUsize,
    orders: Mutex<VecDeque<Order>>,
    arrived: Notify,
    may_answer: Semaphore,
}

#[derive(Debug)]
enum Order {
    Fail(Error),
    Panic,
    Grant(&'static str, Duration),
}

impl TokenSource for ScriptedOffice {
    fn stable_token<'a>(&'a self, app: &'a AppId) -> Granting<'a> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.arrived.notify_one();
        Box::pin(async move {
            self.may_answer.acquire().await.unwrap().forget();
            let order = self.orders.lock().unwrap().pop_front();
            match order {
                Some(Order::Fail(error)) => Err(error),
                Some(Order::Panic) => unreachable!("ordered"),
                Some(Order::Grant(token, expires_in)) => Ok(Granted { token: AccessToken::new(token), expires_in }),
                None => Ok(Granted { token: AccessToken::new(format!("{app}/{number}")), expires_in: 2 * HOUR }),
            }
        })
    }
}

struct Story {
    office: Arc<ScriptedOffice>,
    clock: Arc<ManualClock>,
    tokens: Arc<AccessTokens>,
}

impl Story {
    fn begin() -> Self {
        Self::on(&Handle::current(), HOUR)
    }

    fn on(runtime: &Handle, timeout: Duration) -> Self {
        let office = Arc::new(ScriptedOffice {
            asked: AtomicUsize::new(0),
            orders: Mutex::default(),
            arrived: Notify::new(),
            may_answer: Semaphore::new(1_000),
        });
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_000_000)));
        let apps = [APP, "wx2"].map(|app| AppId::parse(app).unwrap());
        let source = Arc::clone(&office) as Arc<dyn TokenSource>;
        let tokens = AccessTokens::new(source, apps, timeout, runtime.clone(), clock.clone());
        Self { office, clock, tokens: Arc::new(tokens) }
    }

    fn orders(&self, order: Order) {
        self.office.orders.lock().unwrap().push_back(order);
    }

    fn hold(&self) {
        self.office.may_answer.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn let_go(&self) {
        self.office.may_answer.add_permits(1_000);
    }

    fn asked(&self) -> usize {
        self.office.asked.load(Ordering::SeqCst)
    }

    /// The token that a call of `app` is made with.
    async fn token_of(&self, app: &str) -> Result<String, Error> {
        let app = AppId::parse(app).unwrap();
        self.tokens.with(&app, |token| async move { Ok(token.expose().to_owned()) }).await
    }

    async fn token(&self) -> String {
        self.token_of(APP).await.unwrap()
    }

    /// A call that WeChat refuses with each of `dead`; the tokens that it was made with.
    async fn call_refused_with(&self, dead: &[&str]) -> (Result<(), Error>, Vec<String>) {
        let tried = Mutex::new(Vec::new());
        let call = |token: AccessToken| {
            tried.lock().unwrap().push(token.expose().to_owned());
            let is_dead = dead.contains(&token.expose());
            async move { if is_dead { Err(Error::TokenRefused(refusal(40001))) } else { Ok(()) } }
        };
        let outcome = self.tokens.with(&AppId::parse(APP).unwrap(), call).await;
        (outcome, tried.into_inner().unwrap())
    }

    /// Lets what runs behind the scenes run until `asked` questions have come.
    async fn until_asked(&self, asked: usize) {
        while self.asked() < asked {
            self.office.arrived.notified().await;
        }
    }

    /// Lets what runs behind the scenes run until this token is lent.
    async fn until_lent(&self, token: &str) {
        while self.token().await != token {
            tokio::task::yield_now().await;
        }
    }
}

fn refusal(errcode: i64) -> Refusal {
    Refusal { errcode, rid: None }
}

fn named(number: usize) -> String {
    format!("{APP}/{number}")
}

#[tokio::test]
async fn a_token_is_asked_for_when_it_is_needed_and_then_kept() {
    let story = Story::begin();
    assert_eq!(story.asked(), 0, "nobody asks before there is a need");
    for _ in 0..3 {
        assert_eq!(story.token().await, named(1));
    }
    assert_eq!(story.token_of("wx2").await.unwrap(), "wx2/2", "each app has its own");
    assert_eq!(story.token_of("wx3").await, Err(Error::UnknownApp));
    assert_eq!(story.asked(), 2);
}

#[tokio::test]
async fn however_many_ask_at_once_wechat_is_asked_once() {
    let story = Story::begin();
    story.hold();
    let all = (0..50).map(|_| story.token());
    let ((), tokens) = tokio::join!(
        async {
            story.until_asked(1).await;
            story.let_go();
        },
        all_of(all)
    );
    assert!(tokens.iter().all(|token| *token == named(1)), "{tokens:?}");
    assert_eq!(story.asked(), 1);
}

/// All at once, without a crate for it.
async fn all_of<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, slot) in waiting.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(cx)
            {
                *slot = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn who_asked_first_and_goes_away_takes_nothing_from_those_behind() {
    let story = Story::begin();
    story.hold();
    tokio::select! {
        _ = story.token() => unreachable!("held"),
        () = story.until_asked(1) => {}
    }
    let (second, ()) = tokio::join!(story.token(), async { story.let_go() });
    assert_eq!(second, named(1));
    assert_eq!(story.asked(), 1);
}

#[tokio::test]
async fn a_renewal_that_dies_leaves_nobody_waiting_and_the_next_one_asks_anew() {
    let story = Story::begin();
    story.orders(Order::Panic);
    assert_eq!(story.token_of(APP).await, Err(Error::Interrupted));
    assert_eq!(story.token().await, named(2));
}

#[test]
fn where_the_runtime_has_gone_nobody_waits() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let story = Story::on(runtime.handle(), HOUR);
    drop(runtime);
    let here = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for _ in 0..2 {
        assert_eq!(here.block_on(story.token_of(APP)), Err(Error::Interrupted));
    }
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_the_call_made_once_more() {
    let story = Story::begin();
    story.token().await;
    let (outcome, tried) = story.call_refused_with(&[&named(1)]).await;
    assert_eq!((outcome, tried), (Ok(()), vec![named(1), named(2)]));
    assert_eq!((story.token().await, story.asked()), (named(2), 2));
}

#[tokio::test]
async fn a_token_that_is_refused_twice_is_not_renewed_a_second_time() {
    let story = Story::begin();
    let (outcome, tried) = story.call_refused_with(&[&named(1), &named(2)]).await;
    assert_eq!(outcome, Err(Error::TokenRefused(refusal(40001))));
    assert_eq!((tried, story.asked()), (vec![named(1), named(2)], 2));
}

#[tokio::test]
async fn wechat_may_give_the_very_same_token_again() {
    let story = Story::begin();
    for _ in 0..2 {
        story.orders(Order::Grant("same", 2 * HOUR));
    }
    let (outcome, tried) = story.call_refused_with(&["same"]).await;
    assert_eq!(outcome, Err(Error::TokenRefused(refusal(40001))));
    assert_eq!((tried, story.asked()), (vec!["same".to_owned(); 2], 2));
}

#[tokio::test]
async fn of_many_whose_token_is_refused_one_renews_it_and_all_use_that() {
    let story = Story::begin();
    story.token().await;
    let dead = named(1);
    let dead = [dead.as_str()];
    let all = all_of((0..50).map(|_| story.call_refused_with(&dead))).await;
    for (outcome, tried) in all {
        assert_eq!((outcome, tried), (Ok(()), vec![named(1), named(2)]));
    }
    assert_eq!(story.asked(), 2);
}

#[tokio::test]
async fn who_hears_late_that_a_token_is_dead_takes_the_one_that_others_renewed() {
    let story = Story::begin();
    let (late, app) = (Notify::new(), AppId::parse(APP).unwrap());
    let tried = Mutex::new(Vec::new());
    let slow = story.tokens.with(&app, |token| {
        let is_first = token.expose() == named(1);
        tried.lock().unwrap().push(token.expose().to_owned());
        let late = &late;
        async move {
            if is_first {
                late.notified().await;
                return Err(Error::TokenRefused(refusal(42001)));
            }
            Ok(())
        }
    });
    let (slow, ()) = tokio::join!(slow, async {
        story.until_asked(1).await;
        assert_eq!(story.call_refused_with(&[&named(1)]).await.0, Ok(()));
        late.notify_one();
    });
    assert_eq!((slow, tried.into_inner().unwrap()), (Ok(()), vec![named(1), named(2)]));
    assert_eq!(story.asked(), 2);
}

#[tokio::test]
async fn what_else_goes_wrong_with_a_call_renews_nothing() {
    let story = Story::begin();
    for error in [Error::Timeout, Error::CodeInvalid(refusal(40029)), Error::RateLimited(refusal(45009))] {
        let failed = story.tokens.with(&AppId::parse(APP).unwrap(), |_| async { Err::<(), _>(error.clone()) }).await;
        assert_eq!(failed, Err(error));
    }
    assert_eq!(story.asked(), 1);
}

#[tokio::test]
async fn who_can_not_have_a_token_is_told_why_and_the_next_one_asks_again() {
    for error in [Error::Timeout, Error::Busy(refusal(-1)), Error::RateLimited(refusal(45009))] {
        let story = Story::begin();
        story.orders(Order::Fail(error.clone()));
        assert_eq!(story.token_of(APP).await, Err(error));
        assert_eq!(story.token().await, named(2));
    }
}

#[tokio::test]
async fn a_set_up_that_wechat_refuses_is_asked_with_less_and_less_often_and_at_least_once_a_minute() {
    let story = Story::begin();
    let error = Error::Misconfigured { refusal: refusal(40164), mend: "it" };
    for (asked, rest) in [1, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
        story.orders(Order::Fail(error.clone()));
        assert_eq!(story.token_of(APP).await, Err(error.clone()));
        assert_eq!(story.asked(), asked + 1);
        story.clock.advance(Duration::from_millis(rest * 1000 - 1));
        assert_eq!(story.token_of(APP).await, Err(error.clone()), "as remembered");
        assert_eq!(story.asked(), asked + 1);
        story.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(story.token().await, named(9));
    // What was refused long ago has nothing to do with what is refused now.
    story.orders(Order::Fail(error.clone()));
    assert_eq!(story.call_refused_with(&[&named(9)]).await.0, Err(error));
    story.clock.advance(Duration::from_secs(1));
    assert_eq!(story.call_refused_with(&[&named(9)]).await.0, Ok(()));
}

#[tokio::test]
async fn a_refused_set_up_is_each_apps_own_and_is_forgotten_on_demand() {
    let story = Story::begin();
    let error = Error::Misconfigured { refusal: refusal(40125), mend: "it" };
    story.orders(Order::Fail(error.clone()));
    assert_eq!(story.token_of(APP).await, Err(error.clone()));
    assert_eq!(story.token_of("wx2").await.unwrap(), "wx2/2");
    assert_eq!(story.token_of(APP).await, Err(error));
    story.tokens.forget_refusals();
    assert_eq!(story.token().await, named(3));
}

#[tokio::test]
async fn a_call_with_all_that_it_needs_takes_no_longer_than_the_timeout() {
    let story = Story::on(&Handle::current(), Duration::ZERO);
    story.hold();
    assert_eq!(story.token_of(APP).await, Err(Error::Timeout));
}

#[tokio::test]
async fn nothing_of_a_token_is_printed() {
    let story = Story::begin();
    story.orders(Order::Grant("hunter2", HOUR));
    story.token().await;
    assert_eq!(format!("{:?}", story.tokens), "AccessTokens { apps: 2, .. }");
    let granted = Granted { token: AccessToken::new("hunter2"), expires_in: HOUR };
    assert_eq!(format!("{granted:?}"), "Granted { token: AccessToken(…), expires_in: 3600s }");
}
