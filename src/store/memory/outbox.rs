//! Notices that wait in this process, and go with it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::Bound::{Excluded, Unbounded},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    model::{Timestamp, UserKey},
    store::{
        Claim, Claimed, Fate, Notice, Posting, Waiting, Written,
        outbox::{Before, LONGEST_DELAY, Place, SUPERSEDED},
    },
};

/// One lock for all: only changes of profiles come here, and the sender.
#[derive(Default)]
pub(super) struct Outbox(Mutex<State>);

/// Queues stand in two orders, so that neither a claim nor a look at all has to go through those that are not wanted.
#[derive(Default)]
struct State {
    /// None of them is empty.
    queues: HashMap<UserKey, Queue>,
    /// All queues by when they are due. The number tells apart what is due at once.
    by_due: BTreeMap<(Timestamp, u64), UserKey>,
    /// All queues by when their first was made.
    by_age: BTreeSet<(Timestamp, u64)>,
    notices: usize,
    /// The number of the next queue.
    next: u64,
}

struct Queue {
    number: u64,
    notices: VecDeque<Notice>,
    attempts: u32,
    /// When the first may be tried, or when the claim on it ends.
    due: Timestamp,
    claim: Option<[u8; 16]>,
}

impl Outbox {
    pub(super) fn post(&self, user: &UserKey, posting: &Posting) -> Written {
        let mut state = self.state();
        let made = posting.notice.made;
        let before = state.queues.get(user).map_or((0, false), |queue| {
            // A claim that has run out holds nothing, even if nobody else has come yet.
            (queue.notices.len(), queue.claim.is_some() && queue.due > made)
        });
        let before = Before { own: before.0, all: state.notices, is_claimed: before.1 };
        let Place::Last { gone, crowded } = Place::of(posting, before) else { return Written::Crowded };
        let mut queue = state.take(user).unwrap_or_else(|| {
            state.next += 1;
            Queue { number: state.next, notices: VecDeque::new(), attempts: 0, due: made, claim: None }
        });
        queue.notices.drain(gone.0..gone.1);
        state.notices -= gone.1 - gone.0;
        if gone.0 == 0 && gone.1 == before.own {
            // It is the first, and whoever had claimed the one before has nothing to say of it.
            (queue.attempts, queue.due, queue.claim) = (0, made, None);
        }
        if posting.supersedes && gone.0 == 1 {
            queue.attempts = SUPERSEDED;
        }
        queue.notices.push_back(posting.notice.clone());
        state.notices += 1;
        state.put(user.clone(), queue);
        if crowded { Written::Crowded } else { Written::Yes }
    }

    pub(super) fn claim(&self, claim: Claim, now: Timestamp, limit: usize) -> Vec<Claimed> {
        let mut state = self.state();
        let beyond = (Excluded((now + LONGEST_DELAY, u64::MAX)), Unbounded);
        let due = state.by_due.range(..=(now, u64::MAX)).chain(state.by_due.range(beyond));
        let due: Vec<UserKey> = due.take(limit).map(|(_, user)| user.clone()).collect();
        let mut claimed = Vec::with_capacity(due.len());
        for user in due {
            let Some(mut queue) = state.take(&user) else { continue };
            (queue.claim, queue.due) = (Some(claim.by), now + claim.lasts);
            let (first, attempts) = (queue.notices.front().cloned(), queue.attempts);
            state.put(user.clone(), queue);
            claimed.extend(first.map(|first| Claimed { user, made: first.made, notice: Some(first), attempts }));
        }
        claimed
    }

    pub(super) fn settle(&self, user: &UserKey, by: [u8; 16], fate: Fate, now: Timestamp) -> bool {
        let mut state = self.state();
        if state.queues.get(user).is_none_or(|queue| queue.claim != Some(by)) {
            return false;
        }
        let Some(mut queue) = state.take(user) else { return false };
        queue.claim = None;
        match fate {
            Fate::Again(at) if queue.attempts != SUPERSEDED => {
                (queue.attempts, queue.due) = (queue.attempts.saturating_add(1), at);
            }
            Fate::Again(_) | Fate::Over => {
                queue.notices.pop_front();
                (queue.attempts, queue.due) = (0, now);
                state.notices -= 1;
            }
        }
        state.put(user.clone(), queue);
        true
    }

    pub(super) fn waiting(&self) -> Waiting {
        let state = self.state();
        Waiting { notices: state.notices as u64, oldest: state.by_age.first().map(|(made, _)| *made) }
    }

    /// No method leaves it half changed, so what a panicking thread held is still good.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a queue out of everything but the count of notices.
    fn take(&mut self, user: &UserKey) -> Option<Queue> {
        let queue = self.queues.remove(user)?;
        self.by_due.remove(&(queue.due, queue.number));
        self.by_age.remove(&(queue.oldest(), queue.number));
        Some(queue)
    }

    /// Puts it where it belongs by now, and nowhere if there is nothing in it any more.
    fn put(&mut self, user: UserKey, queue: Queue) {
        if queue.notices.is_empty() {
            return;
        }
        self.by_due.insert((queue.due, queue.number), user.clone());
        self.by_age.insert((queue.oldest(), queue.number));
        self.queues.insert(user, queue);
    }
}

impl Queue {
    fn oldest(&self) -> Timestamp {
        self.notices.front().map_or(self.due, |first| first.made)
    }
}
