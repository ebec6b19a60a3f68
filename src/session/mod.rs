//! Sessions: begun at a login, found by their token, ended by time, by a log-out, or for want of room.
//!
//! ```text
//! issue    token → Session → store → cache (by digest of the token)
//! resolve  token → digest → cache, or store on a miss → Session, if it is live
//! revoke   store → cache → whoever watches
//! ```
//!
//! The store comes first in whatever changes: what it has not taken has not happened. [`token`] is what a client holds,
//! [`near`] the way of a look-up, [`generations`] why no answer that is too old stays in memory, [`link`] how long memory
//! counts when others can't be heard, and [`ended`] who is told of an end.

mod absent;
mod cache;
mod departures;
mod ended;
mod error;
mod finishing;
mod flights;
mod generations;
mod housekeeping;
mod link;
mod measured;
mod near;
mod recent;
mod renewals;
mod stay;
mod token;
mod touches;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use tokio::runtime::Handle;

pub use ended::Ended;
pub use error::Error;
pub use measured::Measured;
pub use recent::Recent;
pub use stay::Stay;
pub use token::SessionToken;

use self::{finishing::Finishing, link::Listener, near::Near, renewals::Renewals};
use crate::{
    config::sections,
    model::{Clock, Entropy, Identity, Session, SessionKey, TokenDigest, UserKey, UserTag},
    store::Store,
    telemetry::{Counters, UserTagger},
};

/// What a login gets.
#[derive(Clone, Debug)]
pub struct Issued {
    /// For the client.
    pub token: SessionToken,
    /// For us.
    pub session: Arc<Session>,
}

/// All sessions. One for the process, shared by all threads.
pub struct Sessions {
    section: sections::Sessions,
    runtime: Handle,
    entropy: Arc<dyn Entropy>,
    near: Arc<Near>,
    renewals: Renewals,
}

impl Sessions {
    /// The sessions that rest in `store`. What was begun for a request that went away is finished on `runtime`.
    pub fn new(
        section: &sections::Sessions,
        store: Arc<dyn Store>,
        runtime: Handle,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        tags: UserTagger,
        counters: Arc<Counters>,
    ) -> Self {
        let store = Arc::new(Measured::new(store, Arc::clone(&counters)));
        let near = Arc::new(Near::new(store, section.capacity, clock, tags, counters));
        near.store.follow(Arc::new(Listener(Arc::downgrade(&near))));
        Self { section: section.clone(), runtime, entropy, near, renewals: Renewals::default() }
    }

    /// Begins a session that stays as `[sessions]` says.
    pub async fn issue(&self, identity: Identity, session_key: SessionKey) -> Result<Issued, Error> {
        self.issue_for(Stay::usual(&self.section), identity, session_key).await
    }

    /// Begins a session. Its `session_key` replaces those of the user's earlier logins in this app, and where `per_user`
    /// is set the oldest sessions beyond it end. When this answers, the store has it.
    pub async fn issue_for(&self, stay: Stay, identity: Identity, session_key: SessionKey) -> Result<Issued, Error> {
        let near = Arc::clone(&self.near);
        let token = SessionToken::mint_for(near.store.shard_of(&identity.user), &*self.entropy)?;
        let now = near.clock.now();
        let tag = near.tags.tag(&identity.user);
        let session = Arc::new(Session::begin(identity, token.digest(), tag, stay.terms, now));

        let begun = Arc::clone(&session);
        let work = async move {
            let asked_at = near.cache.generations.of(begun.digest());
            let displaced = near.store.begin(&begun, &session_key, stay.per_user, now).await?;
            near.absent.forget(begun.digest());
            // Before the displaced go: one of them may share its number with this one, which has not changed.
            near.cache.insert(&begun, asked_at);
            near.revoked(&displaced);
            near.counters.sessions_issued.inc();
            Ok(())
        };
        Finishing::new(&self.runtime, work).await.map_err(Error::StoreUnavailable)?;
        Ok(Issued { token, session })
    }

    /// The live session of `token`, if it is in memory, and notes that it was used. `None` says nothing: ask
    /// [`resolve`](Self::resolve).
    pub fn at_hand(&self, token: &SessionToken, recent: &Recent) -> Option<Arc<Session>> {
        self.near.at_hand(&token.digest(), recent)
    }

    /// The live session of `token`, and notes that it was used. `None` is a token that we never gave out or whose
    /// session is over.
    pub async fn resolve(&self, token: &SessionToken) -> Result<Option<Arc<Session>>, Error> {
        self.near.find(&token.digest()).await
    }

    /// Notes that a session is used by whoever keeps it longer than a request. That it has ended is heard by
    /// [watching](Self::watch).
    pub async fn use_again(&self, session: &Session) -> Result<(), Error> {
        self.near.find(session.digest()).await.map(drop)
    }

    /// Ends one session. Ending it again changes nothing.
    pub async fn revoke(&self, session: &Session) -> Result<(), Error> {
        self.revoke_digest(&session.identity().user, session.digest()).await?;
        session.end();
        Ok(())
    }

    /// Ends the session of this digest, if it is this user's. Whether it was live until now.
    pub async fn revoke_digest(&self, user: &UserKey, digest: &TokenDigest) -> Result<bool, Error> {
        let (near, user, digest) = (Arc::clone(&self.near), user.clone(), *digest);
        let work = async move {
            let ended = near.store.end(&user, &digest, near.clock.now()).await;
            match ended {
                // Memory may know of a use that the store does not know of.
                Ok(was_live) if was_live || near.has_live(&user, &digest) => {
                    near.ended(&digest);
                    near.counters.sessions_revoked.inc();
                    Ok(true)
                }
                // Another may have ended it, or it may be another user's, or it may have happened without our hearing of it.
                _ => {
                    near.changed(&digest);
                    ended
                }
            }
        };
        Finishing::new(&self.runtime, work).await.map_err(Error::StoreUnavailable)
    }

    /// Ends all sessions of one user in one app and says how many were live. A login that finishes later is not touched.
    pub async fn revoke_user(&self, user: &UserKey) -> Result<usize, Error> {
        let (near, user) = (Arc::clone(&self.near), user.clone());
        let work = async move {
            let known = near.store.sessions_of(&user, near.clock.now()).await;
            let ended = near.store.end_user(&user, near.clock.now()).await;
            match &ended {
                Ok(ended) => near.revoked(ended),
                // It may happen yet, or have happened: what memory holds of them is asked again.
                Err(_) => known.iter().flatten().for_each(|session| near.changed(session.digest())),
            }
            Ok(ended?.len())
        };
        Finishing::new(&self.runtime, work).await.map_err(Error::StoreUnavailable)
    }

    /// The end of this session, for whoever keeps it longer than a request.
    pub fn watch(&self, session: &Arc<Session>) -> Ended {
        let (near, digest) = (&self.near, session.digest());
        let ended = near.watched.watch(session);
        if session.is_ended() {
            near.watched.end(digest);
        } else if !near.cache.holds(digest) {
            // It may have gone from there because it has ended, before anybody watched.
            near.watched.doubt(digest);
        }
        ended
    }

    /// Tells those who watch a session that is over by the time, or that others may have ended; when it is asked, and in
    /// [`keep_house`](Self::keep_house) each second and as soon as there is a doubt.
    pub async fn look_after_the_watched(&self) {
        self.near.look_after_the_watched().await;
    }

    /// The live sessions of a user, oldest first.
    pub async fn sessions_of(&self, user: &UserKey) -> Result<Vec<Arc<Session>>, Error> {
        let now = self.near.clock.now();
        let stored = self.near.store.sessions_of(user, now).await.map_err(Error::StoreUnavailable)?;
        // Memory knows of uses that the store does not know yet.
        let as_known = |session: Arc<Session>| match self.near.cache.get(session.digest()) {
            Some(known) => known,
            None => self.near.tagged(session),
        };
        Ok(stored.into_iter().map(as_known).filter(|session| session.is_live(now)).collect())
    }

    /// What stands for a user in the log.
    pub fn tag(&self, user: &UserKey) -> UserTag {
        self.near.tags.tag(user)
    }

    /// The `session_key` that counts for the user in this app, the newest login's or what has taken its place, while any session
    /// of that user is live.
    pub async fn session_key(&self, user: &UserKey) -> Result<Option<SessionKey>, Error> {
        self.near.store.session_key(user, self.near.clock.now()).await.map_err(Error::StoreUnavailable)
    }

    /// Waits for `renewed`, another `session_key` for a user whose key was `old`, and keeps it for all of the user's sessions. False
    /// where there is none and the user still has `old`. Both are done though whoever asked goes away, and a store that is away
    /// for a moment is asked again: the platform may have made the old one worthless by then. See [`settled`](Self::settled).
    ///
    /// A key that a login has brought meanwhile stays. It is the newer one, since the platform takes a reset for the key that
    /// counts and no other. No cache has to hear of it, since none holds keys. Only a login that was given `old` before and is
    /// kept after this brings that back.
    pub async fn renew_session_key<E: From<Error> + Send + 'static>(
        &self,
        user: &UserKey,
        old: SessionKey,
        renewed: impl Future<Output = Result<Option<SessionKey>, E>> + Send + 'static,
    ) -> Result<bool, E> {
        let work = renewals::renew(Arc::clone(&self.near), user.clone(), old, renewed);
        self.renewals.finish(&self.runtime, work).await
    }

    /// Returns when no renewal of a key is under way any more.
    pub async fn settled(&self) {
        self.renewals.over().await;
    }

    /// About how many sessions there are, in all.
    pub async fn count(&self) -> Result<u64, Error> {
        self.near.store.count().await.map_err(Error::StoreUnavailable)
    }

    /// Whether a login could be kept now.
    pub async fn check(&self) -> Result<(), Error> {
        self.near.store.check().await.map_err(Error::StoreUnavailable)
    }

    /// Writes down which sessions were used when, as far as it is due. Before the process ends, and once a second by
    /// [`keep_house`](Self::keep_house).
    pub async fn flush_touches(&self) -> Result<(), Error> {
        self.near.touches.flush(&*self.near.store).await.map_err(Error::StoreUnavailable)
    }

    /// Does what is to be done beside the requests, for as long as it is polled.
    pub async fn keep_house(&self) {
        self.near.keep_house(self.section.capacity).await;
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("store", &self.near.store).finish_non_exhaustive()
    }
}
