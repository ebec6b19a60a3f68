//! All servers: finding them, asking the one that has a key, and watching over all of it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use futures_util::future::join_all;
use redis::{Cmd, Value};
use tokio::time::timeout;

use super::{
    backoff::Backoff,
    cause::Cause,
    connect::says_master,
    ear::Ear,
    keys::{Keys, Shard},
    link::Link,
    map::Map,
    node::{Manner, Materials, Node, Reply},
    scripts::Scripts,
    topology::Topology,
};
use crate::config::sections::Endpoint;

/// So often it is asked who the masters are.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// All servers.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) link: Arc<Link>,
    pub(super) keys: Keys,
    pub(super) scripts: Scripts,
    /// Whether the log has been told that of some users nothing can be told.
    pub(super) mute: AtomicBool,
    routes: Mutex<Arc<Routes>>,
    materials: Materials,
}

/// Who has what.
#[derive(Debug)]
struct Routes {
    map: Map,
    nodes: Vec<Arc<Node>>,
}

/// What several questions came to.
pub(super) struct Each {
    /// In the order of the questions.
    pub(super) answers: Vec<Option<Value>>,
    /// Why some have no answer, or the first of the reasons.
    pub(super) why: Option<Cause>,
}

impl Servers {
    pub(super) fn new(keys: Keys, materials: Materials) -> Self {
        let map = Map { masters: Vec::new(), owners: Vec::new(), whole: false };
        let routes = Mutex::new(Arc::new(Routes { map, nodes: Vec::new() }));
        Self { link: Arc::default(), keys, scripts: Scripts::new(), mute: AtomicBool::new(false), routes, materials }
    }

    /// Every master that is known.
    pub(super) fn masters(&self) -> Vec<Arc<Node>> {
        self.routes().nodes.clone()
    }

    /// Every master, where it is known that these are all.
    pub(super) fn all_masters(&self) -> Result<Vec<Arc<Node>>, Cause> {
        let routes = self.routes();
        if routes.nodes.is_empty() || !routes.map.whole { Err(routes.nobody()) } else { Ok(routes.nodes.clone()) }
    }

    /// The answers of whoever has this shard's keys, one for each command.
    pub(super) async fn call(&self, shard: Shard, cmds: &[Cmd], manner: Manner) -> Result<Vec<Value>, Cause> {
        let answers = self.call_owner(shard, cmds, manner).await;
        if let Err(cause) = &answers
            && cause.is_of_topology()
        {
            self.link.look();
        }
        answers
    }

    /// The same, of a server that is a master: a replica may not know yet what the master has.
    pub(super) async fn call_master(&self, shard: Shard, cmd: Cmd) -> Result<Value, Cause> {
        let cmds = [redis::cmd("ROLE"), cmd];
        let mut answers = self.call(shard, &cmds, Manner::Plain).await?.into_iter();
        let (Some(role), Some(answer)) = (answers.next(), answers.next()) else { return Err(Cause::Odd("a pipeline")) };
        if let Err(cause) = says_master(&role) {
            self.link.look();
            return Err(cause);
        }
        Ok(answer)
    }

    /// Whether every master is there and is one.
    pub(super) async fn check(&self) -> Result<(), Cause> {
        for node in self.all_masters()? {
            let answers = self.ask_one(&node, redis::cmd("ROLE")).await?;
            says_master(&answers)?;
        }
        Ok(())
    }

    /// The answer of this one.
    pub(super) async fn ask_one(&self, node: &Node, cmd: Cmd) -> Result<Value, Cause> {
        match node.ask(&[cmd], Manner::Plain, false, &self.scripts).await? {
            Reply::Done(mut answers) => answers.pop().ok_or(Cause::Odd("a pipeline")),
            Reply::Elsewhere { .. } => Err(Cause::Moved),
        }
    }

    /// Asks for several shards, all masters at once. What is wrong with one of them is in the way of no other.
    pub(super) async fn call_each(&self, cmds: &[(Shard, Cmd)]) -> Each {
        let routes = self.routes();
        let owner = |shard: &Shard| routes.map.owners.get(usize::from(shard.0)).copied().flatten();
        let asked = routes.nodes.iter().enumerate().map(|(at, node)| {
            let its = cmds.iter().enumerate().filter(|(_, (shard, _))| owner(shard) == Some(at));
            let (places, its): (Vec<_>, Vec<_>) = its.map(|(place, (_, cmd))| (place, cmd.clone())).unzip();
            async move {
                let replies = if its.is_empty() { Ok(Vec::new()) } else { node.ask_each(&its, &self.scripts).await };
                (places, replies)
            }
        });
        let mut each = Each { answers: vec![None; cmds.len()], why: None };
        if cmds.iter().any(|(shard, _)| owner(shard).is_none()) {
            each.failed(routes.nobody());
        }
        for (places, replies) in join_all(asked).await {
            match replies {
                Ok(replies) => {
                    for (place, reply) in places.into_iter().zip(replies) {
                        let (shard, cmd) = &cmds[place];
                        let answer = match reply {
                            Ok(Reply::Done(mut answers)) => answers.pop().ok_or(Cause::Odd("a pipeline")),
                            // It was not done where it was asked for.
                            Ok(Reply::Elsewhere { .. }) => self.call_one(*shard, cmd).await,
                            Err(cause) => Err(cause),
                        };
                        match answer {
                            Ok(answer) => each.answers[place] = Some(answer),
                            Err(cause) => each.failed(cause),
                        }
                    }
                }
                Err(cause) => each.failed(cause),
            }
        }
        if each.why.as_ref().is_some_and(Cause::is_of_topology) {
            self.link.look();
        }
        each
    }

    async fn call_one(&self, shard: Shard, cmd: &Cmd) -> Result<Value, Cause> {
        let answers = self.call(shard, std::slice::from_ref(cmd), Manner::Plain).await?;
        answers.into_iter().next().ok_or(Cause::Odd("a pipeline"))
    }

    async fn call_owner(&self, shard: Shard, cmds: &[Cmd], manner: Manner) -> Result<Vec<Value>, Cause> {
        let routes = self.routes();
        let owner = routes.map.owners.get(usize::from(shard.0)).copied().flatten();
        let node = owner.and_then(|at| routes.nodes.get(at)).ok_or_else(|| routes.nobody())?;
        let (at, asking) = match node.ask(cmds, manner, false, &self.scripts).await? {
            Reply::Done(answers) => return Ok(answers),
            Reply::Elsewhere { at, asking } => (at, asking),
        };
        self.link.look();
        let other = routes.nodes.iter().find(|node| at.as_ref() == Some(&node.at)).ok_or(Cause::Moved)?;
        match other.ask(cmds, manner, asking, &self.scripts).await? {
            Reply::Done(answers) => Ok(answers),
            Reply::Elsewhere { .. } => Err(Cause::Moved),
        }
    }

    /// Looks after all of it, for ever.
    pub(super) async fn watch(self: Arc<Self>, mut topology: Topology) {
        let mut ears = Vec::new();
        let mut backoff = Backoff::new(Arc::clone(&self.materials.entropy));
        loop {
            match self.look(&mut topology, &mut ears).await {
                Ok(()) => {
                    backoff.reset();
                    let _ = timeout(BETWEEN_LOOKS, self.link.looked_for()).await;
                }
                Err(why) => {
                    self.link.lost(&why);
                    backoff.wait().await;
                }
            }
        }
    }

    /// Finds the masters, and has an ear that works on each of them.
    async fn look(&self, topology: &mut Topology, ears: &mut Vec<Ear>) -> Result<(), Cause> {
        self.drop_the_deaf(ears);
        match topology.find().await {
            Ok(map) => self.adopt(map, ears),
            Err(why) if topology.may_use_the_last_map() && !self.routes().nodes.is_empty() => {
                tracing::debug!(%why, "the sentinels can't be asked; the last master they named stays");
            }
            Err(why) => return Err(why),
        }
        let routes = self.routes();
        for node in &routes.nodes {
            if ears.iter().all(|ear| ear.at != node.at) {
                ears.push(Ear::open(&self.materials, &node.at, &self.link, &self.keys).await?);
            }
        }
        if !routes.map.whole {
            return Err(Cause::Uncovered);
        }
        // Who is told that all is well wants to ask something.
        if !self.link.is_up()
            && let Some(why) = routes.nodes.iter().find_map(|node| node.why_no_call())
        {
            return Err(why);
        }
        self.link.restored(ears)
    }

    /// Drops the ears that hear nothing any more. The link was lost by the first of them.
    fn drop_the_deaf(&self, ears: &mut Vec<Ear>) {
        ears.retain(|ear| {
            let Some(why) = ear.why_deaf() else { return true };
            // Other connections to the same server will fare no better, and calls on them would find out one by one.
            if matches!(*why, Cause::NotMaster | Cause::Late) {
                self.masters().iter().filter(|node| node.at == ear.at).for_each(|node| node.renew(&why));
            }
            false
        });
    }

    /// Takes over a map that differs from the last one. What happened in between may have been missed.
    fn adopt(&self, map: Map, ears: &mut Vec<Ear>) {
        let last = self.routes();
        if last.map == map {
            return;
        }
        self.link.lost(&if last.nodes.is_empty() { Cause::NotYet } else { Cause::Changed });
        let kept = |at: &Endpoint| last.nodes.iter().find(|node| node.at == *at).map(Arc::clone);
        let nodes = map.masters.iter().map(|at| kept(at).unwrap_or_else(|| Arc::new(Node::open(at, &self.materials))));
        let nodes = nodes.collect();
        ears.retain(|ear| map.masters.contains(&ear.at));
        *self.routes.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Routes { map, nodes });
    }

    fn routes(&self) -> Arc<Routes> {
        let routes: MutexGuard<'_, _> = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&routes)
    }
}

impl Each {
    fn failed(&mut self, cause: Cause) {
        self.why.get_or_insert(cause);
    }
}

impl Routes {
    fn nobody(&self) -> Cause {
        if self.nodes.is_empty() { Cause::Away(Arc::new(Cause::NotYet)) } else { Cause::Uncovered }
    }
}
