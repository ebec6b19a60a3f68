//! The sessions that a worker has found lately.
//!
//! Who uses a Mini Program asks for several things at once, and then for nothing for a while. To find a session in the [`Cache`] all
//! threads work on the same memory, and note that it was looked up; what one of them has found within about a second it
//! finds again by itself. Nothing lasts longer for it than in the cache: a session that was changed has another number ([`Generations`]), and
//! one that has ended says so itself.
//!
//! [`Generations`]: super::generations::Generations

use std::{
    cell::{Cell, RefCell},
    fmt,
    sync::Arc,
};

use super::{cache::Cache, generations::Generation};
use crate::model::{Session, Timestamp, TokenDigest};

/// For so many sweeps a session is found here. The cache then hears again that it is used, which it must now and then.
const FRESH: u64 = 4;

/// So many are kept, each in the place that its digest names.
const PLACES: usize = 1 << 10;

/// Sessions by digest, on one thread.
pub struct Recent {
    places: RefCell<Box<[Option<Kept>]>>,
    sweeps: Cell<u64>,
}

/// A session that was found.
struct Kept {
    session: Arc<Session>,
    /// What its number was before it was found.
    generation: Generation,
    /// How many sweeps there had been. No clock can be set back by which that would be measured.
    found_at: u64,
}

impl Default for Recent {
    fn default() -> Self {
        Self { places: RefCell::new((0..PLACES).map(|_| None).collect()), sweeps: Cell::new(0) }
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recent")
    }
}

impl Recent {
    /// The live session of this digest, as the cache has it.
    pub(super) fn find(&self, digest: &TokenDigest, cache: &Cache, now: Timestamp) -> Option<Arc<Session>> {
        // Read before the cache is asked: whoever changes a session raises it again when it is out of the cache.
        let generation = cache.generations.at_a_glance(digest);
        if let Some(kept) = &self.places.borrow()[place(digest)]
            && kept.session.digest() == digest
            && kept.generation == generation
            && self.is_fresh(kept)
        {
            return kept.session.is_live(now).then(|| Arc::clone(&kept.session));
        }
        let session = cache.get(digest).filter(|session| session.is_live(now))?;
        let kept = Kept { session: Arc::clone(&session), generation, found_at: self.sweeps.get() };
        self.places.borrow_mut()[place(digest)] = Some(kept);
        Some(session)
    }

    /// Lets go of what is not to be found any more. To be called a few times per second.
    pub fn sweep(&self) {
        self.sweeps.set(self.sweeps.get() + 1);
        for place in &mut *self.places.borrow_mut() {
            *place = place.take().filter(|kept| self.is_fresh(kept));
        }
    }

    fn is_fresh(&self, kept: &Kept) -> bool {
        self.sweeps.get() - kept.found_at < FRESH
    }
}

/// By bytes that neither a store nor the numbers go by.
fn place(digest: &TokenDigest) -> usize {
    let [.., high, low, _, _] = *digest.as_bytes();
    usize::from(u16::from_be_bytes([high, low])) % PLACES
}
