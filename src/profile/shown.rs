//! A profile as those read it who may: its values, and beside them the version and where each value comes from.

use std::time::{Duration, UNIX_EPOCH};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Held, Profile, Source};
use crate::model::Timestamp;

struct Origins<'a>(&'a Profile);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Origin {
    source: Source,
    updated_at: String,
}

impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields().len() + 2))?;
        for (field, held) in self.fields() {
            map.serialize_entry(field.name(), &held.value)?;
        }
        map.serialize_entry("version", &self.version())?;
        map.serialize_entry("fields", &Origins(self))?;
        map.end()
    }
}

impl Serialize for Origins<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.fields().map(|(field, held)| (field.name(), Origin::of(held))))
    }
}

impl Origin {
    fn of(held: &Held) -> Self {
        Self { source: held.source, updated_at: moment(held.updated_at) }
    }
}

/// A moment as JSON has it.
pub(super) fn moment(at: Timestamp) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(at.as_millis())).to_string()
}
