//! How many things of a kind one user has open at once: tunnels of one route, uploads.
//!
//! This limit is no budget: nothing grows again with time, only the end of one makes room for another.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::model::UserKey;

/// The open ones, by user. Whoever has none takes no room.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<HashMap<UserKey, usize>>);

/// The place of one among those of its user. Free again when this is dropped.
#[derive(Debug)]
#[must_use = "it counts as open only while this is held"]
pub struct UserPlace {
    all: Arc<Places>,
    user: UserKey,
}

impl Places {
    /// One more, where this user has fewer than `most`.
    pub(super) fn take(self: &Arc<Self>, user: &UserKey, most: usize) -> Option<UserPlace> {
        let mut users = self.users();
        match users.get_mut(user) {
            Some(open) if *open >= most => return None,
            Some(open) => *open += 1,
            None => _ = users.insert(user.clone(), 1),
        }
        drop(users);
        Some(UserPlace { all: Arc::clone(self), user: user.clone() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users().is_empty()
    }

    fn users(&self) -> MutexGuard<'_, HashMap<UserKey, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UserPlace {
    fn drop(&mut self) {
        let mut users = self.all.users();
        match users.get_mut(&self.user) {
            Some(open) if *open > 1 => *open -= 1,
            _ => _ = users.remove(&self.user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppId, OpenId};

    fn user(openid: &str) -> UserKey {
        UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse(openid).unwrap() }
    }

    #[test]
    fn there_is_room_again_as_soon_as_one_has_ended_and_nothing_is_remembered_of_who_has_none() {
        let all = Arc::<Places>::default();
        let (alice, bob) = (user("oAlice"), user("oBob"));
        let (one, other) = (all.take(&alice, 2), all.take(&alice, 2));
        assert!(one.is_some() && other.is_some() && all.take(&alice, 2).is_none());
        let bobs = all.take(&bob, 2);
        drop(one);
        let third = all.take(&alice, 2);
        assert!(third.is_some() && all.take(&alice, 2).is_none());
        drop((other, third, bobs));
        assert!(all.users().is_empty());
    }

    #[test]
    fn where_fewer_are_allowed_than_there_are_the_old_ones_have_to_end_first() {
        let all = Arc::<Places>::default();
        let alice = user("oAlice");
        let mut open: Vec<_> = (0..3).filter_map(|_| all.take(&alice, 3)).collect();
        open.truncate(1);
        assert!(all.take(&alice, 1).is_none());
        open.clear();
        assert!(all.take(&alice, 1).is_some());
    }
}
