//! Finding the masters, again and again.
//!
//! Several are asked who they are, and the one that knows best is believed: who is cut off from the others would name the
//! old ones for ever.

use std::sync::Arc;

use redis::{Pipeline, RedisResult, Value};

use super::{
    cause::Cause,
    connect::Connector,
    guides::{Guides, Told},
    map::{Map, View, epoch_of, named},
};
use crate::config::sections::{Endpoint, RedisSentinels, RedisServers};

/// So many members of a Cluster are asked at once. Those that know less than others, or find their Cluster not whole, make
/// room for the next in turn.
const MEMBERS: usize = 5;

/// Finds the masters.
#[derive(Debug)]
pub(super) struct Topology {
    servers: RedisServers,
    guides: Guides,
    /// The masters of the Cluster when it last answered: some of those we were told of at start may be long gone.
    known: Vec<Endpoint>,
    /// How many of those that nothing speaks for were asked so far.
    turn: usize,
}

impl Topology {
    pub(super) fn new(servers: RedisServers, connector: Arc<Connector>) -> Self {
        let to_sentinels = match &servers {
            RedisServers::Sentinel(section) => Some(section.login.clone()),
            RedisServers::One(_) | RedisServers::Cluster(_) => None,
        };
        Self { servers, guides: Guides::new(connector, to_sentinels), known: Vec::new(), turn: 0 }
    }

    /// How the masters are found: whoever finds none may go on with those that were found before, where a sentinel is
    /// only a guide and not a part of what it watches.
    pub(super) fn may_use_the_last_map(&self) -> bool {
        matches!(self.servers, RedisServers::Sentinel(_))
    }

    /// The masters as they are now. However many have to be asked, it takes no longer than one call may.
    pub(super) async fn find(&mut self) -> Result<Map, Cause> {
        match self.servers.clone() {
            RedisServers::One(server) => Ok(Map::one(server)),
            RedisServers::Sentinel(sentinels) => self.ask_sentinels(&sentinels).await.map(Map::one),
            RedisServers::Cluster(members) => self.ask_members(&members).await,
        }
    }

    async fn ask_sentinels(&mut self, section: &RedisSentinels) -> Result<Endpoint, Cause> {
        let mut questions = Pipeline::with_capacity(2);
        questions.ignore_errors();
        questions.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&section.master);
        questions.cmd("SENTINEL").arg("MASTER").arg(&section.master);
        believed(self.guides.ask(&section.sentinels, &questions).await)
    }

    async fn ask_members(&mut self, members: &[Endpoint]) -> Result<Map, Cause> {
        let mut questions = Pipeline::with_capacity(2);
        questions.ignore_errors();
        questions.cmd("CLUSTER").arg("INFO");
        questions.cmd("CLUSTER").arg("NODES");
        let whom = self.whom_to_ask(members);
        let (mut views, mut why) = (Vec::new(), Cause::Uncovered);
        for Told { by, answers } in self.guides.ask(&whom, &questions).await {
            match answers.and_then(|answers| view(answers, &by)) {
                Ok(view) => views.push((by, view)),
                Err(cause) => why = cause,
            }
        }
        // Of those that are worth the same always the one that comes first, for they may differ.
        let Some(best) = views.iter().map(|(_, view)| view.worth).max() else { return Err(why) };
        for (by, view) in &views {
            if view.worth != best || !view.map.whole {
                self.guides.drop(by);
            }
        }
        let best = views.into_iter().find_map(|(_, view)| (view.worth == best).then_some(view.map));
        let map = best.ok_or(Cause::Uncovered)?;
        self.known.clone_from(&map.masters);
        Ok(map)
    }

    /// Those first that knew best when they were last asked, and the others by turns.
    fn whom_to_ask(&mut self, members: &[Endpoint]) -> Vec<Endpoint> {
        let mut all: Vec<&Endpoint> = Vec::new();
        for member in self.known.iter().chain(members) {
            if !all.contains(&member) {
                all.push(member);
            }
        }
        let (trusted, mut others): (Vec<_>, Vec<_>) = all.into_iter().partition(|at| self.guides.knows(at));
        if !others.is_empty() {
            let turn = self.turn % others.len();
            others.rotate_left(turn);
        }
        self.turn = self.turn.wrapping_add(MEMBERS.saturating_sub(trusted.len()));
        trusted.into_iter().chain(others).take(MEMBERS).cloned().collect()
    }
}

/// The master that is named under the highest epoch. Of those named under the same one the first: none or all of them are
/// behind.
fn believed(told: Vec<Told>) -> Result<Endpoint, Cause> {
    let (mut best, mut why) = (None, None);
    for Told { answers, .. } in told {
        let answers = match answers {
            Ok(answers) => answers,
            Err(cause) => {
                why = Some(Arc::new(cause));
                continue;
            }
        };
        let [Ok(master), more @ ..] = answers.as_slice() else { continue };
        let Some(master) = named(master) else { continue };
        // A sentinel whose user may not ask for more is believed where no other knows better.
        let epoch = more.first().and_then(|answer| answer.as_ref().ok()).and_then(epoch_of).unwrap_or(0);
        if best.as_ref().is_none_or(|(newest, _)| epoch > *newest) {
            best = Some((epoch, master));
        }
    }
    best.map(|(_, master)| master).ok_or(Cause::NoMaster(why))
}

fn view(answers: Vec<RedisResult<Value>>, by: &Endpoint) -> Result<View, Cause> {
    let mut texts = answers.into_iter().map(|answer| text(&answer?));
    let (Some(info), Some(nodes)) = (texts.next(), texts.next()) else { return Err(Cause::Odd("CLUSTER")) };
    Ok(View::of_cluster(&info?, &nodes?, &by.host))
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
    use crate::config::sections::Redis;

    fn at(port: u16) -> Endpoint {
        Endpoint { host: "10.0.0.1".to_owned(), port }
    }

    fn texts(words: &[&str]) -> Value {
        Value::Array(words.iter().map(|word| Value::BulkString(word.as_bytes().to_vec())).collect())
    }

    fn sentinel(port: u16, epoch: Option<&str>) -> Told {
        let more = epoch.map_or_else(
            || Err((redis::ErrorKind::Extension, "NOPERM").into()),
            |epoch| Ok(texts(&["name", "main", "config-epoch", epoch])),
        );
        Told { by: at(26_379), answers: Ok(vec![Ok(texts(&["10.0.0.1", &port.to_string()])), more]) }
    }

    #[test]
    fn a_sentinel_that_missed_a_fail_over_is_not_believed() {
        assert_eq!(
            believed(vec![sentinel(1, Some("3")), sentinel(2, Some("4")), sentinel(2, Some("4"))]).unwrap(),
            at(2)
        );
        assert_eq!(believed(vec![sentinel(2, Some("4")), sentinel(1, Some("3"))]).unwrap(), at(2));
        assert_eq!(believed(vec![sentinel(1, None), sentinel(2, Some("4"))]).unwrap(), at(2));
        assert_eq!(believed(vec![sentinel(1, None), sentinel(2, None)]).unwrap(), at(1), "where nobody says more");
    }

    #[test]
    fn sentinels_that_name_nobody_name_nobody() {
        let silent = || Told { by: at(1), answers: Err(Cause::Late) };
        let stranger = || Told { by: at(2), answers: Ok(vec![Ok(Value::Nil), Ok(Value::Nil)]) };
        assert!(matches!(believed(vec![silent(), stranger()]), Err(Cause::NoMaster(Some(_)))));
        assert!(matches!(believed(vec![stranger()]), Err(Cause::NoMaster(None))));
        assert_eq!(believed(vec![silent(), stranger(), sentinel(1, Some("1"))]).unwrap(), at(1));
    }

    #[test]
    fn all_members_are_asked_by_turns() {
        let members: Vec<Endpoint> = (1..=12).map(at).collect();
        let section = Redis::new(RedisServers::Cluster(members.clone()));
        let connector = Arc::new(Connector::new(&section, 1));
        let mut topology = Topology::new(section.servers, connector);
        topology.known = vec![at(3), at(20)];
        let rounds: Vec<Vec<Endpoint>> = (0..3).map(|_| topology.whom_to_ask(&members)).collect();
        assert!(rounds.iter().all(|round| round.len() == MEMBERS));
        for member in members.iter().chain(&topology.known) {
            assert!(rounds.iter().any(|round| round.contains(member)), "{member:?}");
        }
    }
}
