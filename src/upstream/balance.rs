//! Which of several servers a request goes to.

use std::cell::{Cell, RefCell};

use rand::{RngExt, rngs::SmallRng};
use sha2::{Digest, Sha256};

use super::group::Shares;
use crate::{config::sections::Balance, model::UserKey};

/// The servers that a request has been to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tried(u64);

impl Tried {
    pub(super) fn add(&mut self, at: usize) {
        self.0 |= 1 << (at % 64);
    }

    /// These and those.
    pub(super) fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    fn has(self, at: usize) -> bool {
        self.0 & (1 << (at % 64)) != 0
    }
}

/// Chooses for one worker. What it knows of the servers is handed in when it changes; choosing reads nothing that
/// another thread writes.
#[derive(Debug)]
pub(super) struct Balancer {
    how: Balance,
    servers: Vec<Server>,
    rng: RefCell<SmallRng>,
}

#[derive(Debug)]
struct Server {
    /// What it is to get beside the others, when nothing speaks against it.
    weight: u32,
    /// And at the moment.
    share: Cell<u32>,
    /// How far it is behind what it was to get, where each takes its turn.
    credit: Cell<i64>,
    /// What stands for it where users are told apart.
    hash: u64,
}

impl Balancer {
    /// For servers of these names and weights.
    pub(super) fn new<'n>(how: Balance, servers: impl Iterator<Item = (&'n str, u32)>, rng: SmallRng) -> Self {
        let server = |(name, weight): (&str, u32)| Server {
            weight,
            share: Cell::new(weight),
            credit: Cell::new(0),
            hash: digest(&[name.as_bytes()]),
        };
        Self { how, servers: servers.map(server).collect(), rng: RefCell::new(rng) }
    }

    /// What stands for a user, where that decides.
    pub(super) fn key(&self, user: Option<&UserKey>) -> Option<u64> {
        let user = user.filter(|_| self.how == Balance::HashOpenid)?;
        Some(digest(&[user.app.as_str().as_bytes(), user.openid.as_bytes()]))
    }

    /// What each gets from now on.
    pub(super) fn set(&self, shares: &Shares) {
        for (server, share) in self.servers.iter().zip(shares.iter()) {
            server.share.set(*share);
        }
    }

    /// Whether another server than this one takes requests.
    pub(super) fn has_beside(&self, at: usize) -> bool {
        self.servers.iter().enumerate().any(|(other, server)| other != at && server.share.get() > 0)
    }

    /// A server that has not been tried; one that is to be left alone only when no other is left.
    pub(super) fn choose(&self, tried: Tried, key: Option<u64>, busy: impl Fn(usize) -> usize) -> Option<usize> {
        if let [_] = self.servers[..] {
            return (!tried.has(0)).then_some(0);
        }
        self.choose_by(|at| if tried.has(at) { 0 } else { self.servers[at].share.get() }, key, &busy)
            .or_else(|| self.choose_by(|at| if tried.has(at) { 0 } else { self.servers[at].weight }, key, &busy))
    }

    fn choose_by(
        &self,
        share: impl Fn(usize) -> u32,
        key: Option<u64>,
        busy: &impl Fn(usize) -> usize,
    ) -> Option<usize> {
        match (self.how, key) {
            (Balance::RoundRobin, _) => self.in_turn(share),
            (Balance::HashOpenid, Some(key)) => self.of_user(share, key),
            (Balance::LeastOutstanding | Balance::HashOpenid, _) => self.least_busy(share, busy),
        }
    }

    /// Two are drawn by their shares, and of these the one that has less to do for its share is taken. With nothing to do
    /// it is the first one drawn, so that each gets its share of the requests then.
    fn least_busy(&self, share: impl Fn(usize) -> u32, busy: &impl Fn(usize) -> usize) -> Option<usize> {
        let first = self.drawn(&share)?;
        let Some(second) = self.drawn(|at| if at == first { 0 } else { share(at) }) else { return Some(first) };
        let load = |one: usize, other: usize| busy(one) as u64 * u64::from(share(other));
        Some(if load(second, first) < load(first, second) { second } else { first })
    }

    fn drawn(&self, share: impl Fn(usize) -> u32) -> Option<usize> {
        let all: u32 = (0..self.servers.len()).map(&share).sum();
        if all == 0 {
            return None;
        }
        let mut left = self.rng.borrow_mut().random_range(0..all);
        (0..self.servers.len()).find(|at| {
            let share = share(*at);
            let here = left < share;
            left = left.saturating_sub(share);
            here
        })
    }

    /// Each gets credit for its share, and who has most of it pays for all: the turns of a heavy server lie spread
    /// between those of the others.
    fn in_turn(&self, share: impl Fn(usize) -> u32) -> Option<usize> {
        let mut all = 0;
        let mut next = None;
        for (at, server) in self.servers.iter().enumerate() {
            let share = i64::from(share(at));
            if share == 0 {
                continue;
            }
            all += share;
            server.credit.set(server.credit.get() + share);
            if next.is_none_or(|best: usize| server.credit.get() > self.servers[best].credit.get()) {
                next = Some(at);
            }
        }
        let credit = &self.servers[next?].credit;
        credit.set(credit.get() - all);
        next
    }

    /// Every server draws a lot that depends on it and the user alone, and the best lot wins, as long as that server is
    /// there: without it, its users alone go elsewhere (weighted rendezvous hashing).
    fn of_user(&self, share: impl Fn(usize) -> u32, key: u64) -> Option<usize> {
        let lot = |at: usize| {
            let high = u32::try_from(mixed(key ^ self.servers[at].hash) >> 32).unwrap_or_default();
            let drawn = (f64::from(high) + 0.5) / (f64::from(u32::MAX) + 1.0);
            -drawn.ln() / f64::from(share(at))
        };
        let candidates = (0..self.servers.len()).filter(|at| share(*at) > 0);
        candidates.map(|at| (lot(at), at)).min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, at)| at)
    }
}

/// The same on every machine and in every version, so that all instances send a user to the same server.
fn digest(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Spreads what two words differ in over all bits (the finaliser of `SplitMix64`).
fn mixed(word: u64) -> u64 {
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::model::{AppId, OpenId};

    const NAMES: [&str; 3] = ["http://a:1", "http://b:1", "http://c:1"];

    fn balancer(how: Balance, weights: [u32; 3]) -> Balancer {
        Balancer::new(how, NAMES.into_iter().zip(weights), SmallRng::seed_from_u64(7))
    }

    /// How many of a thousand go to each, with nothing else to do.
    fn spread(balancer: &Balancer, tried: Tried) -> [usize; 3] {
        let mut counts = [0; 3];
        for _ in 0..1000 {
            counts[balancer.choose(tried, None, |_| 0).unwrap()] += 1;
        }
        counts
    }

    fn user(n: usize) -> UserKey {
        UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse(&format!("o{n}")).unwrap() }
    }

    fn homes(balancer: &Balancer) -> Vec<usize> {
        (0..1000).map(|n| balancer.choose(Tried::default(), balancer.key(Some(&user(n))), |_| 0).unwrap()).collect()
    }

    fn tried(servers: &[usize]) -> Tried {
        let mut tried = Tried::default();
        for at in servers {
            tried.add(*at);
        }
        tried
    }

    #[test]
    fn weights_are_kept_to() {
        assert_eq!(spread(&balancer(Balance::RoundRobin, [5, 3, 2]), Tried::default()), [500, 300, 200]);
        let drawn = spread(&balancer(Balance::LeastOutstanding, [5, 3, 2]), Tried::default());
        assert!(drawn.iter().zip([500, 300, 200]).all(|(n, wanted)| n.abs_diff(wanted) < 50), "{drawn:?}");
    }

    #[test]
    fn the_turns_of_a_heavy_server_lie_between_those_of_the_others() {
        let balancer = balancer(Balance::RoundRobin, [4, 1, 1]);
        let turns: Vec<_> = (0..6).map(|_| balancer.choose(Tried::default(), None, |_| 0).unwrap()).collect();
        assert_eq!(turns, [0, 0, 1, 0, 2, 0]);
    }

    #[test]
    fn of_two_the_one_with_less_to_do_for_its_weight_is_taken() {
        let balancer = balancer(Balance::LeastOutstanding, [2, 1, 1]);
        let with = |busy: [usize; 3]| -> Vec<usize> {
            (0..100).map(|_| balancer.choose(tried(&[2]), None, |at| busy[at]).unwrap()).collect()
        };
        assert!(with([3, 1, 0]).iter().all(|at| *at == 1));
        assert!(with([1, 1, 0]).iter().all(|at| *at == 0));
        let drawn = with([2, 1, 0]);
        assert!(drawn.contains(&0) && drawn.contains(&1), "a tie is decided by the draw");
    }

    /// Whoever has least of all would get every request of every worker that thinks so, all at once.
    #[test]
    fn of_three_the_idlest_is_taken_only_where_it_is_drawn() {
        let balancer = balancer(Balance::LeastOutstanding, [1, 1, 1]);
        let mut counts = [0_usize; 3];
        for _ in 0..3000 {
            counts[balancer.choose(Tried::default(), None, |at| at).unwrap()] += 1;
        }
        let [idlest, middle, busiest] = counts;
        assert!(idlest.abs_diff(2000) < 100 && middle.abs_diff(1000) < 100, "{counts:?}");
        assert_eq!(busiest, 0, "it is always drawn with one that has less to do");
    }

    #[test]
    fn a_server_without_a_share_gets_nothing_until_no_other_is_left() {
        for how in [Balance::LeastOutstanding, Balance::RoundRobin] {
            let balancer = balancer(how, [1, 1, 1]);
            balancer.set(&[1000, 0, 1000].into_iter().collect());
            assert_eq!(spread(&balancer, Tried::default())[1], 0);
            assert_eq!(balancer.choose(tried(&[0, 2]), None, |_| 0), Some(1));
            assert_eq!(balancer.choose(tried(&[0, 1, 2]), None, |_| 0), None);
            assert!(balancer.has_beside(0));
            balancer.set(&[1000, 0, 0].into_iter().collect());
            assert!(!balancer.has_beside(0) && balancer.has_beside(1));
        }
    }

    #[test]
    fn a_user_stays_and_only_the_users_of_a_lost_server_move() {
        let balancer = balancer(Balance::HashOpenid, [1, 1, 2]);
        let before = homes(&balancer);
        assert_eq!(before, homes(&balancer));
        let of_last = before.iter().filter(|at| **at == 2).count();
        assert!(of_last.abs_diff(500) < 60, "{of_last} of a thousand for half of the weight");
        balancer.set(&[1, 0, 2].into_iter().collect());
        let after = homes(&balancer);
        assert!(before.iter().zip(&after).all(|(was, is)| if *was == 1 { *is != 1 } else { was == is }));
    }

    /// Worked out from the names without this code: other instances, workers and versions must come to the same.
    #[test]
    fn users_go_to_the_same_servers_wherever_they_are_told_apart() {
        for (weights, wanted) in [
            ([1, 1, 1], [0, 2, 0, 2, 2, 0, 1, 2, 1, 1, 0, 0, 1, 2, 1, 2]),
            ([1, 1, 2], [0, 2, 0, 2, 2, 0, 1, 2, 1, 2, 0, 0, 1, 2, 2, 2]),
        ] {
            for seed in [7, 8] {
                let rng = SmallRng::seed_from_u64(seed);
                let balancer = Balancer::new(Balance::HashOpenid, NAMES.into_iter().zip(weights), rng);
                assert_eq!(homes(&balancer)[..16], wanted, "{weights:?} {seed}");
            }
        }
    }

    #[test]
    fn a_user_of_one_app_is_another_one_in_another() {
        let balancer = balancer(Balance::HashOpenid, [1, 1, 1]);
        let elsewhere = UserKey { app: AppId::parse("wx2").unwrap(), ..user(1) };
        assert_ne!(balancer.key(Some(&user(1))), balancer.key(Some(&elsewhere)));
        assert_eq!(balancer.key(None), None);
        assert!(balancer.choose(Tried::default(), None, |_| 0).is_some(), "anonymous callers go where there is room");
    }
}
