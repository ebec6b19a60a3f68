//! Phone codes that arrive, and arrive twice, told with a WeChat that does as it is told.

use std::{collections::VecDeque, sync::Mutex};

use tokio::sync::{Notify, Semaphore};

use super::*;
use crate::{
    model::{AppId, ManualClock, OpenId, Timestamp},
    platform::Refusal,
    store::Memory,
    wechat::{TellingNumber, ToldNumber},
};

const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);
const WINDOW: Duration = Duration::from_secs(10);

/// Tells a number that ends in how often it was asked, or fails as ordered; holds each answer until it may go.
#[derive(Debug)]
struct ScriptedWeChat {
    asked: Mutex<Vec<String>>,
    orders: Mutex<VecDeque<platform::Error>>,
    agreed: Mutex<Timestamp>,
    arrived: Notify,
    may_answer: Semaphore,
}

impl PhoneNumbers for ScriptedWeChat {
    fn phone_number<'a>(&'a self, app: &'a AppId, code: &'a PhoneCode) -> TellingNumber<'a> {
        let count = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(format!("{app}/{}", code.expose()));
            asked.len()
        };
        self.arrived.notify_one();
        Box::pin(async move {
            self.may_answer.acquire().await.unwrap().forget();
            if let Some(error) = self.orders.lock().unwrap().pop_front() {
                return Err(error);
            }
            let pure = format!("1380000000{count}");
            let number = PhoneNumber::parse(&pure, &pure, "86").unwrap();
            Ok(ToldNumber { number, agreed: *self.agreed.lock().unwrap() })
        })
    }
}

struct Story {
    phones: Phones,
    profiles: Arc<Profiles>,
    wechat: Arc<ScriptedWeChat>,
    clock: Arc<ManualClock>,
}

impl Story {
    fn begin() -> Self {
        let wechat = Arc::new(ScriptedWeChat {
            asked: Mutex::default(),
            orders: Mutex::default(),
            agreed: Mutex::new(START),
            arrived: Notify::new(),
            may_answer: Semaphore::new(100),
        });
        let clock = Arc::new(ManualClock::starting_at(START));
        let profiles = Arc::new(Profiles::new(Arc::new(Memory::new()), clock.clone()));
        let source = Arc::clone(&wechat) as Arc<dyn PhoneNumbers>;
        let phones = Phones::new(source, Arc::clone(&profiles), WINDOW, Handle::current(), clock.clone());
        Self { phones, profiles, wechat, clock }
    }

    async fn tap(&self, openid: &str, code: &str) -> Result<String, Error> {
        let number = self.phones.exchange(&user(openid), &PhoneCode::new(code), ()).await?;
        Ok(number.whole().to_owned())
    }

    async fn kept(&self, openid: &str) -> Option<String> {
        self.profiles.phone_of(&user(openid)).await.unwrap().map(|number| number.whole().to_owned())
    }

    fn fails_with(&self, errcode: i64) {
        let error = platform::Error::CodeInvalid(Refusal { errcode, rid: None });
        self.wechat.orders.lock().unwrap().push_back(error);
    }

    fn asked(&self) -> usize {
        self.wechat.asked.lock().unwrap().len()
    }
}

fn user(openid: &str) -> UserKey {
    UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse(openid).unwrap() }
}

#[tokio::test]
async fn a_code_becomes_a_number_that_is_kept_until_it_is_removed() {
    let story = Story::begin();
    assert_eq!(story.kept("oAnna").await, None);
    assert_eq!(story.tap("oAnna", "c1").await.unwrap(), "13800000001");
    assert_eq!(story.kept("oAnna").await.as_deref(), Some("13800000001"));
    assert_eq!(story.tap("oAnna", "c2").await.unwrap(), "13800000002");
    assert_eq!(story.kept("oAnna").await.as_deref(), Some("13800000002"), "what was known before is forgotten");
    story.phones.forget(&user("oAnna")).await.unwrap();
    assert_eq!((story.kept("oAnna").await, story.kept("oBen").await), (None, None));
}

#[tokio::test]
async fn the_same_code_twice_is_one_question_at_once_and_within_the_window() {
    let story = Story::begin();
    story.wechat.may_answer.forget_permits(100);
    let both = async { tokio::join!(story.tap("oAnna", "c1"), story.tap("oAnna", "c1")) };
    let ((first, second), ()) = tokio::join!(both, async {
        story.wechat.arrived.notified().await;
        story.wechat.may_answer.add_permits(100);
    });
    assert_eq!((first.unwrap(), second.unwrap()), ("13800000001".to_owned(), "13800000001".to_owned()));
    story.clock.advance(Duration::from_millis(9_999));
    assert_eq!(story.tap("oAnna", "c1").await.unwrap(), "13800000001");
    assert_eq!(story.asked(), 1);
    story.clock.advance(Duration::from_millis(1));
    story.fails_with(40029);
    assert!(story.tap("oAnna", "c1").await.is_err());
}

#[tokio::test]
async fn another_users_same_code_shares_nothing() {
    let story = Story::begin();
    story.tap("oAnna", "c1").await.unwrap();
    story.fails_with(40029);
    assert!(matches!(story.tap("oBen", "c1").await, Err(Error::WeChat(platform::Error::CodeInvalid(_)))));
    assert_eq!((story.asked(), story.kept("oBen").await), (2, None));
}

#[tokio::test]
async fn who_hangs_up_finds_the_number_kept() {
    let story = Story::begin();
    story.wechat.may_answer.forget_permits(100);
    tokio::select! {
        told = story.tap("oAnna", "c1") => unreachable!("held: {told:?}"),
        () = story.wechat.arrived.notified() => {}
    }
    story.wechat.may_answer.add_permits(100);
    assert_eq!(story.tap("oAnna", "c1").await.unwrap(), "13800000001");
    assert_eq!((story.asked(), story.kept("oAnna").await.as_deref()), (1, Some("13800000001")));
}

#[tokio::test]
async fn a_login_code_is_told_from_a_phone_code_that_is_not_valid() {
    let story = Story::begin();
    for (code, errcode, is_wrong_kind) in [
        ("051v0m000ObAyK19vV1005SDWf0v0m-_", 40029, true),
        ("051v0m000ObAyK19vV1005SDWf0v0m00", 40013, false),
        ("051v0m000ObAyK19vV1005SDWf0v0m0", 40029, false),
        ("051v0m000ObAyK19vV1005SDWf0v0m0+", 40029, false),
        ("e31968a7f94cc5ee25fafc2aef2773f0bb8c3937b22520eb8ee345274d00c144", 40029, false),
    ] {
        story.fails_with(errcode);
        let error = story.tap("oAnna", code).await.unwrap_err();
        assert_eq!(matches!(error, Error::WrongKind(_)), is_wrong_kind, "{code} {error:?}");
    }
}

#[tokio::test]
async fn a_number_that_was_told_long_ago_is_not_kept() {
    let story = Story::begin();
    story.clock.advance(MAX_AGE);
    assert!(story.tap("oAnna", "c1").await.is_ok(), "clocks differ");
    story.clock.advance(Duration::from_millis(1));
    assert!(matches!(story.tap("oBen", "c2").await, Err(Error::Old)));
    assert_eq!(story.kept("oBen").await, None);
}

#[tokio::test]
async fn nothing_of_a_number_is_printed() {
    let story = Story::begin();
    let number = story.phones.exchange(&user("oAnna"), &PhoneCode::new("hunter2"), ()).await.unwrap();
    let profile = story.profiles.of(&user("oAnna")).await.unwrap();
    let said = format!("{:?} {number:?} {profile:?} {:?}", story.phones, PhoneCode::new("hunter2"));
    assert!(!said.contains("138") && !said.contains("hunter2"), "{said}");
}
