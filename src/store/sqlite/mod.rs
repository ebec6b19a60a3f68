//! Sessions and profiles in one SQLite file: what a single gateway keeps over a restart, a crash, and a power cut.
//!
//! ```text
//! begin, end, touch …  →  writer       one thread, one transaction for all who wait    →  write-ahead log
//!                         checkpoints  works the log into the file                    ↓
//! load, recent …       →  readers      two threads, each sees the last commit          ←  file + log
//! ```
//!
//! **When a change is answered,** it is on the disk (`synchronous = FULL`), as far as the disk tells the truth when it is
//! told to flush. Readers see it from then on. An answer that comes after [`PATIENCE`](trouble::PATIENCE) is told to nobody; where it has
//! ended sessions, whoever has them in memory is told which.
//!
//! **When the disk fails,** changes and look-ups fail with [`Error::Unavailable`](super::Error::Unavailable), and work again when it does; see
//! [`writer`]. When something in the file is damaged, whatever needs it fails with [`Error::Unreadable`](super::Error::Unreadable).
//!
//! **Who has the file:** this process alone, which [`files`] sees to, but an operator's `sqlite3` may look into it.

mod changes;
mod checkpoints;
mod connect;
mod error;
mod files;
mod follower;
mod outbox;
mod profiles;
mod queries;
mod readers;
mod rows;
mod schema;
mod session_keys;
mod threads;
mod trouble;
mod writer;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

pub use error::OpenError;

use self::{
    changes::{Change, Ends, SWEEP},
    connect::Found,
    files::Refusal,
    readers::Readers,
    schema::STEPS,
    writer::Writer,
};
use super::{
    Answer, Claim, Claimed, Fate, Notice, Posting, ProfileRecord, Removed, SealError, Sealer, Seen, Store, Waiting,
    Watcher, Written,
};
use crate::model::{Session, SessionKey, Timestamp, TokenDigest, UserKey};

/// Uses that are written down in one piece. Logins get their turn between two.
const TOUCHED_AT_ONCE: usize = 100;

/// Sessions in a file.
#[derive(Debug)]
pub struct Sqlite {
    // In the order in which they have to go: the writer's connection is the last, and works the log into the file. Each thread
    // holds the claim on the file for as long as it has a connection.
    readers: Readers,
    writer: Writer,
    sealer: Arc<Sealer>,
}

impl Sqlite {
    /// Opens the file at `path`, or makes it, with its folder. It is not read through: that takes as long for ten million
    /// sessions as for ten.
    pub fn open(path: &Path, sealer: Arc<Sealer>) -> Result<Self, OpenError> {
        let at = || path.to_owned();
        let claim = files::claim(path).map(Arc::new).map_err(|refusal| match refusal {
            Refusal::Taken => OpenError::Taken { path: at() },
            Refusal::Io(source) => OpenError::Files { path: at(), source },
        })?;
        let file = claim.path();
        let steps_done = steps_done(path, connect::look(file))?;
        let connection = connect::bring_up_to_date(file, steps_done);
        let connection = connection.map_err(|source| OpenError::of_sqlite(path, source))?;
        let failed = |source| OpenError::Store { path: at(), source };
        let writer = Writer::start(&claim, connection).map_err(failed)?;
        let readers = Readers::start(&claim).map_err(failed)?;
        Ok(Self { readers, writer, sealer })
    }

    /// Whether a file that another process has is one that this one could use. Nothing in it is changed.
    pub fn look(path: &Path) -> Result<(), OpenError> {
        steps_done(path, connect::look_beside(path)).map(|_| ())
    }
}

impl Sqlite {
    /// Those to be named. Of the others memory is told here.
    fn told(&self, ends: Ends) -> Vec<TokenDigest> {
        self.writer.follower.changed(&ends.long_over);
        ends.named
    }

    fn sealed(&self, user: &UserKey, posting: Option<&Posting>) -> Result<Option<Posting>, SealError> {
        let Some(Posting { notice, room, supersedes }) = posting else { return Ok(None) };
        let bytes = self.sealer.seal_notice(user, &notice.bytes)?;
        let notice = Notice { bytes, ..*notice };
        Ok(Some(Posting { notice, room: *room, supersedes: *supersedes }))
    }
}

fn steps_done(path: &Path, found: rusqlite::Result<Found>) -> Result<usize, OpenError> {
    let at = || path.to_owned();
    match found.map_err(|source| OpenError::of_sqlite(path, source))? {
        Found::Empty => Ok(0),
        Found::Ours(version) => Ok(version),
        Found::Newer(found) => Err(OpenError::Newer { path: at(), found, known: STEPS.len() }),
        Found::Foreign => Err(OpenError::Foreign { path: at() }),
    }
}

impl Store for Sqlite {
    fn begin<'a>(
        &'a self,
        session: &'a Arc<Session>,
        key: &'a SessionKey,
        per_user: usize,
        now: Timestamp,
    ) -> Answer<'a, Vec<TokenDigest>> {
        Box::pin(async move {
            let sealed = self.sealer.seal_session_key(&session.identity().user, key)?;
            let session = Arc::clone(session);
            let begin = move |change: &Change<'_>| change.begin(&session, &sealed, per_user, now);
            Ok(self.told(self.writer.end(begin, Ends::all).await?))
        })
    }

    fn load<'a>(&'a self, digest: &'a TokenDigest, now: Timestamp) -> Answer<'a, Option<Arc<Session>>> {
        let digest = *digest;
        Box::pin(self.readers.ask(move |queries| queries.load(&digest, now)))
    }

    fn end<'a>(&'a self, user: &'a UserKey, digest: &'a TokenDigest, now: Timestamp) -> Answer<'a, bool> {
        let (user, digest) = (user.clone(), *digest);
        Box::pin(self.writer.end(move |change| change.end(&user, &digest, now), move |_| vec![digest]))
    }

    fn end_user<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Vec<TokenDigest>> {
        let user = user.clone();
        Box::pin(async move {
            let end = move |change: &Change<'_>| change.end_user(&user, now);
            Ok(self.told(self.writer.end(end, Ends::all).await?))
        })
    }

    fn sessions_of<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Vec<Arc<Session>>> {
        let user = user.clone();
        Box::pin(self.readers.ask(move |queries| queries.sessions_of(&user, now)))
    }

    fn session_key<'a>(&'a self, user: &'a UserKey, now: Timestamp) -> Answer<'a, Option<SessionKey>> {
        Box::pin(async move {
            let whose = user.clone();
            let sealed = self.readers.ask(move |queries| queries.session_key(&whose, now)).await?;
            Ok(sealed.map(|sealed| self.sealer.open_session_key(user, &sealed)).transpose()?)
        })
    }

    fn replace_session_key<'a>(
        &'a self,
        user: &'a UserKey,
        old: &'a SessionKey,
        new: &'a SessionKey,
        now: Timestamp,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            let rests_as = self.sealer.seal_session_key(user, new)?;
            let (user, old, new, sealer) = (user.clone(), old.clone(), new.clone(), Arc::clone(&self.sealer));
            let replace =
                move |change: &Change<'_>| change.replace_session_key(&user, &old, (&new, &rests_as), &sealer, now);
            self.writer.change(1, replace).await
        })
    }

    fn profile<'a>(&'a self, user: &'a UserKey) -> Answer<'a, Option<ProfileRecord>> {
        Box::pin(async move {
            let whose = user.clone();
            let Some(kept) = self.readers.ask(move |queries| queries.profile(&whose)).await? else { return Ok(None) };
            Ok(Some(ProfileRecord { bytes: self.sealer.open_profile(user, &kept.bytes)?, ..kept }))
        })
    }

    fn put_profile<'a>(
        &'a self,
        user: &'a UserKey,
        before: Option<u64>,
        profile: &'a ProfileRecord,
        posting: Option<&'a Posting>,
    ) -> Answer<'a, Written> {
        Box::pin(async move {
            let bytes = self.sealer.seal_profile(user, &profile.bytes)?;
            let posting = self.sealed(user, posting)?;
            let (user, sealed) = (user.clone(), ProfileRecord { bytes, ..*profile });
            let put = move |change: &Change<'_>| change.put_profile(&user, before, &sealed, posting.as_ref());
            self.writer.change(1, put).await
        })
    }

    fn forget_profile<'a>(&'a self, user: &'a UserKey, posting: Option<&'a Posting>) -> Answer<'a, Option<Removed>> {
        Box::pin(async move {
            let (posting, whose) = (self.sealed(user, posting)?, user.clone());
            let forget = move |change: &Change<'_>| change.forget_profile(&whose, posting.as_ref());
            let removed = self.writer.change(1, forget).await?;
            Ok(removed.map(|removed| removed.opened(|sealed| self.sealer.open_profile(user, sealed))))
        })
    }

    fn claim_notices(&self, claim: Claim, now: Timestamp, limit: usize) -> Answer<'_, Vec<Claimed>> {
        Box::pin(async move {
            let mut claimed = self.writer.change(limit, move |change| change.claim(&claim, now, limit)).await?;
            for Claimed { user, notice, .. } in &mut claimed {
                // One that can't be read is there all the same: whoever has claimed it gives it up.
                *notice = notice.take().and_then(|sealed| {
                    Some(Notice { bytes: self.sealer.open_notice(user, &sealed.bytes).ok()?, ..sealed })
                });
            }
            Ok(claimed)
        })
    }

    fn settle_notice<'a>(&'a self, user: &'a UserKey, by: [u8; 16], fate: Fate, now: Timestamp) -> Answer<'a, bool> {
        let user = user.clone();
        Box::pin(self.writer.change(1, move |change| change.settle(&user, by, fate, now)))
    }

    fn waiting_notices(&self) -> Answer<'_, Waiting> {
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "as a path it is not general enough in its lifetimes"
        )]
        Box::pin(self.readers.ask(|queries| queries.waiting()))
    }

    fn touch(&self, mut seen: Vec<Seen>) -> Answer<'_, ()> {
        Box::pin(async move {
            while !seen.is_empty() {
                let some = seen.split_off(seen.len().saturating_sub(TOUCHED_AT_ONCE));
                self.writer.change(some.len(), move |change| change.touch(&some)).await?;
            }
            Ok(())
        })
    }

    fn recent(&self, limit: usize, now: Timestamp) -> Answer<'_, Vec<Arc<Session>>> {
        Box::pin(self.readers.ask(move |queries| queries.recent(limit, now)))
    }

    fn count(&self) -> Answer<'_, u64> {
        Box::pin(std::future::ready(Ok(self.writer.sessions())))
    }

    fn sweep(&self, now: Timestamp) -> Answer<'_, bool> {
        Box::pin(self.writer.change(SWEEP, move |change| change.sweep(now)))
    }

    fn follow(&self, watcher: Arc<dyn Watcher>) {
        self.writer.follower.set(watcher);
    }

    fn check(&self) -> Answer<'_, ()> {
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "as a path it is not general enough in its lifetimes"
        )]
        Box::pin(self.writer.change(1, |change| change.check()))
    }
}
