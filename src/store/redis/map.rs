//! Which servers are the masters and which of them has which keys, as one who was asked sees it.

use redis::Value;

use super::keys::{SLOTS, Shard};
use crate::config::sections::Endpoint;

/// The masters as they were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) masters: Vec<Endpoint>,
    /// For each of the shards which of the masters has it, if any has.
    pub(super) owners: Vec<Option<usize>>,
    /// Whether the servers themselves say that all is well.
    pub(super) whole: bool,
}

/// What one member of a Cluster makes of it.
pub(super) struct View {
    pub(super) worth: Worth,
    pub(super) map: Map,
}

/// Which of two views to go by: the greater.
///
/// A master takes slots over under an epoch that is higher than any before, so who knows of a higher one knows better. A
/// member that is cut off from its peers never does. Between two that know as much, one that says of itself that it is
/// part of a whole Cluster goes before one that has lost it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Worth {
    /// The highest among masters that have slots.
    epoch: u64,
    whole: bool,
    /// How many slots have a master.
    covered: usize,
}

impl Map {
    /// One master that has all keys.
    pub(super) fn one(master: Endpoint) -> Self {
        Self { masters: vec![master], owners: Shard::all().map(|_| Some(0)).collect(), whole: true }
    }
}

impl View {
    /// From the answers to `CLUSTER INFO` and `CLUSTER NODES`, of which the latter has one line for each member. `host`
    /// stands for a member that does not know its own address.
    pub(super) fn of_cluster(info: &str, nodes: &str, host: &str) -> Self {
        let mut masters = Vec::new();
        let mut owner_of_slot = vec![None; SLOTS.into()];
        let mut epoch = 0;
        // In the order of their ids, for each member tells them in another.
        let mut lines: Vec<&str> = nodes.lines().collect();
        lines.sort_unstable();
        for line in lines {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, addr, flags, _, _, _, of, _, slots @ ..] = fields.as_slice() else { continue };
            let has = |flag| flags.split(',').any(|is| is == flag);
            if !has("master") {
                continue;
            }
            if !slots.is_empty() {
                epoch = epoch.max(of.parse().unwrap_or(0));
            }
            if ["fail", "noaddr", "handshake"].into_iter().any(has) {
                continue;
            }
            let Some(master) = address(addr, host) else { continue };
            // Masters without slots count as well: they may be about to get some.
            masters.push(master);
            for (first, last) in slots.iter().filter_map(|range| slot_range(range)) {
                owner_of_slot.get_mut(first..=last).into_iter().flatten().for_each(|owner| {
                    *owner = Some(masters.len() - 1);
                });
            }
        }
        let owners: Vec<Option<usize>> =
            Shard::all().map(|shard| owner_of_slot.get(usize::from(shard.slot())).copied().flatten()).collect();
        // A Cluster may be told to go on without some of its slots. It is whole to us while it has those of our keys.
        let is_well = info.lines().any(|line| line.trim() == "cluster_state:ok");
        let whole = is_well && owners.iter().all(Option::is_some);
        let covered = owner_of_slot.iter().flatten().count();
        Self { worth: Worth { epoch, whole, covered }, map: Map { masters, owners, whole } }
    }
}

/// The address in a sentinel's answer.
pub(super) fn named(answer: &Value) -> Option<Endpoint> {
    let [Value::BulkString(host), Value::BulkString(port)] = answer.as_sequence()? else { return None };
    let (host, port) = (std::str::from_utf8(host).ok()?, std::str::from_utf8(port).ok()?);
    Some(Endpoint { host: host.to_owned(), port: port.parse().ok()? })
}

/// The epoch in what a sentinel says of a master, names and values by turns.
pub(super) fn epoch_of(master: &Value) -> Option<u64> {
    let mut pairs = master.as_sequence()?.chunks_exact(2);
    let epoch = pairs.find_map(|pair| match pair {
        [Value::BulkString(name), Value::BulkString(value)] if name == b"config-epoch" => Some(value),
        _ => None,
    })?;
    std::str::from_utf8(epoch).ok()?.parse().ok()
}

/// The address in `MOVED 3999 127.0.0.1:6381`.
pub(super) fn redirected_to(addr: &str, host: &str) -> Option<Endpoint> {
    address(addr, host)
}

/// `127.0.0.1:6379@16379,name`, of which the name goes before the address: it is what a certificate is made out to.
fn address(text: &str, host: &str) -> Option<Endpoint> {
    let mut parts = text.split(',');
    let addr = parts.next()?.split('@').next()?;
    let name = parts.next().filter(|name| !name.is_empty() && !name.contains('='));
    let (ip, port) = addr.rsplit_once(':')?;
    let known = if ip.is_empty() { host } else { ip };
    Some(Endpoint { host: name.unwrap_or(known).to_owned(), port: port.parse().ok().filter(|port| *port != 0)? })
}

/// `5461-10922` or `5461`; not `[93->-…]`, a slot that is about to move and is still here.
fn slot_range(text: &str) -> Option<(usize, usize)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: &str = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\n";
    const FAILED: &str = "cluster_state:fail\r\n";

    fn at(host: &str, port: u16) -> Endpoint {
        Endpoint { host: host.to_owned(), port }
    }

    const NODES: &str = "\
a 127.0.0.1:7001@17001,redis-1.example master - 0 1 2 connected 5461-10922
b 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5460 [93->-c]
c 127.0.0.1:7002@17002 master - 0 1 3 connected 10923-16382 16383
d 127.0.0.1:7003@17003 slave b 0 1 9 connected
e 127.0.0.1:7004@17004 master,fail - 0 1 1 disconnected
f :0@0 master,noaddr - 0 1 1 disconnected
g 127.0.0.1:7005@17005 master - 0 1 8 connected
";

    fn worth(info: &str, nodes: &str) -> Worth {
        View::of_cluster(info, nodes, "127.0.0.1").worth
    }

    #[test]
    fn the_masters_of_a_cluster_are_found_with_what_they_have() {
        let View { map, worth } = View::of_cluster(WELL, NODES, "127.0.0.1");
        let masters =
            [at("redis-1.example", 7001), at("127.0.0.1", 7000), at("127.0.0.1", 7002), at("127.0.0.1", 7005)];
        assert_eq!(map.masters, masters);
        assert!(map.whole);
        assert_eq!(worth, Worth { epoch: 3, whole: true, covered: 16_384 }, "who has no slots has no say");
        for shard in Shard::all() {
            let expected = match shard.slot() {
                0..=5460 => 1,
                5461..=10922 => 0,
                _ => 2,
            };
            assert_eq!(map.owners[usize::from(shard.0)], Some(expected), "{shard:?}");
        }
    }

    #[test]
    fn a_cluster_without_some_of_its_slots_is_not_whole() {
        let map = View::of_cluster(WELL, &NODES.replace("5461-10922", ""), "127.0.0.1").map;
        assert!(!map.whole);
        assert!(map.owners.contains(&None));
        assert!(!View::of_cluster(FAILED, NODES, "127.0.0.1").map.whole, "nor is one that says so itself");
    }

    #[test]
    fn a_member_that_was_cut_off_is_worth_less_than_one_that_saw_what_came_after() {
        // The master of the first slots has failed, and its replica has taken over under epoch 4.
        let after = NODES
            .replace(
                "b 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5460 [93->-c]",
                "b :7000 master,fail - 0 0 1 x",
            )
            .replace(
                "d 127.0.0.1:7003@17003 slave b 0 1 9 connected",
                "d 127.0.0.1:7003@17003 master - 0 1 4 connected 0-5460",
            );
        assert!(worth(WELL, &after) > worth(WELL, NODES), "before the one that was cut off knows that it is");
        assert!(worth(WELL, &after) > worth(FAILED, NODES), "and after");
        // While the others have given the master up and nobody has taken over, it is the whole map that looks better, but
        // its ear hears nothing from that master either.
        let between = NODES.replace("myself,master - 0 0 1", "master,fail - 0 0 1");
        assert!(worth(WELL, NODES) > worth(FAILED, &between));
        assert!(worth(FAILED, NODES) > worth(FAILED, &between), "more slots are more");
        assert!(worth(FAILED, &after) > worth(WELL, NODES), "what is newer goes before what looks whole");
    }

    #[test]
    fn a_member_that_does_not_know_its_address_has_ours_of_it() {
        let map = View::of_cluster(WELL, "a :7000@17000 myself,master - 0 0 1 connected 0-16383\n", "10.0.0.7").map;
        assert_eq!(map.masters, [at("10.0.0.7", 7000)]);
        assert_eq!(redirected_to("10.0.0.8:7001", "10.0.0.7"), Some(at("10.0.0.8", 7001)));
        assert_eq!(redirected_to(":7001", "10.0.0.7"), Some(at("10.0.0.7", 7001)));
    }

    #[test]
    fn the_epoch_of_a_sentinel_is_found_among_what_it_says() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let master = Value::Array(["name", "main", "config-epoch", "7", "quorum", "2"].map(text).to_vec());
        assert_eq!(epoch_of(&master), Some(7));
        assert_eq!(epoch_of(&Value::Array(["name", "config-epoch"].map(text).to_vec())), None);
        assert_eq!(epoch_of(&Value::Nil), None);
    }
}
