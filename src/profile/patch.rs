//! What is to become of a profile: of each field that is named, and of no other.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{
    Error, Held, Source,
    field::{Field, Value},
    placeholder,
};
use crate::{model::Timestamp, wechat::UserInfo};

/// What is to become of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// A field without a value goes.
    pub(super) wishes: BTreeMap<Field, (Option<Value>, Source)>,
    /// Whether the picture in it has just been uploaded.
    pub(super) uploaded: bool,
}

impl Patch {
    /// The picture at this address is the user's from now on. None where it is no address that a profile takes.
    pub fn uploaded(url: &str) -> Option<Self> {
        let url = Field::AvatarUrl.text(url)?;
        // That a picture was kept here proves nothing about it: it is the client's.
        Some(Self { wishes: BTreeMap::from([(Field::AvatarUrl, (Some(url), Source::Client))]), uploaded: true })
    }

    /// Adds what the client says of its user. The placeholder says nothing, and neither does an empty text but for a
    /// nickname, which has to be there.
    pub(super) fn say(&mut self, plain: Vec<(Field, Json)>) -> Result<(), Error> {
        let is_placeholder = plain.iter().any(|(field, json)| is_placeholder(*field, json));
        for (field, json) in plain {
            let wish = match &json {
                Json::Null => None,
                Json::String(text) if text.is_empty() && field != Field::NickName => continue,
                Json::Number(number) if is_placeholder && number.as_i64() == Some(0) => continue,
                json if self::is_placeholder(field, json) => continue,
                Json::String(text) => Some(field.text(text).ok_or(Error::Invalid(field.takes()))?),
                Json::Number(number) => {
                    let value = number.as_i64().and_then(|number| field.number(number));
                    Some(value.ok_or(Error::Invalid(field.takes()))?)
                }
                _ => return Err(Error::Invalid(field.takes())),
            };
            self.wishes.insert(field, (wish, Source::Client));
        }
        Ok(())
    }

    /// Adds what WeChat vouches for, over what the client says. Nothing in it takes a value away, since WeChat leaves empty
    /// what it does not tell; and what we would not take from anybody is passed over.
    pub(super) fn vouch(&mut self, info: &UserInfo, source: Source) {
        let texts = [
            (Field::NickName, &info.nick_name),
            (Field::Language, &info.language),
            (Field::City, &info.city),
            (Field::Province, &info.province),
            (Field::Country, &info.country),
        ];
        let told = |text: &&String| !placeholder::is_nickname(text);
        let texts =
            texts.into_iter().filter_map(|(field, text)| Some((field, field.text(text.as_ref().filter(told)?)?)));
        let avatar = info.avatar_url.as_deref().filter(|url| !placeholder::is_avatar(url));
        let avatar = avatar.and_then(|url| Some((Field::AvatarUrl, Field::AvatarUrl.text(&over_https(url))?)));
        let gender = info.gender.filter(|gender| *gender != 0).and_then(|gender| Field::Gender.number(gender));
        let gender = gender.map(|gender| (Field::Gender, gender));
        for (field, value) in texts.chain(avatar).chain(gender) {
            self.wishes.insert(field, (Some(value), source));
        }
    }

    /// Changes what it names. True where that has changed anything.
    ///
    /// A value that is there already stays as it came, unless WeChat vouches for it only now: the client that repeats it
    /// takes nothing away from what WeChat said. And the address of an earlier picture of the user's own says nothing: a client
    /// that repeats what it once read would name a picture that was removed.
    pub(super) fn apply(
        &self,
        fields: &mut BTreeMap<Field, Held>,
        now: Timestamp,
        is_kept: impl Fn(&str) -> bool,
    ) -> bool {
        let mut changed = false;
        for (field, (wish, source)) in &self.wishes {
            changed |= match wish {
                None => fields.remove(field).is_some(),
                Some(value) => {
                    let says_it_already = |held: &Held| held.value == *value && held.source >= *source;
                    let is_old = |url: &str| !self.uploaded && *field == Field::AvatarUrl && is_kept(url);
                    let is_news = !fields.get(field).is_some_and(says_it_already)
                        && !matches!(value, Value::Text(text) if is_old(text));
                    if is_news {
                        fields.insert(*field, Held { value: value.clone(), source: *source, updated_at: now });
                    }
                    is_news
                }
            };
        }
        changed
    }
}

fn is_placeholder(field: Field, json: &Json) -> bool {
    match (field, json.as_str()) {
        (Field::NickName, Some(text)) => placeholder::is_nickname(text),
        (Field::AvatarUrl, Some(text)) => placeholder::is_avatar(text),
        _ => false,
    }
}

/// WeChat once told addresses without TLS. Its servers answer to both.
fn over_https(url: &str) -> String {
    match url.strip_prefix("http://") {
        Some(rest) if rest.split('/').next().is_some_and(|host| host.ends_with(".qlogo.cn")) => {
            format!("https://{rest}")
        }
        _ => url.to_owned(),
    }
}
