//! What others are told of a change: which user, which fields, and what the profile is now.

use std::{fmt, sync::Arc};

use serde::Serialize;

use super::{Error, Field, Profile, shown::moment};
use crate::{
    model::{Entropy, Timestamp, UserKey},
    store::{self, Bell, Notice, Posting, Room},
};

/// How others are told of changes.
#[derive(Clone)]
pub struct Outgoing {
    /// How much of that may wait, where anybody is told.
    pub room: Option<Room>,
    /// Rung with each of them.
    pub bell: Arc<Bell>,
    /// For their identities.
    pub entropy: Arc<dyn Entropy>,
}

#[derive(Serialize)]
struct Told<'a, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    data: Whose<'a, T>,
}

#[derive(Serialize)]
struct Whose<'a, T> {
    app: &'a str,
    openid: &'a str,
    #[serde(flatten)]
    more: T,
}

#[derive(Serialize)]
struct Changed<'a> {
    changed: Vec<&'static str>,
    profile: &'a Profile,
}

#[derive(Serialize)]
struct Removed {
    version: u64,
}

impl Outgoing {
    pub(super) fn changed(
        &self,
        user: &UserKey,
        before: &Profile,
        after: &Profile,
        now: Timestamp,
    ) -> Result<Option<Posting>, Error> {
        let Some(room) = self.room else { return Ok(None) };
        let changed = fields(before, after).into_iter().map(Field::name).collect();
        self.posting("profile.changed", user, Changed { changed, profile: after }, room, now).map(Some)
    }

    /// Of a profile whose version was this one. The removal has one above it, so that who hears of it late can tell.
    pub(super) fn removed(&self, user: &UserKey, before: u64, now: Timestamp) -> Result<Posting, Error> {
        let version = super::next_version(before, now);
        // Where nobody is told at the moment, only what waits from earlier times gives way to it.
        let room = self.room.unwrap_or(Room { per_user: 2, in_all: 0 });
        let posting = self.posting("profile.removed", user, Removed { version }, room, now)?;
        // What came before it is nobody's business any more.
        Ok(Posting { supersedes: true, ..posting })
    }

    fn posting(
        &self,
        kind: &'static str,
        user: &UserKey,
        more: impl Serialize,
        room: Room,
        now: Timestamp,
    ) -> Result<Posting, Error> {
        let mut id = [0; 16];
        let failed = |error| Error::Store(store::Error::Unavailable(Arc::new(error)));
        self.entropy.fill(&mut id).map_err(failed)?;
        let data = Whose { app: user.app.as_str(), openid: user.openid.as_str(), more };
        let told = Told { kind, timestamp: moment(now), data };
        // Texts and numbers always serialise.
        let bytes = serde_json::to_vec(&told).unwrap_or_default();
        Ok(Posting { notice: Notice { id, made: now, bytes }, room, supersedes: false })
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("room", &self.room).finish_non_exhaustive()
    }
}

/// What is another: new, gone, or with another value, source or time.
fn fields(before: &Profile, after: &Profile) -> Vec<Field> {
    let mut all: Vec<Field> = before.fields.keys().chain(after.fields.keys()).copied().collect();
    all.sort();
    all.dedup();
    all.retain(|field| before.fields.get(field) != after.fields.get(field));
    all
}
