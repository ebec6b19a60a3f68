//! `[sessions.snapshot]`, `[sessions.redis]` and `[sessions.seal]`: where sessions rest, and what is sealed there with
//! which keys.

use std::path::{Path, PathBuf};

use super::redis;
use crate::{
    config::{
        fields::{At, Fields},
        outside::{Kept, from_file, unreadable},
        sections::{NewestSealKey, Redis, Seal, Snapshot},
    },
    model::{SealKey, Secret},
};

/// Where the key lies when nothing is said of it: beside the file that it is for.
const KEY_FILE: &str = "seal.key";

/// Where sessions rest; memory is none of them.
pub(super) struct Places {
    pub(super) snapshot: Option<Snapshot>,
    pub(super) redis: Option<Redis>,
    pub(super) seal: Option<Seal>,
}

/// Where the sections of `sessions` let them rest.
pub(super) fn places(sessions: &mut Fields<'_, '_>) -> Places {
    let mut fields = sessions.section("snapshot");
    let path = path(&mut fields);
    fields.finish();
    let redis = redis::redis(sessions.section("redis"));
    if let (Some(line), Some(_)) = (sessions.line_of("snapshot"), &redis) {
        let line = sessions.line_of("redis").unwrap_or(line);
        sessions.error(line, "redis", "sessions rest in one place: leave out [sessions.snapshot], or this section");
    }
    let (has_redis, has_snapshot) = (redis.is_some(), sessions.has("snapshot"));
    let seal = seal(sessions.section("seal"), path.as_ref(), has_redis);
    if !has_redis && !has_snapshot && sessions.has("seal") {
        let line = sessions.line_of("seal").unwrap_or(sessions.line);
        let advice = "without [sessions.snapshot] or [sessions.redis] nothing rests that would have to be sealed";
        sessions.warn(line, "seal", advice);
    }
    Places { snapshot: path.map(|path| Snapshot { path: path.from_here }), redis, seal }
}

/// The path of the snapshot, as it stands in the file and from where wxgate runs.
struct Place<'t> {
    line: usize,
    text: &'t str,
    from_here: PathBuf,
}

fn path<'t>(fields: &mut Fields<'_, 't>) -> Option<Place<'t>> {
    let path = if fields.given() {
        fields.required("path", "\"data/wxgate.db\"")?
    } else {
        // Asked for all the same, so that it is known to be a key.
        fields.text("path")?
    };
    if Path::new(path.value).file_name().is_none() {
        fields.error(path.line, "path", "is not the path of a file");
        return None;
    }
    let At { line, value: from_here } = fields.place(&path);
    Some(Place { line, text: path.value, from_here })
}

fn seal(mut fields: Fields<'_, '_>, snapshot: Option<&Place<'_>>, redis: bool) -> Option<Seal> {
    let written = fields.secret_or_no_file("key");
    let old_keys = fields.secrets("old_keys");
    let old_keys = old_keys.into_iter().filter_map(|key| parsed(&mut fields, "old_keys", &key)).collect();
    let key = match (written, snapshot) {
        (Some(At { line, value: Kept::Secret(value) }), _) => {
            parsed(&mut fields, "key", &At { line, value }).map(NewestSealKey::Given)
        }
        (Some(At { value: Kept::NoFile(path, _), .. }), Some(_)) => {
            Some(NewestSealKey::ToBeMade(fields.walk.outside.place(&path)))
        }
        (Some(At { line, value: Kept::NoFile(path, error) }), None) => {
            // With Redis each of several instances would make one of its own.
            fields.error(line, "key.file", unreadable(&path, &error));
            None
        }
        (None, Some(snapshot)) if !fields.has("key") => key_beside(&mut fields, snapshot),
        (None, _) => {
            if redis && !fields.has("key") {
                let words = "missing; write key = { file = \"seal.key\" } with 32 random bytes in it, as `openssl rand \
                             -base64 32` makes them, the same for every instance";
                fields.error(fields.line, "key", words);
            }
            None
        }
    };
    fields.finish();
    (snapshot.is_some() || redis).then_some(Seal { key: key?, old_keys })
}

fn key_beside(fields: &mut Fields<'_, '_>, snapshot: &Place<'_>) -> Option<NewestSealKey> {
    let path = Path::new(snapshot.text).with_file_name(KEY_FILE);
    let text = path.to_string_lossy();
    match from_file(fields, &At { line: snapshot.line, value: &text })? {
        Kept::Secret(value) => parsed(fields, "key", &At { line: snapshot.line, value }).map(NewestSealKey::Given),
        Kept::NoFile(path, _) => Some(NewestSealKey::ToBeMade(fields.walk.outside.place(&path))),
    }
}

fn parsed(fields: &mut Fields<'_, '_>, key: &'static str, text: &At<Secret>) -> Option<SealKey> {
    match SealKey::parse(&text.value) {
        Ok(key) => Some(key),
        Err(why) => {
            fields.error(text.line, key, why.to_string());
            None
        }
    }
}
