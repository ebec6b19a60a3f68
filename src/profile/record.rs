//! A profile as the store keeps it: JSON, since there are few of them and more fields will come.
//!
//! What a later version adds is unreadable to this one: a field that it does not know, or another `format`. That is an
//! error: read as less than it is, it would be written back as less.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Field, Held, Profile, Source, Value};
use crate::{
    model::Timestamp,
    store::{Error, ProfileRecord},
};

const FORMAT: u8 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format: u8,
    fields: BTreeMap<Field, KeptField>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptField {
    value: Value,
    source: Source,
    /// In milliseconds since 1970.
    at: u64,
}

/// What is kept of a profile beside its version.
pub(super) fn write(profile: &Profile) -> Vec<u8> {
    let kept =
        |held: &Held| KeptField { value: held.value.clone(), source: held.source, at: held.updated_at.as_millis() };
    let fields = profile.fields.iter().map(|(field, held)| (*field, kept(held))).collect();
    // Texts and numbers always serialise, and what they did not would be unreadable.
    serde_json::to_vec(&Kept { format: FORMAT, fields }).unwrap_or_default()
}

/// What [`write()`] made this of.
pub(super) fn read(record: &ProfileRecord) -> Result<Profile, Error> {
    let kept: Kept = serde_json::from_slice(&record.bytes).map_err(|_| UNREADABLE)?;
    if kept.format != FORMAT || record.version == 0 {
        return Err(UNREADABLE);
    }
    let held =
        |kept: KeptField| Held { value: kept.value, source: kept.source, updated_at: Timestamp::from_millis(kept.at) };
    let fields = kept.fields.into_iter().map(|(field, kept)| (field, held(kept))).collect();
    Ok(Profile { version: record.version, fields })
}

const UNREADABLE: Error = Error::Unreadable("a profile");

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        let held = |value, source| Held { value, source, updated_at: Timestamp::from_millis(1_790_000_000_000) };
        let fields = BTreeMap::from([
            (Field::NickName, held(Value::Text("小明\"".to_owned()), Source::Client)),
            (Field::Gender, held(Value::Number(2), Source::Decrypted)),
        ]);
        Profile { version: 7, fields }
    }

    #[test]
    fn what_is_kept_of_a_profile_never_changes() {
        let bytes = write(&profile());
        let expected = "{\"format\":1,\"fields\":{\"nickName\":{\"value\":\"小明\\\"\",\"source\":\"client\",\"at\":1790000000000},\
                        \"gender\":{\"value\":2,\"source\":\"decrypted\",\"at\":1790000000000}}}";
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
        assert!(read(&ProfileRecord { version: 7, bytes }).unwrap() == profile());
    }

    #[test]
    fn what_is_kept_of_a_phone_number_never_changes() {
        let number = crate::model::PhoneNumber::parse("+15550100", "5550100", "1").unwrap();
        let mut profile = Profile { version: 7, ..Profile::default() };
        super::super::Patch::phone(&number).apply(&mut profile.fields, Timestamp::from_millis(5), |_| false);
        let bytes = write(&profile);
        let expected = "{\"format\":1,\"fields\":{\"phoneNumber\":{\"value\":\"+15550100\",\"source\":\"wechat\",\"at\":5},\
                        \"purePhoneNumber\":{\"value\":\"5550100\",\"source\":\"wechat\",\"at\":5},\
                        \"countryCode\":{\"value\":\"1\",\"source\":\"wechat\",\"at\":5}}}";
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
        assert_eq!(read(&ProfileRecord { version: 7, bytes }).unwrap().phone(), Some(number));
    }

    #[test]
    fn what_this_version_would_not_write_is_unreadable_and_not_an_empty_profile() {
        for text in [
            "",
            "{}",
            r#"{"format":2,"fields":{}}"#,
            r#"{"format":1,"fields":{},"phone":"x"}"#,
            r#"{"format":1,"fields":{"shoeSize":{"value":1,"source":"client","at":1}}}"#,
            r#"{"format":1,"fields":{"gender":{"value":1,"source":"client","at":1,"x":1}}}"#,
            r#"{"format":1,"fields":{"gender":{"value":1,"source":"guessed","at":1}}}"#,
        ] {
            assert!(read(&ProfileRecord { version: 1, bytes: text.into() }).is_err(), "{text}");
        }
        assert!(read(&ProfileRecord { version: 0, bytes: write(&profile()) }).is_err());
    }
}
