//! What a client may send about its user: in its own words, signed by WeChat, or encrypted by WeChat.

use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use super::{Error, Source, field::Field, patch::Patch};
use crate::{
    model::{SessionKey, Timestamp, UserKey},
    wechat::{Stale, UserInfo},
};

/// Half of a proof proves nothing.
const HALF_SIGNED: &str = "rawData and signature belong together.";
const HALF_ENCRYPTED: &str = "encryptedData and iv belong together.";
const NOTHING: &str = "The body must be a JSON object with at least one of nickName, avatarUrl, gender, language, city, \
     province, country, rawData with signature, and encryptedData with iv.";

/// The body of a change. What it does not know is passed over: above all whose profile it says it is.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    #[serde(default, deserialize_with = "named")]
    nick_name: Option<Json>,
    #[serde(default, deserialize_with = "named")]
    avatar_url: Option<Json>,
    #[serde(default, deserialize_with = "named")]
    gender: Option<Json>,
    #[serde(default, deserialize_with = "named")]
    language: Option<Json>,
    #[serde(default, deserialize_with = "named")]
    city: Option<Json>,
    #[serde(default, deserialize_with = "named")]
    province: Option<Json>,
    #[serde(default, deserialize_with = "named")]
    country: Option<Json>,
    raw_data: Option<String>,
    signature: Option<String>,
    encrypted_data: Option<String>,
    iv: Option<String>,
}

impl Told {
    /// Whether the user's `session_key` is needed to read it.
    pub fn has_proof(&self) -> bool {
        self.raw_data.is_some() || self.encrypted_data.is_some()
    }

    /// The change that it asks for. All of it is good, or none.
    pub fn patch(self, user: &UserKey, key: Option<&SessionKey>, now: Timestamp) -> Result<Patch, Error> {
        let signed = both(self.raw_data, self.signature, HALF_SIGNED)?;
        let encrypted = both(self.encrypted_data, self.iv, HALF_ENCRYPTED)?;
        let plain = [
            (Field::NickName, self.nick_name),
            (Field::AvatarUrl, self.avatar_url),
            (Field::Gender, self.gender),
            (Field::Language, self.language),
            (Field::City, self.city),
            (Field::Province, self.province),
            (Field::Country, self.country),
        ];
        let plain: Vec<_> = plain.into_iter().filter_map(|(field, json)| Some((field, json?))).collect();
        if plain.is_empty() && signed.is_none() && encrypted.is_none() {
            return Err(Error::Invalid(NOTHING));
        }
        let mut patch = Patch::default();
        patch.say(plain)?;
        if let Some((data, iv)) = encrypted {
            patch.vouch(&UserInfo::encrypted(&data, &iv, key.ok_or(Stale)?, user, now)?, Source::Decrypted);
        }
        // What proves more comes last, and counts.
        if let Some((raw, signature)) = signed {
            patch.vouch(&UserInfo::signed(&raw, &signature, key.ok_or(Stale)?)?, Source::Signed);
        }
        Ok(patch)
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told(…)")
    }
}

/// A field that is named with `null` is named.
fn named<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(json).map(Some)
}

fn both<A, B>(one: Option<A>, other: Option<B>, expected: &'static str) -> Result<Option<(A, B)>, Error> {
    match (one, other) {
        (Some(one), Some(other)) => Ok(Some((one, other))),
        (None, None) => Ok(None),
        _ => Err(Error::Invalid(expected)),
    }
}
