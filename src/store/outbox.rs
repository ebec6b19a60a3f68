//! What waits to be told to others: notices of changes, each written down in the same step as its change.
//!
//! Each user has a queue. Its first notice is given to one sender at a time, who says what became of it; the next one is given
//! to nobody before that. So those of one user are told in their order, and one user's never wait for another's.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

use crate::model::{Timestamp, UserKey};

/// Something to be told. It is personal data, and does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Notice {
    /// By which whoever is told can see that it was told before.
    pub id: [u8; 16],
    /// When it came to be.
    pub made: Timestamp,
    /// What is told.
    pub bytes: Vec<u8>,
}

/// How many notices may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Of one user; at least two.
    pub per_user: usize,
    /// In all. Where they are kept in parts, this is spread over them.
    pub in_all: usize,
}

/// A notice to be written down with a change, which is made whatever becomes of the notice.
///
/// The newest says what counts. So where there is no room, the user's oldest gives way that is not the first; where there is
/// only the first, that one does, unless it is claimed and may be under way: then this one stands behind it beyond the bounds.
/// Only of a user of whom nothing waits yet it is this one that is lost.
#[derive(Clone, Debug)]
pub struct Posting {
    /// What is to be told.
    pub notice: Notice,
    /// Within which bounds.
    pub room: Room,
    /// Whether it says all that the user's earlier ones would have: those of them that nobody has claimed are dropped.
    pub supersedes: bool,
}

/// As often was tried what a notice behind it supersedes while it was claimed: it is not to be tried again.
pub const SUPERSEDED: u32 = u32::MAX;

/// Further ahead nothing is due, neither a further try nor the end of a claim. What is, was written before the clock was moved
/// back, and is due now.
pub(super) const LONGEST_DELAY: Duration = Duration::from_hours(24);

/// What waits when something is posted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    /// Of the user.
    pub(super) own: usize,
    /// In all.
    pub(super) all: usize,
    /// Whether somebody has claimed the user's first.
    pub(super) is_claimed: bool,
}

/// What becomes of a posting, and of the user's notices before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is lost.
    Nowhere,
    /// It is the last of the user's.
    Last {
        /// Those that go, by their place.
        gone: (usize, usize),
        /// Whether that is for want of room.
        crowded: bool,
    },
}

impl Place {
    /// As [`Posting`] has it. In Redis the script does the same.
    pub(super) fn of(posting: &Posting, before: Before) -> Self {
        let Before { own, all, is_claimed } = before;
        let is_full = all >= posting.room.in_all;
        if own == 0 && is_full {
            return Self::Nowhere;
        }
        let kept = usize::from(is_claimed);
        let gone = match own {
            _ if posting.supersedes => (kept.min(own), own),
            _ if own < posting.room.per_user && !is_full => (own, own),
            0 | 1 => (kept.min(own), own),
            _ => (1, 2),
        };
        Self::Last { gone, crowded: !posting.supersedes && gone.0 < gone.1 }
    }
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was not made, and nothing is told.
    No,
    /// It was made.
    Yes,
    /// It was made, and for want of room a notice is told to nobody.
    Crowded,
}

impl Written {
    /// Whether the change was made.
    pub fn is_made(self) -> bool {
        self != Self::No
    }
}

/// Who takes notices to send them, and how long they are that one's if nothing is heard.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// A number of its own.
    pub by: [u8; 16],
    /// By the store's own clock where several senders share it.
    pub lasts: Duration,
}

/// The first notice of a user, for whoever has claimed it.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Whose.
    pub user: UserKey,
    /// None where it is there and can't be read.
    pub notice: Option<Notice>,
    /// When it came to be. It is known of one that can't be read too; where not even that can be read, long ago.
    pub made: Timestamp,
    /// How often it was tried in vain.
    pub attempts: u32,
}

/// What becomes of a notice that was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is over: told, or given up. The user's next one may be claimed.
    Over,
    /// It is to be tried again, not before this.
    Again(Timestamp),
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Notices.
    pub notices: u64,
    /// When the oldest of them was made.
    pub oldest: Option<Timestamp>,
}

/// Between those who post and whoever sends, in one process.
#[derive(Debug, Default)]
pub struct Bell {
    posted: Notify,
    crowded: AtomicU64,
}

impl Bell {
    /// A change was made with a posting.
    pub fn ring(&self, written: Written) {
        if written == Written::Crowded {
            self.crowded.fetch_add(1, Ordering::Relaxed);
        }
        self.posted.notify_one();
    }

    /// Returns when it has rung since.
    pub async fn rung(&self) {
        self.posted.notified().await;
    }

    /// How many notices were lost for want of room since this was asked.
    pub fn take_crowded(&self) -> u64 {
        self.crowded.swap(0, Ordering::Relaxed)
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notice").field("made", &self.made).finish_non_exhaustive()
    }
}
