//! Profiles: what a user has told of himself, by (app, openid).
//!
//! ```text
//! body → Told → (session_key: what WeChat vouches for) → Patch ─┐
//!                              store → Profile (version n) ──────┴→ Profile (version > n) → store, if it is still at n
//! ```
//!
//! [`field`] is what there is to tell and what a value may be, [`told`] what a client may send, [`patch`] what is to become
//! of it, [`record`] how a profile rests, [`shown`] how it is read, [`outgoing`] what others are told. A patch changes only what it names. Two at once lose nothing: the one that comes too
//! late is made again, on what the other has left.
//!
//! All of it is personal data. Nothing in here is logged, and no type shows a value by `Debug`.

mod error;
mod field;
mod outgoing;
mod patch;
mod placeholder;
mod record;
mod shown;
#[cfg(test)]
mod tests;
mod told;

use std::{collections::BTreeMap, fmt, sync::Arc};

pub use error::Error;
pub use field::{Field, Value};
pub use outgoing::Outgoing;
pub use told::Told;

pub use self::patch::Patch;
use crate::{
    model::{Clock, Timestamp, UserKey},
    store::{ProfileRecord, Store, Written},
};

/// So often a change is made anew because another was faster. Each time somebody's change was made.
const TRIES: usize = 16;

/// How a value came here. The later ones say more than those before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The client says so.
    Client,
    /// WeChat has encrypted it for this user's session. Nothing proves that nobody has changed it on the way.
    Decrypted,
    /// WeChat has signed it for this user's session.
    Signed,
}

/// One value, how it came and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The value.
    pub value: Value,
    /// How it came.
    pub source: Source,
    /// When it became what it is.
    pub updated_at: Timestamp,
}

/// What is known of a user.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Profile {
    version: u64,
    fields: BTreeMap<Field, Held>,
}

impl Profile {
    /// Changes with every change, and is 0 where nothing is kept.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What there is, each field once, always in the same order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (Field, &Held)> {
        self.fields.iter().map(|(field, held)| (*field, held))
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Which profile somebody means to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever there is.
    Anything,
    /// One that there is.
    Something,
    /// The one of this version; 0 is none.
    Version(u64),
}

impl Expected {
    fn is(self, version: u64) -> bool {
        match self {
            Self::Anything => true,
            Self::Something => version > 0,
            Self::Version(expected) => expected == version,
        }
    }
}

/// All profiles. They rest in the store of the sessions.
pub struct Profiles {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    outgoing: Option<Outgoing>,
}

impl Profiles {
    /// The profiles that rest in `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, outgoing: None }
    }

    /// The same, of whose changes others are told from here on, where there is somebody to be told.
    #[must_use]
    pub fn telling(&self, outgoing: Option<Outgoing>) -> Self {
        Self { store: Arc::clone(&self.store), clock: Arc::clone(&self.clock), outgoing }
    }

    /// What is known of a user, which may be nothing.
    pub async fn of(&self, user: &UserKey) -> Result<Profile, Error> {
        match self.store.profile(user).await.map_err(Error::Store)? {
            Some(kept) => record::read(&kept).map_err(Error::Store),
            None => Ok(Profile::default()),
        }
    }

    /// Makes a change and says what has come of it. When this answers, the store has it. Sending it twice
    /// does no harm: what says nothing new leaves the version as it is.
    pub async fn change(&self, user: &UserKey, patch: &Patch, expected: Expected) -> Result<Profile, Error> {
        for _ in 0..TRIES {
            let before = self.of(user).await?;
            if !expected.is(before.version) {
                return Err(Error::Changed);
            }
            let now = self.clock.now();
            let mut after = before.clone();
            let changed = patch.apply(&mut after.fields, now);
            if !changed && before.version == 0 {
                return Ok(before);
            }
            // What says nothing new is written again: it may repeat a change that was made and could not be answered, and is
            // safe only now.
            if changed {
                // The time, so that a profile that is removed and made anew does not come by a version that somebody knows.
                after.version = now.as_millis().max(before.version + 1);
            }
            let kept = ProfileRecord { version: after.version, bytes: record::write(&after) };
            let replaces = (before.version > 0).then_some(before.version);
            // Where nothing has changed there is nothing to tell: the change that this may repeat was written with its notice.
            let outgoing = self.outgoing.as_ref().filter(|_| changed);
            let posting = outgoing.map(|outgoing| outgoing.changed(user, &before, &after, now)).transpose()?;
            let put = self.store.put_profile(user, replaces, &kept, posting.as_ref()).await;
            if self.has_rung(put.map_err(Error::Store)?) {
                return Ok(after);
            }
        }
        Err(Error::Crowded)
    }

    /// Removes all that is known of a user. True where there was something.
    pub async fn forget(&self, user: &UserKey) -> Result<bool, Error> {
        let removed = |outgoing: &Outgoing| outgoing.removed(user, self.clock.now());
        let posting = self.outgoing.as_ref().map(removed).transpose()?;
        let forgotten = self.store.forget_profile(user, posting.as_ref()).await;
        Ok(self.has_rung(forgotten.map_err(Error::Store)?))
    }

    /// Whether a change was made, of which whoever sends hears.
    fn has_rung(&self, written: Written) -> bool {
        if let Some(outgoing) = self.outgoing.as_ref().filter(|_| written.is_made()) {
            outgoing.bell.ring(written);
        }
        written.is_made()
    }
}

impl fmt::Debug for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profiles").field("store", &self.store).finish_non_exhaustive()
    }
}
