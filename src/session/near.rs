//! What this process knows of sessions without asking, kept true to the store behind it.
//!
//! ```text
//! look-up → (what this worker has found lately) → cache → (a moment's "no") → one flight per session → store
//! ```
//!
//! A live session in the cache is the answer. One that looks unused for too long may have been used elsewhere, so the store
//! is asked before it is called dead; so it is for any while the link to a shared store has been broken for long.

use std::sync::Arc;

use super::{
    absent::Absent,
    cache::Cache,
    departures::Departures,
    ended::Watched,
    error::{Error, Unsettled},
    flights::{Flights, Lead, Outcome, Seat},
    generations::Generation,
    link::Link,
    recent::Recent,
    touches::Touches,
};
use crate::{
    model::{Clock, Session, Timestamp, TokenDigest, UserKey},
    store::{self, Store},
    telemetry::{Counters, UserTagger},
};

/// So often a look-up is begun anew because its session, or one that shares its number, changed meanwhile.
const TRIES: usize = 16;

pub(super) struct Near {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counters: Arc<Counters>,
    pub(super) cache: Cache,
    pub(super) absent: Absent,
    pub(super) link: Link,
    pub(super) watched: Arc<Watched>,
    pub(super) touches: Arc<Touches>,
    pub(super) tags: UserTagger,
    flights: Flights,
}

impl std::fmt::Debug for Near {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Near").field("store", &self.store).field("link", &self.link).finish_non_exhaustive()
    }
}

/// What is known of a session without asking.
pub(super) enum Known {
    Live(Arc<Session>),
    Over,
    /// The store has to be asked. Whether it was known here before.
    Unsure {
        before: bool,
    },
}

impl Near {
    pub(super) fn new(
        store: Arc<dyn Store>,
        capacity: u64,
        clock: Arc<dyn Clock>,
        tags: UserTagger,
        counters: Arc<Counters>,
    ) -> Self {
        let (watched, touches) = (Arc::new(Watched::default()), Arc::new(Touches::new(&*store)));
        let departures = Departures::new(
            Arc::clone(&store),
            Arc::clone(&watched),
            Arc::clone(&touches),
            Arc::clone(&counters),
            Arc::clone(&clock),
            capacity,
        );
        let link = Link::new(store.stale_for(), &*clock);
        let cache = Cache::new(capacity, departures);
        let (absent, flights) = (Absent::new(), Flights::new());
        Self { store, clock, counters, cache, absent, link, watched, touches, tags, flights }
    }

    /// The session of this digest, used now, if it is known to be live. It waits for nothing, allocates nothing, takes no
    /// lock, and what it says of none means nothing: [`find`](Self::find) comes after it.
    pub(super) fn at_hand(&self, digest: &TokenDigest, recent: &Recent) -> Option<Arc<Session>> {
        let now = self.clock.now();
        let session = recent.find(digest, &self.cache, now)?;
        self.link.is_trusted(&*self.clock).then(|| {
            self.counters.lookups_hit.inc();
            self.used(session, now)
        })
    }

    /// The live session of this digest, used now.
    pub(super) async fn find(&self, digest: &TokenDigest) -> Result<Option<Arc<Session>>, Error> {
        let now = self.clock.now();
        let before = match self.known(digest, now) {
            Known::Live(session) => {
                self.counters.lookups_hit.inc();
                return Ok(Some(self.used(session, now)));
            }
            Known::Over => {
                self.counters.lookups_expired.inc();
                return Ok(None);
            }
            Known::Unsure { before } => before,
        };
        // Boxed, so that the many requests that need not ask don't carry the room for it.
        let asked = Box::pin(self.ask(digest)).await.map_err(Error::StoreUnavailable);
        let outcome = match &asked {
            Ok(Some(_)) => &self.counters.lookups_missed,
            Ok(None) if before => &self.counters.lookups_expired,
            Ok(None) => &self.counters.lookups_denied,
            Err(_) => &self.counters.lookups_failed,
        };
        outcome.inc();
        Ok(asked?.map(|session| self.used(session, self.clock.now())))
    }

    pub(super) fn known(&self, digest: &TokenDigest, now: Timestamp) -> Known {
        let Some(session) = self.cache.get(digest) else { return Known::Unsure { before: false } };
        if session.is_over_for_good(now) {
            self.cache.remove(digest);
            return Known::Over;
        }
        if !session.is_live(now) {
            self.cache.remove(digest);
            return Known::Unsure { before: true };
        }
        if self.link.is_trusted(&*self.clock) { Known::Live(session) } else { Known::Unsure { before: true } }
    }

    /// The live session of this digest as the store has it. No use of it.
    pub(super) async fn ask(&self, digest: &TokenDigest) -> Outcome {
        if self.absent.knows(digest, self.clock.steady()) {
            return Ok(None);
        }
        let outcome = loop {
            match self.flights.board(digest) {
                Seat::Lead(lead) => break self.load(digest, lead).await,
                Seat::Follow(follow) => {
                    if let Some(outcome) = follow.landed().await {
                        break outcome;
                    }
                    // Who led has gone. Another may have asked and landed before this one woke.
                    if let Known::Live(session) = self.known(digest, self.clock.now()) {
                        break Ok(Some(session));
                    }
                }
            }
        };
        // What was ended since is over whatever the store said.
        outcome.map(|found| found.filter(|session| session.is_live(self.clock.now())))
    }

    /// Asks until the session did not change while it was asked for. An older answer is no answer: who gets it may keep it
    /// for longer than a request, and would not be told of a change that has happened already.
    async fn load(&self, digest: &TokenDigest, mut lead: Lead<'_>) -> Outcome {
        for _ in 0..TRIES {
            let asked_at = self.cache.generations.of(digest);
            let outcome = self.store.load(digest, self.clock.now()).await;
            let outcome = outcome.map(|found| found.map(|session| self.tagged(session)));
            lead.close();
            let settled = match &outcome {
                Ok(Some(session)) => self.cache.insert(session, asked_at),
                Ok(None) => self.note_absent(digest, asked_at),
                Err(_) => true,
            };
            if settled {
                lead.land(&outcome);
                return outcome;
            }
        }
        let outcome = Err(store::Error::Unavailable(Arc::new(Unsettled)));
        lead.land(&outcome);
        outcome
    }

    /// A session from the store, with the tag that this process gives its user: what rests with it is that of the process
    /// which began it, and the log would have two names for one user.
    pub(super) fn tagged(&self, mut session: Arc<Session>) -> Arc<Session> {
        // A store that gives out what others hold too has kept it since this process began it.
        if let Some(own) = Arc::get_mut(&mut session) {
            own.set_tag(self.tags.tag(&own.identity().user));
        }
        session
    }

    fn note_absent(&self, digest: &TokenDigest, asked_at: Generation) -> bool {
        // Whatever memory held of it was not trusted, or the store would not have been asked.
        self.cache.remove(digest);
        self.absent.note(digest, self.clock.steady());
        let unchanged = self.cache.generations.of(digest) == asked_at;
        if !unchanged {
            self.absent.forget(digest);
        }
        unchanged
    }

    fn used(&self, session: Arc<Session>, now: Timestamp) -> Arc<Session> {
        session.touch(now);
        self.touches.note(&session);
        session
    }

    /// Whether memory has this session of this user as live.
    pub(super) fn has_live(&self, user: &UserKey, digest: &TokenDigest) -> bool {
        let known = self.cache.get(digest).filter(|session| session.identity().user == *user);
        known.is_some_and(|session| session.is_live(self.clock.now()))
    }

    /// A session that was ended in the store by us is so here too, for whoever holds it.
    pub(super) fn ended(&self, digest: &TokenDigest) {
        if let Some(session) = self.cache.drop_changed(digest) {
            session.end();
        }
        self.watched.end(digest);
    }

    /// These were ended in the store by us.
    pub(super) fn revoked(&self, digests: &[TokenDigest]) {
        for digest in digests {
            self.ended(digest);
        }
        self.counters.sessions_revoked.add(digests.len() as u64);
    }

    /// Whatever is known of this session may be wrong.
    pub(super) fn changed(&self, digest: &TokenDigest) {
        // Last the watched: who begins to watch looks into the cache after, and finds nothing or is found.
        self.cache.drop_changed(digest);
        self.absent.forget(digest);
        self.watched.doubt(digest);
    }

    /// Whatever is known may be wrong.
    pub(super) fn all_changed(&self) {
        self.cache.drop_all();
        self.absent.forget_all();
        self.watched.doubt_all();
    }
}
