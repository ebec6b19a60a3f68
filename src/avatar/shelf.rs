//! Pictures by their names: what there is of whom, at which address, and what may go.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{runtime::Handle, time::sleep};

use super::{
    name::{Name, Names},
    storage::{OpenError, Storage, StorageError},
};
use crate::{
    config::sections::{AvatarStorage, Avatars, Seal},
    model::{Clock, Entropy, EntropyError, UserKey},
    profile::Pictures,
    telemetry::Counters,
};

/// Where pictures are, seen from the prefix of our endpoints.
const FOLDER: &str = "/avatars/";
const EXTENSION: &str = ".jpg";

/// Longer than any upload takes from the storage to the profile, and than clocks go wrong.
const LEFT_BEHIND: Duration = Duration::from_hours(1);

/// How long it is until a removal that failed is tried again, each time. What fails then too stays.
const TRIED_AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30), Duration::from_mins(2)];

/// The pictures of all users.
#[derive(Debug)]
pub struct Shelf {
    names: Names,
    storage: Storage,
    /// What addresses begin with, before the prefix of our endpoints.
    public_url: String,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    counters: Arc<Counters>,
    control: Handle,
    /// For tasks that outlive a call.
    me: std::sync::Weak<Self>,
}

impl Shelf {
    /// Tries out what nothing outside this process is needed for.
    pub fn rehearse(section: &Avatars) -> Result<(), OpenError> {
        match section.storage {
            AvatarStorage::S3(_) => Self::prepare(section),
            AvatarStorage::Folder(_) => Ok(()),
        }
    }

    /// Fails at what an [`open`](Self::open) would fail at.
    pub fn prepare(section: &Avatars) -> Result<(), OpenError> {
        Storage::open(&section.storage).map(drop)
    }

    /// As the section says, with names under the keys of `seal`.
    pub fn open(
        section: &Avatars,
        seal: Option<&Seal>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        counters: Arc<Counters>,
        control: Handle,
    ) -> Result<Arc<Self>, OpenError> {
        let names = Names::new(seal, &*entropy)?;
        let storage = Storage::open(&section.storage)?;
        let public_url = section.public_url.clone();
        Ok(Arc::new_cyclic(|me| Self { names, storage, public_url, clock, entropy, counters, control, me: me.clone() }))
    }

    /// The name that a text is, if it was made here.
    pub(super) fn parse(&self, text: &str) -> Option<Name> {
        self.names.parse(text)
    }

    pub(super) fn new_name(&self, user: &UserKey, picture: &[u8]) -> Result<Name, EntropyError> {
        self.names.make(user, picture, &*self.entropy)
    }

    pub(super) fn is_of(&self, name: Name, user: &UserKey, picture: &[u8]) -> bool {
        self.names.is_of(name, user, picture)
    }

    /// Where everybody can look at it.
    pub(super) fn url(&self, prefix: &str, name: Name) -> String {
        format!("{}{prefix}{FOLDER}{}{EXTENSION}", self.public_url, name.to_text())
    }

    /// The name of the picture at this address. It may be an address from before `public_url` changed, so only its end counts:
    /// nobody else makes such names.
    pub(super) fn named(&self, url: &str) -> Option<Name> {
        let (_, file) = url.rsplit_once(FOLDER)?;
        self.parse(file.strip_suffix(EXTENSION)?)
    }

    pub(super) async fn get(&self, name: Name) -> Result<Option<Bytes>, StorageError> {
        self.storage.get(name).await
    }

    pub(super) async fn size(&self, name: Name) -> Result<Option<u64>, StorageError> {
        self.storage.size(name).await
    }

    pub(super) async fn put(&self, name: Name, picture: Bytes) -> Result<(), StorageError> {
        self.storage.put(name, picture).await
    }

    /// Removes a picture that nobody names. Where that fails it is tried again behind the back of whoever waits here.
    ///
    /// A name is given to one picture and never again, so what was to be removed once may be removed at any time after it.
    pub(super) async fn remove(&self, name: Name) {
        let Err(error) = self.try_to_remove(name).await else { return };
        tracing::debug!(%error, "a picture that nobody names is not removed yet");
        let me = self.me.clone();
        // Waiting for it holds nothing: where the gateway stops meanwhile, it is left behind.
        self.control.spawn(async move {
            let mut last = error;
            for rest in TRIED_AGAIN {
                sleep(rest).await;
                let Some(me) = me.upgrade() else { return };
                match me.try_to_remove(name).await {
                    Ok(()) => return,
                    Err(error) => last = error,
                }
            }
            if let Some(me) = me.upgrade() {
                me.failed(&last);
            }
        });
    }

    async fn try_to_remove(&self, name: Name) -> Result<(), StorageError> {
        self.storage.remove(name).await?;
        self.counters.avatar_removals.count("removed");
        Ok(())
    }

    /// Removes the picture that a profile has stopped to name, and what was left behind earlier.
    async fn tidy(&self, user: &UserKey, gone: Option<Name>, named: Option<Name>) {
        if let Some(name) = gone.filter(|gone| Some(*gone) != named) {
            self.remove(name).await;
        }
        for owner in self.names.owners(user) {
            let all = match self.storage.of_owner(&owner).await {
                Ok(all) => all,
                Err(error) => return self.failed(&error),
            };
            let now = self.clock.now();
            for (text, since) in all {
                let is_old = now.since(since) > LEFT_BEHIND;
                if let Some(name) = self.parse(&text).filter(|name| is_old && Some(*name) != named) {
                    self.remove(name).await;
                }
            }
        }
    }

    fn failed(&self, error: &StorageError) {
        self.counters.avatar_removals.count("failed");
        tracing::warn!(%error, "a picture that nobody names could not be removed");
    }

    fn owned(&self, user: &UserKey, url: Option<&str>) -> Option<Name> {
        self.named(url?).filter(|name| self.names.is_owned(*name, user))
    }
}

impl Pictures for Shelf {
    fn keeps(&self, user: &UserKey, url: &str) -> bool {
        self.owned(user, Some(url)).is_some()
    }

    fn changed(&self, user: &UserKey, before: Option<&str>, after: Option<&str>) {
        let Some(me) = self.me.upgrade() else { return };
        let (gone, named, user) = (self.owned(user, before), self.owned(user, after), user.clone());
        // Nobody waits for it: whoever has a new picture has it, and the old one is named by nobody.
        self.control.spawn(async move { me.tidy(&user, gone, named).await });
    }
}
