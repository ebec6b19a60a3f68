//! Notices that wait in this process, and go with it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    model::{Timestamp, UserKey},
    store::{Claim, Claimed, Fate, Notice, Posting, Waiting, Written},
};

/// One lock for all: only changes of profiles come here, and the sender.
#[derive(Default)]
pub(super) struct Outbox(Mutex<State>);

#[derive(Default)]
struct State {
    /// None of them is empty.
    queues: HashMap<UserKey, Queue>,
    notices: usize,
}

struct Queue {
    notices: VecDeque<Notice>,
    attempts: u32,
    /// When the first may be tried, or when the claim on it ends.
    due: Timestamp,
    claim: Option<[u8; 16]>,
}

impl Outbox {
    pub(super) fn post(&self, user: &UserKey, posting: &Posting) -> Written {
        let mut state = self.state();
        let Posting { notice, room, .. } = posting;
        let all = state.notices;
        let own = state.queues.get(user).map_or(0, |queue| queue.notices.len());
        let is_full = own >= room.per_user || all >= room.in_all;
        if all >= room.in_all && own < 2 {
            return Written::Crowded;
        }
        let new = || Queue { notices: VecDeque::new(), attempts: 0, due: notice.made, claim: None };
        let queue = state.queues.entry(user.clone()).or_insert_with(new);
        let gave_way = is_full && queue.notices.remove(1).is_some();
        queue.notices.push_back(notice.clone());
        state.notices += usize::from(!gave_way);
        if is_full { Written::Crowded } else { Written::Yes }
    }

    pub(super) fn claim(&self, claim: Claim, now: Timestamp, limit: usize) -> Vec<Claimed> {
        let mut state = self.state();
        let mut due: Vec<_> = state.queues.iter_mut().filter(|(_, queue)| queue.due <= now).collect();
        due.sort_by_key(|(_, queue)| queue.due);
        let first = |(user, queue): (&UserKey, &mut Queue)| {
            let notice = queue.notices.front().cloned();
            let made = notice.as_ref().map_or(queue.due, |notice| notice.made);
            (queue.claim, queue.due) = (Some(claim.by), now + claim.lasts);
            Claimed { user: user.clone(), notice, made, attempts: queue.attempts }
        };
        due.into_iter().take(limit).map(first).collect()
    }

    pub(super) fn settle(&self, user: &UserKey, by: [u8; 16], fate: Fate, now: Timestamp) -> bool {
        let mut state = self.state();
        let Some(queue) = state.queues.get_mut(user).filter(|queue| queue.claim == Some(by)) else { return false };
        queue.claim = None;
        match fate {
            Fate::Again(at) => (queue.attempts, queue.due) = (queue.attempts.saturating_add(1), at),
            Fate::Over => {
                queue.notices.pop_front();
                (queue.attempts, queue.due) = (0, now);
                if queue.notices.is_empty() {
                    state.queues.remove(user);
                }
                state.notices -= 1;
            }
        }
        true
    }

    pub(super) fn waiting(&self) -> Waiting {
        let state = self.state();
        let firsts = state.queues.values().filter_map(|queue| queue.notices.front());
        Waiting { notices: state.notices as u64, oldest: firsts.map(|notice| notice.made).min() }
    }

    /// No method leaves it half changed, so what a panicking thread held is still good.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
