//! Tokens that nobody knows, remembered for a moment, so that who shows the same one again and again doesn't keep the
//! store busy.
//!
//! A table of fixed size, in which the later of two tokens for one place stays: a crowd of different tokens costs no
//! memory, and each of them one question to the store.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::model::TokenDigest;

const PLACES: usize = 4096;

/// So long a "no" is believed. Nothing that begins later is hidden by it: see [`Absent::forget`].
const BELIEVED: Duration = Duration::from_secs(3);

pub(super) struct Absent(Box<[Mutex<Place>]>);

/// Which token it was, and when the store said so, by the steady clock: one that is set back would make it count for longer.
type Place = Option<(TokenDigest, Duration)>;

impl Absent {
    pub(super) fn new() -> Self {
        Self((0..PLACES).map(|_| Mutex::default()).collect())
    }

    /// Whether the store said a moment ago that there is no such session.
    pub(super) fn knows(&self, digest: &TokenDigest, now: Duration) -> bool {
        self.place(digest).is_some_and(|(noted, at)| noted == *digest && now.saturating_sub(at) < BELIEVED)
    }

    /// The store says that there is none.
    pub(super) fn note(&self, digest: &TokenDigest, now: Duration) {
        *self.place(digest) = Some((*digest, now));
    }

    /// There is one, or may be.
    pub(super) fn forget(&self, digest: &TokenDigest) {
        let mut place = self.place(digest);
        if place.is_some_and(|(noted, _)| noted == *digest) {
            *place = None;
        }
    }

    pub(super) fn forget_all(&self) {
        for place in &self.0 {
            *lock(place) = None;
        }
    }

    fn place(&self, digest: &TokenDigest) -> MutexGuard<'_, Place> {
        let [.., high, low] = *digest.as_bytes();
        lock(&self.0[usize::from(u16::from_be_bytes([high, low])) % PLACES])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_hours(1);

    #[test]
    fn a_no_is_believed_for_a_moment() {
        let (absent, digest) = (Absent::new(), TokenDigest::new([7; 32]));
        absent.note(&digest, NOW);
        assert!(absent.knows(&digest, NOW + Duration::from_millis(2_999)));
        assert!(!absent.knows(&digest, NOW + BELIEVED));
        absent.forget(&digest);
        assert!(!absent.knows(&digest, NOW));
    }

    #[test]
    fn two_tokens_of_one_place_are_not_taken_for_each_other() {
        let (absent, one) = (Absent::new(), TokenDigest::new([7; 32]));
        let other = TokenDigest::new(std::array::from_fn(|at| if at == 0 { 8 } else { 7 }));
        absent.note(&one, NOW);
        assert!(!absent.knows(&other, NOW));
        absent.forget(&other);
        assert!(absent.knows(&one, NOW));
        absent.note(&other, NOW);
        assert!(absent.knows(&other, NOW) && !absent.knows(&one, NOW));
        absent.forget_all();
        assert!(!absent.knows(&other, NOW));
    }
}
