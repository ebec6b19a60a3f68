//! Many requests for one cold session are one question to the store.
//!
//! The first to come leads: it asks, and tells the others, which may be on other threads. When it goes away before it has
//! an answer, because its client hung up, the others are woken and one of them leads. There are never more flights than
//! requests that wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{
    model::{Session, TokenDigest},
    store,
};

/// What the store said.
pub(super) type Outcome = Result<Option<Arc<Session>>, store::Error>;

/// So many maps with a lock each, held for the time of a look.
const SHARDS: usize = 64;

type Shard = Mutex<HashMap<TokenDigest, watch::Receiver<Option<Outcome>>>>;

pub(super) struct Flights(Box<[Shard]>);

/// Who asks, or who waits for it.
pub(super) enum Seat<'a> {
    Lead(Lead<'a>),
    Follow(Follow),
}

impl Flights {
    pub(super) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    pub(super) fn board(&self, digest: &TokenDigest) -> Seat<'_> {
        let mut shard = self.shard(digest);
        if let Some(answer) = shard.get(digest) {
            return Seat::Follow(Follow(answer.clone()));
        }
        let (tell, answer) = watch::channel(None);
        shard.insert(*digest, answer);
        Seat::Lead(Lead { flights: self, digest: *digest, tell, boarding: true })
    }

    fn shard(&self, digest: &TokenDigest) -> MutexGuard<'_, HashMap<TokenDigest, watch::Receiver<Option<Outcome>>>> {
        let [.., last] = *digest.as_bytes();
        self.0[usize::from(last) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Lead<'a> {
    flights: &'a Flights,
    digest: TokenDigest,
    tell: watch::Sender<Option<Outcome>>,
    boarding: bool,
}

impl Lead<'_> {
    /// From now on nobody comes aboard. Called before the answer is checked for its age: who came before may hear what was
    /// true then, who comes later must not.
    pub(super) fn close(&mut self) {
        if std::mem::take(&mut self.boarding) {
            self.flights.shard(&self.digest).remove(&self.digest);
        }
    }

    /// Tells everybody aboard.
    pub(super) fn land(mut self, outcome: &Outcome) {
        self.close();
        self.tell.send_replace(Some(outcome.clone()));
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

pub(super) struct Follow(watch::Receiver<Option<Outcome>>);

impl Follow {
    /// What the leader was told. `None` when it went away without: board again.
    pub(super) async fn landed(mut self) -> Option<Outcome> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead<'a>(flights: &'a Flights, digest: &TokenDigest) -> Lead<'a> {
        match flights.board(digest) {
            Seat::Lead(lead) => lead,
            Seat::Follow(_) => unreachable!("somebody leads already"),
        }
    }

    fn follow(flights: &Flights, digest: &TokenDigest) -> Follow {
        match flights.board(digest) {
            Seat::Follow(follow) => follow,
            Seat::Lead(_) => unreachable!("nobody leads"),
        }
    }

    #[tokio::test]
    async fn who_comes_after_the_close_is_not_told_what_those_before_hear() {
        let (flights, digest) = (Flights::new(), TokenDigest::new([7; 32]));
        let mut first = lead(&flights, &digest);
        let aboard = follow(&flights, &digest);
        first.close();
        let second = lead(&flights, &digest);
        first.land(&Err(store::Error::Unreadable("on trial")));
        assert!(matches!(aboard.landed().await, Some(Err(_))));
        let aboard = follow(&flights, &digest);
        drop(second);
        assert!(aboard.landed().await.is_none(), "its leader went away");
        assert!(flights.0.iter().all(|shard| shard.lock().unwrap().is_empty()), "nothing is left");
    }
}
