//! Where sessions and profiles rest: the contract that every store keeps.
//!
//! A store holds, of each session, what [`Session::restore`] needs; an index of the sessions of each user of each app; and
//! the `session_key` of each such user, the newest login's or what has taken its place. In front of it stands the cache of
//! `session/`, which asks it on a miss and tells it of every change.
//!
//! Beside the sessions it holds a profile of each user who has one. What is in it is the business of `profile/`; here it is
//! bytes with a version. It outlives the user's sessions and goes only when it is told to.
//!
//! With a change of a profile it may be asked to keep a notice of it, for somebody who is told of changes: [`outbox`]. A notice is
//! there where its change is, and stays until somebody says that it is over.
//!
//! **What "not found" is.** A session that never was, that was ended, or that has run out by `now` is `Ok(None)`, and there
//! is no telling them apart. An [`Error`] means that nothing is known: the caller must neither let pass nor turn away.
//!
//! **What survives a crash.** When [`begin`](Store::begin), [`end`](Store::end), [`end_user`](Store::end_user),
//! [`replace_session_key`](Store::replace_session_key), [`put_profile`](Store::put_profile) or
//! [`forget_profile`](Store::forget_profile) has answered with `Ok`, the change is as durable as the store ever makes one: kept by the file or the server, where there
//! is one. Without an answer, or with an error, it may have happened or not; doing it again does no harm.
//! [`touch`](Store::touch) may be lost: a session then looks unused for a little longer than it was.
//!
//! **Who wins a race.** Each method takes effect at one moment, whole or not at all, for all who share the store. A session
//! that was ended never comes back: a `touch` or a `load` that races with its end does not revive it. Of two logins of
//! one user the one that takes effect later is the newer, and its `session_key` is the one that stays, until
//! somebody who knows that one puts another in its place. Of several changes
//! of one version of a profile one is made, and the others are told that it was not theirs.
//!
//! **Time** comes in as `now`. A store may remove what has run out whenever it likes, and answers as if it had already.
//! Uses are not all written down, so a session may be live for a gateway that has seen it used, and look to the store as
//! if it had just run out. Unless it [sees each use](Store::sees_use), a store keeps such a one for a while all the same (a
//! twentieth of its idle time and a minute), so that the next use finds it, and names it where it says what was ended:
//! whoever has it in memory must let it go.

mod error;
mod folder;
mod key_file;
mod memory;
mod outbox;
mod redis;
mod seal;
mod sqlite;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use crate::model::{Session, SessionKey, Timestamp, TokenDigest, UserKey};

pub use error::Error;
pub use folder::make as make_folder;
pub use key_file::{KeyFileError, make_key_file};
pub use memory::Memory;
pub use outbox::{Bell, Claim, Claimed, Fate, Notice, Posting, Room, SUPERSEDED, Waiting, Written};
pub use redis::{RedisError, RedisStore};
pub use seal::{SealError, Sealer};
pub use sqlite::{OpenError, Sqlite};

/// An answer under way. It may be awaited on any runtime that has its timers on.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A session's last use, to be written down.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whose session.
    pub user: UserKey,
    /// Which.
    pub digest: TokenDigest,
    /// When it was last used.
    pub at: Timestamp,
}

/// A user's profile as it is kept. It is personal data: `Debug` shows nothing but the version.
#[derive(Clone, PartialEq, Eq)]
pub struct ProfileRecord {
    /// Which one it is: each change has another, up to 2^53, so that a program in JavaScript can tell them apart.
    pub version: u64,
    /// What `profile/` has written.
    pub bytes: Vec<u8>,
}

impl ProfileRecord {
    /// What is left of one whose bytes can't be read.
    fn unreadable(version: u64) -> Self {
        Self { version, bytes: Vec::new() }
    }
}

/// What a removal of a profile has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// What the profile was. One that no longer can be read is removed too, and has no bytes.
    pub profile: ProfileRecord,
    /// Whether for want of room a notice is told to nobody.
    pub crowded: bool,
}

impl Removed {
    /// As a change, which it is.
    pub fn written(&self) -> Written {
        if self.crowded { Written::Crowded } else { Written::Yes }
    }

    /// The same with the bytes of the profile as they were before they were sealed.
    fn opened(self, open: impl FnOnce(&[u8]) -> Result<Vec<u8>, SealError>) -> Self {
        let version = self.profile.version;
        let opened = open(&self.profile.bytes).map(|bytes| ProfileRecord { version, bytes });
        Self { profile: opened.unwrap_or_else(|_| ProfileRecord::unreadable(version)), ..self }
    }
}

impl fmt::Debug for ProfileRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProfileRecord").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Where sessions and profiles rest.
pub trait Store: fmt::Debug + Send + Sync {
    /// Takes in a new session as its user's newest, with the only `session_key` that counts from now on. Where `per_user`
    /// is not 0, the user's oldest live sessions beyond so many end; their digests are the answer, with those of sessions
    /// that have just run out.
    fn begin<'a>(
        &'a self,
        session: &'a Arc<Session>,
        key: &'a SessionKey,
        per_user: usize,
        now: Timestamp,
    ) -> Answer<'a, Vec<TokenDigest>>;

    /// The live session of this digest.
    fn load<'a>(&'a self, digest: &'a TokenDigest, now: Timestamp) -> Answer<'a, Option<Arc<Session>>>;

    /// Ends a session. True where it was live until now.
    fn end<'a>(&'a self, user: &'a UserKey, digest: &'a TokenDigest, now: Timestamp) -> Answer<'a, bool>;

    /// Ends all sessions of a user that have begun. The digests of those that were live until now, with those of sessions
    /// that have just run out.
    fn end_user<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Vec<TokenDigest>>;

    /// The live sessions of a user, oldest first. Those that have just run out may be among them.
    fn sessions_of<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Vec<Arc<Session>>>;

    /// The `session_key` of the user, the newest login's or what has taken its place, as long as one of the user's sessions is live.
    fn session_key<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Option<SessionKey>>;

    /// Puts a `session_key` in the place of a user's, if that still is `old` and one of the user's sessions is live. False where it
    /// is not so: then nothing has changed. Where `new` is there already it is true, so that it may be told twice.
    fn replace_session_key<'a>(
        &'a self,
        user: &'a UserKey,
        old: &'a SessionKey,
        new: &'a SessionKey,
        now: Timestamp,
    ) -> Answer<'a, bool>;

    /// The profile of a user. `None` is a user who has none.
    fn profile<'a>(&'a self, user: &'a UserKey) -> Answer<'a, Option<ProfileRecord>>;

    /// Puts a profile in the place of the one of version `before`, or where there is none. Not made where it is another, or is
    /// there, or is not: then nothing has changed. Where it is made, `posting` is written down in the same step.
    fn put_profile<'a>(
        &'a self,
        user: &'a UserKey,
        before: Option<u64>,
        profile: &'a ProfileRecord,
        posting: Option<&'a Posting>,
    ) -> Answer<'a, Written>;

    /// Removes a user's profile, whatever it is, posts this with it, and says what has gone. `None` is a user who had none: then
    /// nothing is posted.
    fn forget_profile<'a>(&'a self, user: &'a UserKey, posting: Option<&'a Posting>) -> Answer<'a, Option<Removed>>;

    /// Gives the first notices of at most so many users, of those who are due and whom nobody has claimed, to this claim.
    fn claim_notices(&self, claim: Claim, now: Timestamp, limit: usize) -> Answer<'_, Vec<Claimed>>;

    /// Says what became of a notice. False where the claim is over: then nothing has changed.
    fn settle_notice<'a>(&'a self, user: &'a UserKey, by: [u8; 16], fate: Fate, now: Timestamp) -> Answer<'a, bool>;

    /// How much waits.
    fn waiting_notices(&self) -> Answer<'_, Waiting>;

    /// Writes down when sessions were last used. It moves forward only, and passes over those that are gone. The caller
    /// vouches that each use came before the session's end.
    fn touch(&self, seen: Vec<Seen>) -> Answer<'_, ()>;

    /// The most recently begun or used live sessions, at most so many: what is worth having in memory at start.
    fn recent(&self, limit: usize, now: Timestamp) -> Answer<'_, Vec<Arc<Session>>>;

    /// About how many sessions there are; those that ran out a while ago may be among them.
    fn count(&self) -> Answer<'_, u64>;

    /// Removes a bounded number of sessions that have run out. True where there may be more.
    fn sweep(&self, now: Timestamp) -> Answer<'_, bool>;

    /// Whether the store can take a login now.
    fn check(&self) -> Answer<'_, ()>;

    /// Whether the sessions it gives out are the ones it keeps, so that a use is known to it without a [`touch`](Self::touch).
    fn sees_use(&self) -> bool {
        false
    }

    /// A session was pushed out of memory for want of room. True where that ends it, because there is no other place.
    fn evicted(&self, _session: &Session) -> bool {
        false
    }

    /// The [`shard`](TokenDigest::shard) that the digest of a session of this user must be in. A store that is spread over
    /// machines puts all of a user's data on one of them by it, so that a change of several of them is one change.
    fn shard_of(&self, _user: &UserKey) -> Option<u8> {
        None
    }

    /// Tells `watcher` from now on of what others change, and of changes that happened after they seemed to have failed. Where
    /// [`stale_for`](Self::stale_for) is bounded, the link counts as broken until the first `link_restored`.
    fn follow(&self, _watcher: Arc<dyn Watcher>) {}

    /// How long sessions in memory still count while the link of [`follow`](Self::follow) is broken.
    fn stale_for(&self) -> Duration {
        Duration::MAX
    }
}

/// Who is told of changes that whoever asked for them does not tell: those of other processes in a shared store, and late ones.
pub trait Watcher: fmt::Debug + Send + Sync {
    /// This session was changed or ended by somebody else, or ran out.
    fn changed(&self, digest: &TokenDigest);

    /// Anything may have changed.
    fn all_changed(&self);

    /// From now on changes may be missed.
    fn link_lost(&self);

    /// From now on none is missed. Whatever was in memory before was dropped by an [`all_changed`](Self::all_changed).
    fn link_restored(&self);
}
