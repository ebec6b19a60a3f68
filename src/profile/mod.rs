//! Profiles: what a user has told of himself, by (app, openid).
//!
//! ```text
//! body → Told → (session_key: what WeChat vouches for) → Patch ─┐
//!                              store → Profile (version n) ──────┴→ Profile (version > n) → store, if it is still at n
//! ```
//!
//! [`field`] is what there is to tell and what a value may be, [`told`] what a client may send, [`patch`] what is to become
//! of it, [`record`] how a profile rests, [`shown`] how it is read, [`outgoing`] what others are told. A patch changes only what
//! it names. Two at once lose nothing: the one that comes too late is made again, on what the other has left.
//!
//! All of it is personal data. Nothing in here is logged, and no type shows a value by `Debug`.

mod error;
mod field;
mod near;
mod outgoing;
mod patch;
mod phone;
mod pictures;
mod placeholder;
mod record;
mod shown;
#[cfg(test)]
mod tests;
mod told;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

pub use error::Error;
pub use field::{Field, Value};
pub use outgoing::Outgoing;
pub use told::Told;

use self::near::NearPhones;
pub use self::{patch::Patch, pictures::Pictures};
use crate::{
    model::{Clock, PhoneNumber, Timestamp, UserKey},
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
    /// WeChat has told it to us, and the client had no hand in it.
    WeChat,
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

    /// Where the picture is, if there is one.
    pub fn avatar(&self) -> Option<&str> {
        match &self.fields.get(&Field::AvatarUrl)?.value {
            Value::Text(url) => Some(url),
            Value::Number(_) => None,
        }
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
    phones: NearPhones,
    pictures: Option<Arc<dyn Pictures>>,
    outgoing: RwLock<Option<Outgoing>>,
}

impl Profiles {
    /// The profiles that rest in `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let phones = NearPhones::new(Arc::clone(&clock));
        Self { store, clock, phones, pictures: None, outgoing: RwLock::default() }
    }

    /// The same, whose pictures are kept here.
    #[must_use]
    pub fn with_pictures(self, pictures: Arc<dyn Pictures>) -> Self {
        Self { pictures: Some(pictures), ..self }
    }

    /// From here on this is how others are told of changes. It can be another in the midst of everything: whoever
    /// changes profiles holds the same ones, and none of them may go on with what a configuration before this one has said.
    pub fn tell(&self, outgoing: Outgoing) {
        *self.outgoing.write().unwrap_or_else(PoisonError::into_inner) = Some(outgoing);
    }

    /// What is known of a user, which may be nothing.
    pub async fn of(&self, user: &UserKey) -> Result<Profile, Error> {
        match self.store.profile(user).await.map_err(Error::Store)? {
            Some(kept) => record::read(&kept).map_err(Error::Store),
            None => Ok(Profile::default()),
        }
    }

    /// The user's phone number, if it is known, as it was at most a minute ago; what was changed here counts at once.
    pub async fn phone_of(&self, user: &UserKey) -> Result<Option<PhoneNumber>, Error> {
        if let Some(known) = self.phones.of(user) {
            return Ok(known.phone);
        }
        let asked = self.phones.asks(user);
        let phone = self.of(user).await?.phone();
        self.phones.learn(user, phone.clone(), asked);
        Ok(phone)
    }

    /// Makes a change and says what has come of it. When this answers, the store has it. Sending it twice
    /// does no harm: what says nothing new leaves the version as it is.
    pub async fn change(&self, user: &UserKey, patch: &Patch, expected: Expected) -> Result<Profile, Error> {
        let forgotten = self.phones.forgets(user);
        let outcome = self.make(user, patch, expected).await;
        if !matches!(outcome, Err(Error::Store(_))) {
            forgotten.settle();
        }
        outcome
    }

    async fn make(&self, user: &UserKey, patch: &Patch, expected: Expected) -> Result<Profile, Error> {
        for _ in 0..TRIES {
            let before = self.of(user).await?;
            if !expected.is(before.version) {
                return Err(Error::Changed);
            }
            let now = self.clock.now();
            let mut after = before.clone();
            let is_kept = |url: &str| self.pictures.as_ref().is_some_and(|pictures| pictures.keeps(user, url));
            let changed = patch.apply(&mut after.fields, now, is_kept);
            if !changed && before.version == 0 {
                return Ok(before);
            }
            // What says nothing new is written again: it may repeat a change that was made and could not be answered, and is
            // safe only now.
            if changed {
                after.version = next_version(before.version, now);
            }
            let kept = ProfileRecord { version: after.version, bytes: record::write(&after) };
            let replaces = (before.version > 0).then_some(before.version);
            // Where nothing has changed there is nothing to tell: the change that this may repeat was written with its notice.
            let outgoing = self.outgoing().filter(|_| changed);
            let posting = outgoing.as_ref().map(|outgoing| outgoing.changed(user, &before, &after, now));
            let posting = posting.transpose()?.flatten();
            let put = self.store.put_profile(user, replaces, &kept, posting.as_ref()).await.map_err(Error::Store)?;
            if put.is_made() {
                ring(outgoing.as_ref(), put);
                if let Some(pictures) = self.pictures.as_ref().filter(|_| before.avatar() != after.avatar()) {
                    pictures.changed(user, before.avatar(), after.avatar());
                }
                return Ok(after);
            }
        }
        Err(Error::Crowded)
    }

    /// Removes all that is known of a user. True where there was something.
    pub async fn forget(&self, user: &UserKey) -> Result<bool, Error> {
        let outgoing = self.outgoing();
        let posting = match &outgoing {
            Some(outgoing) => Some(outgoing.removed(user, self.version_of(user).await, self.clock.now())?),
            None => None,
        };
        let forgotten = self.phones.forgets(user);
        let removed = self.store.forget_profile(user, posting.as_ref()).await.map_err(Error::Store)?;
        forgotten.settle();
        if let Some(removed) = &removed {
            ring(outgoing.as_ref(), removed.written());
        }
        if let Some(pictures) = &self.pictures {
            // What can't be read names nothing that could be known.
            let before = removed.as_ref().and_then(|removed| record::read(&removed.profile).ok()).unwrap_or_default();
            pictures.changed(user, before.avatar(), None);
        }
        Ok(removed.is_some())
    }

    /// What can't be read can be removed all the same, and where the store does not answer the removal will hear of it.
    async fn version_of(&self, user: &UserKey) -> u64 {
        self.store.profile(user).await.ok().flatten().map_or(0, |record| record.version)
    }

    fn outgoing(&self) -> Option<Outgoing> {
        self.outgoing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The time, so that a profile that is removed and made anew does not come by a version that somebody knows.
fn next_version(before: u64, now: Timestamp) -> u64 {
    now.as_millis().max(before + 1)
}

/// Whoever sends hears of it.
fn ring(outgoing: Option<&Outgoing>, written: Written) {
    if let Some(outgoing) = outgoing.filter(|outgoing| outgoing.room.is_some()) {
        outgoing.bell.ring(written);
    }
}

impl fmt::Debug for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profiles").field("store", &self.store).finish_non_exhaustive()
    }
}
