//! Avatars: pictures that users upload, kept where everybody can look at them, and named in their profiles.
//!
//! ```text
//! upload → picture (recognised, decoded, square, JPEG) → storage ─→ profile names it ─→ the one before is removed
//! ```
//!
//! In this order, so that no profile names a picture that is not there, wherever the process dies: it leaves behind at most a
//! picture that nobody names. A name is given once and never again ([`name`]), and only a profile that has stopped to name a
//! picture lets it be removed. So of two uploads at once each removes the one that it took the place of, and the winner's
//! stays; no lock is needed, and none between instances that share a store.
//!
//! What has been left behind is found at the user's next change of picture, or when the profile is removed: whatever begins
//! with the user's own mark, is named by nobody, and is older than any upload can be under way.

mod error;
mod name;
mod picture;
mod room;
mod shelf;
mod storage;
mod webp;
mod workshop;

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use tokio::runtime::Handle;

pub use self::{
    error::{Error, Flaw},
    picture::{Bounds, remade},
    room::{Full, Room, Upload},
    shelf::Shelf,
    storage::{OpenError, StorageError, SystemError},
};
use self::{name::Name, workshop::Workshop};
use crate::{
    config::sections,
    model::UserKey,
    profile::{self, Expected, Patch, Profile, Profiles},
    telemetry::Counters,
};

/// So often it is looked whether the profile names a picture already, because somebody has changed it in between.
const TRIES: usize = 16;

/// Pictures that users upload. One for the process.
#[derive(Debug)]
pub struct Avatars {
    shelf: Arc<Shelf>,
    workshop: Workshop,
    room: Room,
    max_body: u64,
    profiles: Arc<Profiles>,
    control: Handle,
    counters: Arc<Counters>,
}

impl Avatars {
    /// As the section says, for pictures on this shelf that are named in these profiles.
    pub fn new(
        section: &sections::Avatars,
        shelf: Arc<Shelf>,
        profiles: Arc<Profiles>,
        control: Handle,
        counters: Arc<Counters>,
    ) -> Result<Self, OpenError> {
        let bounds = Bounds { max_pixels: section.max_pixels, size: section.size };
        let work = move |bytes: &[u8]| remade(bytes, bounds);
        let workshop = Workshop::open(section.threads, section.max_waiting, work).map_err(OpenError::Threads)?;
        // As much as all that may be read or wait could need.
        let places = u64::try_from(section.threads + section.max_waiting).unwrap_or(u64::MAX);
        let room = Room::for_bytes(section.max_body.saturating_mul(places));
        Ok(Self { shelf, workshop, room, max_body: section.max_body, profiles, control, counters })
    }

    /// The most bytes of an upload, the form around the picture included.
    pub fn max_body(&self) -> u64 {
        self.max_body
    }

    /// Room for one more upload.
    pub fn upload(&self) -> Upload {
        self.room.upload()
    }

    /// Makes what was sent the user's picture, at an address under `prefix`, and says how his profile is then.
    pub async fn keep(self: &Arc<Self>, user: &UserKey, upload: Upload, prefix: &str) -> Result<Profile, Error> {
        let kept = self.remake_and_keep(user, upload, prefix).await;
        self.counters.avatar_uploads.count(match &kept {
            Ok(_) => "kept",
            Err(Error::Picture(_)) => "refused",
            Err(Error::Overloaded) => "overloaded",
            Err(_) => "failed",
        });
        kept
    }

    /// The picture of this name, if it is one of ours and there.
    pub async fn find(&self, name: &str) -> Result<Option<Bytes>, Error> {
        self.look(name, |shelf, name| async move { shelf.get(name).await }).await
    }

    /// How many bytes the picture of this name has, if it is one of ours and there. For whoever wants no more of it.
    pub async fn size(&self, name: &str) -> Result<Option<u64>, Error> {
        self.look(name, |shelf, name| async move { shelf.size(name).await }).await
    }

    async fn look<T, F>(&self, name: &str, look: impl FnOnce(Arc<Shelf>, Name) -> F) -> Result<Option<T>, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<Option<T>, StorageError>> + Send + 'static,
    {
        let Some(name) = self.shelf.parse(name) else { return Ok(None) };
        // Connections to a bucket are the control side's.
        let found = self.control.spawn(look(Arc::clone(&self.shelf), name));
        found.await.map_err(|_| Error::Interrupted)?.map_err(Error::Storage)
    }

    async fn remake_and_keep(self: &Arc<Self>, user: &UserKey, upload: Upload, prefix: &str) -> Result<Profile, Error> {
        let remade = self.workshop.remake(upload).ok_or(Error::Overloaded)?;
        let picture = remade.await.map_err(|_| Error::Interrupted)?.map_err(Error::Picture)?;
        let (avatars, user, prefix) = (Arc::clone(self), user.clone(), prefix.to_owned());
        // From here on it goes to its end, though the client may hang up.
        let kept = self.control.spawn(async move { avatars.put(&user, picture.into(), &prefix).await });
        kept.await.map_err(|_| Error::Interrupted)?
    }

    async fn put(&self, user: &UserKey, picture: Bytes, prefix: &str) -> Result<Profile, Error> {
        if let Some(profile) = self.put_again(user, &picture, prefix).await? {
            return Ok(profile);
        }
        let name = self.shelf.new_name(user, &picture).map_err(|_| Error::Address)?;
        self.shelf.put(name, picture).await.map_err(Error::Storage)?;
        let patch = Patch::uploaded(&self.shelf.url(prefix, name)).ok_or(Error::Address)?;
        let changed = self.profiles.change(user, &patch, Expected::Anything).await;
        // After any other error nobody knows whether the profile names it.
        if let Err(profile::Error::Crowded) = &changed {
            self.shelf.remove(name).await;
        }
        changed.map_err(Error::Profile)
    }

    /// Where it is the picture that the profile names already, it stays under its name. It is written once more all the same: a
    /// client that sends it again may have missed the answer, and somebody may have emptied the storage.
    async fn put_again(&self, user: &UserKey, picture: &Bytes, prefix: &str) -> Result<Option<Profile>, Error> {
        let mut written = None;
        for _ in 0..TRIES {
            let profile = self.profiles.of(user).await.map_err(Error::Profile)?;
            let named = profile.avatar().and_then(|url| self.shelf.named(url));
            if let Some(written) = written.filter(|written| Some(*written) != named) {
                // Whoever took its place has removed it, perhaps before it was written again.
                self.shelf.remove(written).await;
            }
            let Some(name) = named.filter(|name| self.shelf.is_of(*name, user, picture)) else { return Ok(None) };
            self.shelf.put(name, picture.clone()).await.map_err(Error::Storage)?;
            written = Some(name);
            let patch = Patch::uploaded(&self.shelf.url(prefix, name)).ok_or(Error::Address)?;
            match self.profiles.change(user, &patch, Expected::Version(profile.version())).await {
                Ok(profile) => return Ok(Some(profile)),
                Err(profile::Error::Changed) => {}
                Err(error) => return Err(Error::Profile(error)),
            }
        }
        Ok(None)
    }
}
