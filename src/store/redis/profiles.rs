//! A profile as the bytes that Redis keeps of it.
//!
//! ```text
//! format 1 | version 8 | sealed
//! ```
//!
//! The version is big-endian. `scripts/put_profile.lua` compares it as it stands there, so that no number of 53 bits and
//! more has to go through Lua.

use redis::Value;

use super::outbox;
use crate::store::{Error, ProfileRecord, Removed, Written};

/// The first byte of what this version writes.
const FORMAT: u8 = 1;

/// The record of a profile that is already sealed.
pub(super) fn encode(sealed: &ProfileRecord) -> Vec<u8> {
    let mut record = Vec::with_capacity(9 + sealed.bytes.len());
    record.push(FORMAT);
    record.extend(sealed.version.to_be_bytes());
    record.extend(&sealed.bytes);
    record
}

/// The version of a profile as a record has it, and nothing for none.
pub(super) fn version(before: Option<u64>) -> Vec<u8> {
    before.map_or_else(Vec::new, |version| version.to_be_bytes().to_vec())
}

/// What [`encode`] made this of.
pub(super) fn decode(record: &Value) -> Result<Option<ProfileRecord>, Error> {
    let record = match record {
        Value::Nil => return Ok(None),
        Value::BulkString(record) => record,
        _ => return Err(UNREADABLE),
    };
    let rest = record.strip_prefix(&[FORMAT]).ok_or(UNREADABLE)?;
    let (version, sealed) = rest.split_first_chunk().ok_or(UNREADABLE)?;
    Ok(Some(ProfileRecord { version: u64::from_be_bytes(*version), bytes: sealed.to_vec() }))
}

/// What `scripts/forget_profile.lua` says, with the profile sealed as it was. What is no record was removed too.
pub(super) fn removed(answer: &Value) -> Result<Option<Removed>, Error> {
    let (told, record) = match answer {
        Value::Nil => return Ok(None),
        Value::Array(pair) => pair.split_first().ok_or(UNREADABLE)?,
        _ => return Err(UNREADABLE),
    };
    let [record] = record else { return Err(UNREADABLE) };
    let profile = decode(record).ok().flatten().unwrap_or_else(|| ProfileRecord::unreadable(0));
    Ok(Some(Removed { profile, crowded: outbox::written(told) == Written::Crowded }))
}

const UNREADABLE: Error = Error::Unreadable("a profile");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_a_profile_never_changes() {
        // Another instance, of yesterday's version, reads it, and the script looks for its version.
        let profile = ProfileRecord { version: 0x0102_0304, bytes: b"sealed".to_vec() };
        let record = encode(&profile);
        assert_eq!(record, b"\x01\0\0\0\0\x01\x02\x03\x04sealed");
        assert_eq!(version(Some(profile.version)), record[1..9]);
        assert!(version(None).is_empty());
        assert_eq!(decode(&Value::BulkString(record)).unwrap(), Some(profile));
    }

    #[test]
    fn what_is_of_another_format_or_cut_is_unreadable_and_not_missing() {
        for odd in [&b""[..], b"\x01\0\0\0", b"\x02\0\0\0\0\x01\x02\x03\x04sealed"] {
            assert!(decode(&Value::BulkString(odd.to_vec())).is_err(), "{odd:?}");
        }
        assert!(decode(&Value::Int(1)).is_err());
        assert_eq!(decode(&Value::Nil).unwrap(), None);
    }
}
