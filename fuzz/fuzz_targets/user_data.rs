//! Whatever is brought as WeChat's words about a user comes to nothing or to a profile that keeps its bounds, without a panic,
//! and by no error but one. Input: a line that is sent as encrypted, a line for its iv, and a body; the key is WeChat's example's.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wxgate::{
    model::{AppId, OpenId, SessionKey, Timestamp, UserKey},
    profile::{Error, Told},
    wechat::{Stale, UserInfo},
};

/// When the example was made.
const NOW: Timestamp = Timestamp::from_millis(1_477_314_187_000);

fuzz_target!(|input: &[u8]| {
    let key = SessionKey::new("tiihtNczf5v6AKRyjwEUhQ==");
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.splitn(3, '\n');
    let (data, iv, body) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    if let Err(error) = UserInfo::encrypted(data, iv, &key, &user(), NOW) {
        assert_eq!(error, Stale);
    }
    if UserInfo::signed(body, data, &key).is_ok() {
        // A hash that is guessed would be news; the corpus has one that is right.
        assert_eq!(data.len(), 40);
    }
    let Ok(told) = serde_json::from_str::<Told>(body) else { return };
    let proof = told.has_proof();
    match told.patch(&user(), Some(&key), NOW) {
        Ok(patch) => {
            let printed = format!("{patch:?}");
            assert!(!printed.contains("Text"), "{printed}");
        }
        Err(Error::Stale(_)) => assert!(proof, "nothing was to be vouched for"),
        Err(error) => assert!(matches!(error, Error::Invalid(_)), "{error:?}"),
    }
});

fn user() -> UserKey {
    let app = AppId::parse("wx4f4bc4dec97d474b").expect("an AppID");
    UserKey { app, openid: OpenId::parse("oGZUI0egBJY1zhBYw2KhdUfwVJJE").expect("an openid") }
}
