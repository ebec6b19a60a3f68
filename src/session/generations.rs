//! How a look-up notices that a session was changed while the store was asked for it.
//!
//! An answer of the store is as old as the question. If the session was ended in between, putting the answer into the cache
//! would bring it back to life here. So whoever changes a session raises its number *before* removing it from the cache, and
//! whoever looks one up reads the number before asking, keeps the answer only if it is the same after, and looks once more
//! when the answer is in. Then either the remover finds the entry or the look-up finds the number raised.
//!
//! What was found in the cache a worker may keep for a moment ([`recent`](super::recent)), with the number that it read before it looked.
//! It could read the raised number and still find the old entry; so the number is raised once more when the entry is out, and also when
//! a look-up has taken its answer back.
//!
//! **How many numbers.** Sessions share them, and when one is raised between a question and its answer for the sake of
//! another session, an answer is thrown away that was good, and asked for again. With N numbers, `r` changes a second and
//! an answer that takes `t`, a look-up asks `exp(r t / N)` times on average. All instances' logins, log-outs and written-down
//! uses are changes: ten thousand a second, and a Redis that takes a tenth of a second for an answer, would make it ask 2.7
//! times with a thousand numbers, just when Redis is slow already. With 65,536 it is 1.02 times; and 16 such answers in a
//! row, which would be an error, don't happen. They take 256 KiB, once in the process.
//!
//! **Which number is whose.** A digest is a SHA-256, so its last two bytes name one of 65,536 as evenly as any further
//! hash would; the first byte would not, since a store may want it to be alike for all sessions of a user. Who makes
//! up tokens can find some that share a number, but raises none by asking; and whose digest is raised is up to our own
//! randomness, so nobody can have another one's session asked for again and again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use crate::model::TokenDigest;

/// One for each value of two bytes.
const NUMBERS: usize = 1 << 16;

#[derive(Debug)]
pub(super) struct Generations {
    each: Box<[AtomicU32]>,
    /// Raised for all of them at once.
    all: AtomicU64,
}

/// A session's number at some moment. Equal ones were read while nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(u64, u32);

/// What all numbers were at some moment.
pub(super) struct Snapshot(u64, Box<[u32]>);

impl Generations {
    pub(super) fn new() -> Self {
        Self { each: (0..NUMBERS).map(|_| AtomicU32::new(0)).collect(), all: AtomicU64::new(0) }
    }

    /// The number of this session now.
    pub(super) fn of(&self, digest: &TokenDigest) -> Generation {
        // What was written before must be seen by whoever raises the number after it is read here.
        fence(Ordering::SeqCst);
        self.at_a_glance(digest)
    }

    /// The same for whoever writes nothing that others are to see.
    pub(super) fn at_a_glance(&self, digest: &TokenDigest) -> Generation {
        Generation(self.all.load(Ordering::SeqCst), self.each[place(digest)].load(Ordering::SeqCst))
    }

    /// This session changes.
    pub(super) fn raise(&self, digest: &TokenDigest) {
        self.each[place(digest)].fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Any may change.
    pub(super) fn raise_all(&self) {
        self.all.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// All numbers, for a question about many sessions.
    pub(super) fn snapshot(&self) -> Snapshot {
        // First the one for all: raised after it was read, it makes all that follows old.
        let all = self.all.load(Ordering::SeqCst);
        Snapshot(all, self.each.iter().map(|number| number.load(Ordering::SeqCst)).collect())
    }
}

impl Snapshot {
    pub(super) fn of(&self, digest: &TokenDigest) -> Generation {
        Generation(self.0, self.1[place(digest)])
    }
}

fn place(digest: &TokenDigest) -> usize {
    let [.., high, low] = *digest.as_bytes();
    usize::from(u16::from_be_bytes([high, low]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(first: u8, last: u16) -> TokenDigest {
        let mut bytes = [first; 32];
        bytes[30..].copy_from_slice(&last.to_be_bytes());
        TokenDigest::new(bytes)
    }

    #[test]
    fn a_change_is_one_to_those_that_share_its_number_and_to_nobody_else() {
        let generations = Generations::new();
        let all: Vec<TokenDigest> = (0..=u16::MAX).map(|last| digest(7, last)).collect();
        let (before, snapshot) = (generations.of(&digest(1, 0x1234)), generations.snapshot());
        generations.raise(&digest(2, 0x1234));
        assert_ne!(generations.of(&digest(1, 0x1234)), before);
        let changed = all.iter().filter(|digest| generations.of(digest) != snapshot.of(digest)).count();
        assert_eq!(changed, 1, "of {} numbers", all.len());
    }

    #[test]
    fn what_changes_all_is_a_change_to_each() {
        let generations = Generations::new();
        let (before, snapshot) = (generations.of(&digest(1, 7)), generations.snapshot());
        assert!(snapshot.of(&digest(1, 7)) == before);
        generations.raise_all();
        assert_ne!(generations.of(&digest(1, 7)), before);
        assert!((0..=u16::MAX).all(|last| generations.of(&digest(1, last)) != snapshot.of(&digest(1, last))));
    }
}
