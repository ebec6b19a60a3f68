//! What becomes of a profile, told on a store in memory.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::*;
use crate::{
    model::{AppId, ManualClock, OpenId, SessionKey},
    store::Memory,
};

const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);
const GREY: &str = "https://thirdwx.qlogo.cn/mmopen/vi_32/POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4poC6icRiccVGKSyXwibcPq4BWmiaIGuG1icwxaQX6grC9VemZoJ8rg/132";
const FACE: &str = "https://thirdwx.qlogo.cn/mmopen/vi_32/face/132";
const KEY: &str = "HyVFkGl5F5OQWJZZaNzBBg==";

struct World {
    profiles: Profiles,
    clock: Arc<ManualClock>,
}

fn anna() -> UserKey {
    UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse("o-anna").unwrap() }
}

fn world() -> World {
    let clock = Arc::new(ManualClock::starting_at(START));
    World { profiles: Profiles::new(Arc::new(Memory::new()), clock.clone()), clock }
}

/// rawData as WeChat signs it.
fn signed(info: &Json) -> Json {
    let raw = info.to_string();
    let mut hash = sha1_smol::Sha1::new();
    hash.update(raw.as_bytes());
    hash.update(KEY.as_bytes());
    json!({ "rawData": raw, "signature": hash.digest().to_string() })
}

impl World {
    fn try_put(&self, body: &Json, expected: Expected) -> Result<Profile, Error> {
        let told: Told = serde_json::from_value(body.clone()).unwrap();
        let patch = told.patch(&anna(), Some(&SessionKey::new(KEY)), self.clock.now())?;
        futures_now(self.profiles.change(&anna(), &patch, expected))
    }

    fn put(&self, body: &Json) -> Profile {
        self.try_put(body, Expected::Anything).unwrap()
    }

    fn refuses(&self, body: &Json) -> String {
        self.try_put(body, Expected::Anything).unwrap_err().to_string()
    }
}

/// A store in memory makes nobody wait.
fn futures_now<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
}

fn shown(profile: &Profile) -> Json {
    profile.fields().map(|(field, held)| (field.name().to_owned(), json!([held.value, held.source]))).collect()
}

#[test]
fn a_patch_changes_only_what_it_names() {
    let world = world();
    let first = world.put(&json!({ "nickName": " 小明 ", "gender": 1, "city": "广州" }));
    world.clock.advance(Duration::from_secs(5));
    let second = world.put(&json!({ "city": "深圳", "gender": null, "openid": "o-bert", "shoeSize": 43 }));
    assert_eq!(shown(&second), json!({ "nickName": ["小明", "client"], "city": ["深圳", "client"] }));
    assert!(second.version() > first.version());
    let at: Vec<_> = second.fields().map(|(_, held)| held.updated_at.since(START).as_secs()).collect();
    assert_eq!(at, [0, 5]);
    assert!(futures_now(world.profiles.of(&anna())).unwrap() == second);
}

#[test]
fn what_says_nothing_new_changes_nothing() {
    let world = world();
    let first = world.put(&json!({ "nickName": "小明" }));
    world.clock.advance(Duration::from_secs(5));
    for body in [json!({ "nickName": "小明" }), json!({ "city": null }), json!({ "country": "" })] {
        assert!(world.put(&body) == first, "{body}");
    }
}

#[test]
fn a_value_that_is_none_is_refused_in_its_fields_words_and_changes_nothing() {
    let world = world();
    for (field, value) in [
        ("nickName", json!("")),
        ("nickName", json!("  ")),
        ("nickName", json!("a\u{202e}b")),
        ("nickName", json!(7)),
        ("avatarUrl", json!("http://tmp/a.png")),
        ("gender", json!(3)),
        ("gender", json!(1.5)),
        ("gender", json!("1")),
        ("language", json!("zh CN")),
        ("city", json!(["a"])),
        ("province", json!({})),
        ("country", json!(true)),
    ] {
        let mut body = json!({ "nickName": "小明", "gender": 1 });
        body[field] = value;
        assert!(world.refuses(&body).starts_with(&format!("{field} must be ")), "{body}");
    }
    assert!(futures_now(world.profiles.of(&anna())).unwrap() == Profile::default());
}

#[test]
fn a_body_that_names_nothing_or_half_a_proof_is_refused() {
    let world = world();
    assert!(world.refuses(&json!({ "openid": "o-anna", "shoeSize": 43 })).contains("at least one of nickName"));
    for half in [json!({ "rawData": "{}" }), json!({ "signature": "00", "nickName": "a" })] {
        assert_eq!(world.refuses(&half), "rawData and signature belong together.");
    }
    for half in [json!({ "encryptedData": "" }), json!({ "iv": "", "nickName": "a" })] {
        assert_eq!(world.refuses(&half), "encryptedData and iv belong together.");
    }
}

#[test]
fn what_wechat_signs_is_marked_and_what_it_does_not_is_stale_as_a_whole() {
    let world = world();
    let info = json!({ "nickName": "Band", "gender": 1, "avatarUrl": "http://wx.qlogo.cn/a/0", "country": "" });
    let profile = world.put(&signed(&info));
    assert_eq!(
        shown(&profile),
        json!({ "nickName": ["Band", "signed"], "gender": [1, "signed"], "avatarUrl": ["https://wx.qlogo.cn/a/0", "signed"] })
    );
    let mut forged = signed(&info);
    forged["rawData"] = info.to_string().replace("Band", "Bend").into();
    forged["city"] = "广州".into();
    assert_eq!(world.refuses(&forged), "WeChat does not vouch for it");
    assert!(futures_now(world.profiles.of(&anna())).unwrap() == profile);
}

#[test]
fn without_a_session_key_nothing_is_vouched_for() {
    let told: Told = serde_json::from_value(signed(&json!({ "nickName": "Band" }))).unwrap();
    assert!(told.has_proof());
    assert!(matches!(told.patch(&anna(), None, START), Err(Error::Stale(_))));
}

#[test]
fn a_user_may_be_called_otherwise_and_the_mark_goes_with_the_value() {
    let world = world();
    let by_wechat = world.put(&signed(&json!({ "nickName": "Band" })));
    assert!(world.put(&json!({ "nickName": "Band" })) == by_wechat, "to repeat it takes nothing away");
    assert_eq!(shown(&world.put(&json!({ "nickName": "小明" }))), json!({ "nickName": ["小明", "client"] }));
    let again = world.put(&signed(&json!({ "nickName": "小明" })));
    assert_eq!(shown(&again), json!({ "nickName": ["小明", "signed"] }), "the same, and WeChat says so now");
}

#[test]
fn what_wechat_vouches_for_stands_over_what_the_client_says_with_it() {
    let world = world();
    let mut body = signed(&json!({ "nickName": "Band", "city": "" }));
    body["nickName"] = "小明".into();
    body["city"] = "广州".into();
    assert_eq!(shown(&world.put(&body)), json!({ "nickName": ["Band", "signed"], "city": ["广州", "client"] }));
}

#[test]
fn the_placeholder_never_takes_the_place_of_a_real_profile() {
    let world = world();
    let real =
        world.put(&json!({ "nickName": "小明", "avatarUrl": FACE, "gender": 2, "city": "广州", "language": "en" }));
    let placeholder = json!({
        "nickName": "微信用户", "gender": 0, "language": "", "city": "", "province": "", "country": "", "avatarUrl": GREY
    });
    for body in [placeholder.clone(), signed(&placeholder)] {
        assert!(world.put(&body) == real, "{body}");
    }
    assert_eq!(shown(&world.put(&json!({ "gender": 0 })))["gender"], json!([0, "client"]), "who means it may say it");
}

#[test]
fn the_placeholder_is_no_profile_where_there_is_none() {
    let world = world();
    assert!(world.put(&json!({ "nickName": "微信用户", "avatarUrl": GREY, "gender": 0 })) == Profile::default());
}

#[test]
fn what_wechat_vouches_for_and_nobody_may_be_called_is_passed_over() {
    let world = world();
    let odd = json!({ "nickName": "a\u{202e}b", "gender": 9, "city": "x".repeat(65), "avatarUrl": "ftp://a.example/", "country": "CN" });
    assert_eq!(shown(&world.put(&signed(&odd))), json!({ "country": ["CN", "signed"] }));
}

#[test]
fn who_means_another_version_changes_nothing() {
    let world = world();
    let put = |name: &str, expected| world.try_put(&json!({ "nickName": name }), expected);
    assert!(matches!(put("a", Expected::Something), Err(Error::Changed)));
    let first = put("a", Expected::Version(0)).unwrap();
    assert!(matches!(put("b", Expected::Version(0)), Err(Error::Changed)));
    let second = put("b", Expected::Version(first.version())).unwrap();
    assert!(matches!(put("c", Expected::Version(first.version())), Err(Error::Changed)));
    assert_eq!(shown(&put("d", Expected::Something).unwrap()), json!({ "nickName": ["d", "client"] }));
    assert_eq!(second.version(), first.version() + 1, "though the clock stands still");
}

#[test]
fn a_profile_that_is_forgotten_is_gone_and_its_version_does_not_come_back() {
    let world = world();
    let first = world.put(&json!({ "nickName": "小明" }));
    assert!(futures_now(world.profiles.forget(&anna())).unwrap());
    assert!(!futures_now(world.profiles.forget(&anna())).unwrap());
    assert!(futures_now(world.profiles.of(&anna())).unwrap() == Profile::default());
    world.clock.advance(Duration::from_millis(1));
    let second = world.put(&json!({ "nickName": "小明" }));
    assert!(second.version() > first.version());
}

#[test]
fn nothing_of_a_profile_prints() {
    let world = world();
    let body = json!({ "nickName": "小明", "city": "广州" });
    let told: Told = serde_json::from_value(body.clone()).unwrap();
    let profile = world.put(&body);
    let held: Vec<_> = profile.fields().collect();
    let kept = ProfileRecord { version: 1, bytes: record::write(&profile) };
    let told = [format!("{told:?}"), format!("{:?}", told.patch(&anna(), None, START).unwrap())];
    let printed = format!("{told:?} {profile:?} {held:?} {kept:?}");
    assert!(!["小明", "广州", "229"].iter().any(|secret| printed.contains(secret)), "{printed}");
}
