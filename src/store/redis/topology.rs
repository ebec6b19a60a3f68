//! Which servers are the masters, and which of them has which keys.

use std::sync::Arc;

use redis::{Value, aio::MultiplexedConnection};

use super::{
    cause::Cause,
    connect::Connector,
    keys::{SLOTS, Shard},
};
use crate::config::sections::{Endpoint, RedisSentinels, RedisServers};

/// The masters as they were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) masters: Vec<Endpoint>,
    /// For each of the 256 shards which of the masters has it, if any has.
    pub(super) owners: Vec<Option<usize>>,
    /// Whether the servers themselves say that all is well.
    pub(super) whole: bool,
}

/// Finds the masters, again and again.
#[derive(Debug)]
pub(super) struct Topology {
    servers: RedisServers,
    connector: Arc<Connector>,
    /// Whom we asked last, on this connection.
    source: Option<(Endpoint, MultiplexedConnection)>,
    /// The masters of the Cluster when it last answered: some of those we were told of at start may be long gone.
    known: Vec<Endpoint>,
}

impl Topology {
    pub(super) fn new(servers: RedisServers, connector: Arc<Connector>) -> Self {
        Self { servers, connector, source: None, known: Vec::new() }
    }

    /// How the masters are found: whoever finds none may go on with those that were found before, where a sentinel is
    /// only a guide and not a part of what it watches.
    pub(super) fn may_use_the_last_map(&self) -> bool {
        matches!(self.servers, RedisServers::Sentinel(_))
    }

    /// The masters as they are now.
    pub(super) async fn find(&mut self) -> Result<Map, Cause> {
        match self.servers.clone() {
            RedisServers::One(server) => Ok(Map::one(server)),
            RedisServers::Sentinel(sentinels) => self.ask_sentinels(&sentinels).await.map(Map::one),
            RedisServers::Cluster(members) => self.ask_members(&members).await,
        }
    }

    async fn ask_sentinels(&mut self, section: &RedisSentinels) -> Result<Endpoint, Cause> {
        let question = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&section.master).take();
        if let Some((at, mut connection)) = self.source.take()
            && let Ok(answer) = self.connector.ask(&mut connection, &question).await
            && let Some(master) = named(&answer)
        {
            self.source = Some((at, connection));
            return Ok(master);
        }
        let mut why = None;
        for sentinel in &section.sentinels {
            let opened = self.connector.sentinel(sentinel, &section.login).await;
            let asked = async {
                let mut connection = opened?;
                let answer = self.connector.ask(&mut connection, &question).await?;
                Ok::<_, Cause>((connection, answer))
            };
            match asked.await {
                Ok((connection, answer)) => {
                    if let Some(master) = named(&answer) {
                        self.source = Some((sentinel.clone(), connection));
                        return Ok(master);
                    }
                }
                Err(error) => why = Some(Arc::new(error)),
            }
        }
        Err(Cause::NoMaster(why))
    }

    async fn ask_members(&mut self, members: &[Endpoint]) -> Result<Map, Cause> {
        if let Some((at, mut connection)) = self.source.take()
            && let Ok(map) = self.ask_member(&at, &mut connection).await
        {
            self.source = Some((at, connection));
            return Ok(map);
        }
        let mut why = Cause::Uncovered;
        let candidates: Vec<Endpoint> = self.known.iter().chain(members).cloned().collect();
        for member in candidates {
            let opened = self.connector.server(&member, Arc::new(|_| ())).await;
            let asked = match opened {
                Ok(mut connection) => self.ask_member(&member, &mut connection).await.map(|map| (connection, map)),
                Err(error) => Err(error),
            };
            match asked {
                Ok((connection, map)) => {
                    self.source = Some((member, connection));
                    return Ok(map);
                }
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    async fn ask_member(&mut self, at: &Endpoint, connection: &mut MultiplexedConnection) -> Result<Map, Cause> {
        let info = self.connector.ask(connection, redis::cmd("CLUSTER").arg("INFO")).await?;
        let nodes = self.connector.ask(connection, redis::cmd("CLUSTER").arg("NODES")).await?;
        let (info, nodes) = (text(&info)?, text(&nodes)?);
        let whole = info.lines().any(|line| line.trim() == "cluster_state:ok");
        let map = Map::of_cluster(&nodes, &at.host, whole);
        self.known.clone_from(&map.masters);
        Ok(map)
    }
}

impl Map {
    fn one(master: Endpoint) -> Self {
        Self { masters: vec![master], owners: Shard::all().map(|_| Some(0)).collect(), whole: true }
    }

    /// From the answer to `CLUSTER NODES`, one line for each member. `host` stands for a member that does not know its
    /// own address.
    fn of_cluster(nodes: &str, host: &str, whole: bool) -> Self {
        let mut masters = Vec::new();
        let mut owner_of_slot = vec![None; SLOTS.into()];
        // In the order of their ids, for each member tells them in another.
        let mut lines: Vec<&str> = nodes.lines().collect();
        lines.sort_unstable();
        for line in lines {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, addr, flags, _, _, _, _, _, slots @ ..] = fields.as_slice() else { continue };
            let has = |flag| flags.split(',').any(|is| is == flag);
            if !has("master") || ["fail", "noaddr", "handshake"].into_iter().any(has) {
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
        let whole = whole && owners.iter().all(Option::is_some);
        Self { masters, owners, whole }
    }
}

/// The address in a sentinel's answer.
fn named(answer: &Value) -> Option<Endpoint> {
    let [Value::BulkString(host), Value::BulkString(port)] = answer.as_sequence()? else { return None };
    let (host, port) = (std::str::from_utf8(host).ok()?, std::str::from_utf8(port).ok()?);
    Some(Endpoint { host: host.to_owned(), port: port.parse().ok()? })
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

/// The address in `MOVED 3999 127.0.0.1:6381`.
pub(super) fn redirected_to(addr: &str, host: &str) -> Option<Endpoint> {
    address(addr, host)
}

fn text(value: &Value) -> Result<String, Cause> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Value::VerbatimString { text, .. } => Ok(text.clone()),
        _ => Err(Cause::Odd("CLUSTER")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Endpoint {
        Endpoint { host: host.to_owned(), port }
    }

    const NODES: &str = "\
a 127.0.0.1:7001@17001,redis-1.example master - 0 1 2 connected 5461-10922
b 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5460 [93->-c]
c 127.0.0.1:7002@17002 master - 0 1 3 connected 10923-16382 16383
d 127.0.0.1:7003@17003 slave b 0 1 1 connected
e 127.0.0.1:7004@17004 master,fail - 0 1 1 disconnected
f :0@0 master,noaddr - 0 1 1 disconnected
g 127.0.0.1:7005@17005 master - 0 1 0 connected
";

    #[test]
    fn the_masters_of_a_cluster_are_found_with_what_they_have() {
        let map = Map::of_cluster(NODES, "127.0.0.1", true);
        let masters =
            [at("redis-1.example", 7001), at("127.0.0.1", 7000), at("127.0.0.1", 7002), at("127.0.0.1", 7005)];
        assert_eq!(map.masters, masters);
        assert!(map.whole);
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
        let map = Map::of_cluster(&NODES.replace("5461-10922", ""), "127.0.0.1", true);
        assert!(!map.whole);
        assert!(map.owners.contains(&None));
        assert!(!Map::of_cluster(NODES, "127.0.0.1", false).whole, "nor is one that says so itself");
    }

    #[test]
    fn a_member_that_does_not_know_its_address_has_ours_of_it() {
        let map = Map::of_cluster("a :7000@17000 myself,master - 0 0 1 connected 0-16383\n", "10.0.0.7", true);
        assert_eq!(map.masters, [at("10.0.0.7", 7000)]);
        assert_eq!(redirected_to("10.0.0.8:7001", "10.0.0.7"), Some(at("10.0.0.8", 7001)));
        assert_eq!(redirected_to(":7001", "10.0.0.7"), Some(at("10.0.0.7", 7001)));
    }
}
