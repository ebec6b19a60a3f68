//! How a look-up notices that a session was changed while the store was asked for it.
//!
//! An answer of the store is as old as the question. If the session was ended in between, putting the answer into the cache
//! would bring it back to life here. So whoever changes a session raises its number *before* removing it from the cache, and
//! whoever looks one up reads the number before asking, keeps the answer only if it is the same after, and looks once more
//! when the answer is in. Then either the remover finds the entry or the look-up finds the number raised.
//!
//! Sessions share 1024 numbers. When two share one, an answer is thrown away that was good: it is asked for again.

use std::sync::atomic::{AtomicU32, Ordering, fence};

use crate::model::TokenDigest;

const NUMBERS: usize = 1024;

#[derive(Debug)]
pub(super) struct Generations(Box<[AtomicU32]>);

/// What the numbers were at some moment.
pub(super) struct Snapshot(Box<[u32]>);

impl Generations {
    pub(super) fn new() -> Self {
        Self((0..NUMBERS).map(|_| AtomicU32::new(0)).collect())
    }

    /// The number of this session now.
    pub(super) fn of(&self, digest: &TokenDigest) -> u32 {
        // What was written before must be seen by whoever raises the number after it is read here.
        fence(Ordering::SeqCst);
        self.0[place(digest)].load(Ordering::SeqCst)
    }

    /// This session changes.
    pub(super) fn raise(&self, digest: &TokenDigest) {
        self.0[place(digest)].fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Any may change.
    pub(super) fn raise_all(&self) {
        for number in &self.0 {
            number.fetch_add(1, Ordering::SeqCst);
        }
        fence(Ordering::SeqCst);
    }

    /// All numbers, for a question about many sessions.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot(self.0.iter().map(|number| number.load(Ordering::SeqCst)).collect())
    }
}

impl Snapshot {
    pub(super) fn of(&self, digest: &TokenDigest) -> u32 {
        self.0[place(digest)]
    }
}

/// By the last bytes: a store may want the first one to be the same for all sessions of a user.
fn place(digest: &TokenDigest) -> usize {
    let [.., high, low] = *digest.as_bytes();
    usize::from(u16::from_be_bytes([high, low])) % NUMBERS
}
