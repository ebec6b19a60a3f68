//! What WeChat tells a client about its user, for the client to bring it here: signed, or encrypted.

use std::{fmt, marker::PhantomData, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};
use zeroize::Zeroizing;

use super::crypto;
use crate::model::{SessionKey, Timestamp, UserKey};

/// How long ago encrypted data may have been made. It is asked for and sent in one go; this is for a slow network, and
/// for clocks that differ.
const MAX_AGE: Duration = Duration::from_hours(1);

/// What was brought is not what WeChat made for this user with the newest `session_key`. There is no telling why, on
/// purpose: who is told which step failed can read what was encrypted for somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data does not fit the user's newest session_key")]
pub struct Stale;

/// What WeChat has encrypted for a user: a JSON object, whatever is in it. Only its marks are checked.
pub struct UserData(Zeroizing<String>);

/// What WeChat knows of a user. Nothing in it is checked but that it is WeChat's. Empty texts and a gender of 0 are what
/// WeChat no longer tells.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserInfo {
    /// The nickname.
    pub nick_name: Option<String>,
    /// 1 is a man, 2 a woman.
    pub gender: Option<i64>,
    /// The language that WeChat is set to.
    pub language: Option<String>,
    /// Where the user lives.
    pub city: Option<String>,
    /// The same.
    pub province: Option<String>,
    /// The same.
    pub country: Option<String>,
    /// Where the picture is.
    pub avatar_url: Option<String>,
}

/// What stands in encrypted data beside that.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marked {
    open_id: Option<String>,
    #[serde(deserialize_with = "only_a_map")]
    watermark: Watermark,
}

#[derive(Deserialize)]
struct Watermark {
    appid: String,
    /// In seconds.
    timestamp: u64,
}

impl UserInfo {
    /// What `rawData` says, if WeChat has signed it with this key. `raw` is the text as the client has it, unchanged.
    pub fn signed(raw: &str, signature: &str, key: &SessionKey) -> Result<Self, Stale> {
        if crypto::is_signed(raw, signature, key) { object(raw).ok_or(Stale) } else { Err(Stale) }
    }

    /// What `encryptedData` says, if WeChat has encrypted it with this key, for this user, not long ago.
    pub fn encrypted(data: &str, iv: &str, key: &SessionKey, user: &UserKey, now: Timestamp) -> Result<Self, Stale> {
        decrypt(data, iv, key, |text| marked(text, user, now, MAX_AGE))
    }
}

impl UserData {
    /// What `encryptedData` says, if WeChat has encrypted it with this key, for this user, and not longer ago than this.
    pub fn decrypt(
        encrypted: (&str, &str),
        key: &SessionKey,
        user: &UserKey,
        now: Timestamp,
        max_age: Duration,
    ) -> Result<Self, Stale> {
        let (data, iv) = encrypted;
        decrypt(data, iv, key, |text| {
            // Told on as it stands there: read and written again, a long number could be another.
            let _: IgnoredAny = marked(text, user, now, max_age)?;
            Some(Self(Zeroizing::new(std::str::from_utf8(text).ok()?.to_owned())))
        })
    }

    /// The object, as JSON.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

/// What is read of what this key decrypts. It is read whatever the padding is, or the time that takes would tell.
fn decrypt<T>(data: &str, iv: &str, key: &SessionKey, read: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, Stale> {
    let decrypted = crypto::decrypt(data, iv, key).ok_or(Stale)?;
    let read = read(decrypted.text());
    if decrypted.is_padded() { read.ok_or(Stale) } else { Err(Stale) }
}

/// What a decrypted text says, if its marks are right.
fn marked<T: DeserializeOwned>(text: &[u8], user: &UserKey, now: Timestamp, max_age: Duration) -> Option<T> {
    let text = std::str::from_utf8(text).ok()?;
    let (marked, said): (Marked, T) = (object(text)?, object(text)?);
    let made = Timestamp::from_millis(marked.watermark.timestamp.checked_mul(1000)?);
    let is_whose = marked.open_id.is_none_or(|id| id.is_empty() || id == user.openid.as_str());
    let is_ours = marked.watermark.appid == user.app.as_str();
    (is_ours && is_whose && now.since(made) <= max_age).then_some(said)
}

/// An object, where serde would take an array for one as well.
fn object<T: DeserializeOwned>(text: &str) -> Option<T> {
    if text.trim_ascii_start().starts_with('{') { serde_json::from_str(text).ok() } else { None }
}

/// The same for an object within another.
fn only_a_map<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct OnlyAMap<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyAMap<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_map(OnlyAMap(PhantomData))
}

impl fmt::Debug for UserData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserData(…)")
    }
}

impl fmt::Debug for UserInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserInfo(…)")
    }
}

#[cfg(test)]
mod tests;
