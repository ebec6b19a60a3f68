//! One master and the connections for calls to it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::runtime::Handle;

use super::{backoff::Backoff, cause::Cause, connect::Connector, lane::Lane, map, scripts::Scripts};
use crate::{config::sections::Endpoint, model::Entropy};

/// One master and the connections for calls to it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Endpoint,
    calls: Lanes,
    /// For what waits for replicas: a connection that waits answers nobody else meanwhile.
    waits: Option<Lanes>,
}

/// What a call comes to.
pub(super) enum Reply {
    /// The answers, one for each command.
    Done(Vec<Value>),
    /// Another server has these keys. `asking`: only this once.
    Elsewhere {
        /// Where; none if the answer doesn't say.
        at: Option<Endpoint>,
        /// Whether the keys are on their way and that server has to be told that we know.
        asking: bool,
    },
}

/// How a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// As any.
    Plain,
    /// On a connection that may be made to wait.
    Waiting,
}

/// What a node is made of.
#[derive(Debug)]
pub(super) struct Materials {
    pub(super) connector: Arc<Connector>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) runtime: Handle,
    /// Connections of each kind.
    pub(super) connections: usize,
    /// Whether there are calls that wait for replicas.
    pub(super) waiting: bool,
}

impl Node {
    /// Begins to connect.
    pub(super) fn open(at: &Endpoint, of: &Materials) -> Self {
        let waits = of.waiting.then(|| Lanes::open(at, of));
        Self { at: at.clone(), calls: Lanes::open(at, of), waits }
    }

    /// Sends the commands one behind the other, and again if the server does not know our scripts any more.
    pub(super) async fn ask(&self, cmds: &[Cmd], manner: Manner, asking: bool, of: &Scripts) -> Result<Reply, Cause> {
        let lanes = self.waits.as_ref().filter(|_| manner == Manner::Waiting).unwrap_or(&self.calls);
        let lane = lanes.next()?;
        let mut answers = lane.ask(&pipeline(cmds, asking)).await?;
        if answers.iter().any(is_unknown_script) {
            lane.ask(&pipeline(&of.load().collect::<Vec<_>>(), false)).await?;
            answers = lane.ask(&pipeline(cmds, asking)).await?;
        }
        let answers = answers.into_iter().skip(usize::from(asking)).step_by(if asking { 2 } else { 1 });
        let mut done = Vec::with_capacity(cmds.len());
        for answer in answers {
            match answer {
                Ok(value) => done.push(value),
                Err(error) => return self.refused(&error).map_err(|cause| renewed(lane, cause)),
            }
        }
        Ok(Reply::Done(done))
    }

    /// Sends the commands one behind the other. What one of them comes to is the matter of that one.
    pub(super) async fn ask_each(&self, cmds: &[Cmd], of: &Scripts) -> Result<Vec<Result<Reply, Cause>>, Cause> {
        let lane = self.calls.next()?;
        let mut answers = lane.ask(&pipeline(cmds, false)).await?;
        // Only those again that were not done.
        let unknown = answers.iter().zip(cmds).filter(|(answer, _)| is_unknown_script(answer));
        let unknown: Vec<_> = unknown.map(|(_, cmd)| cmd.clone()).collect();
        if !unknown.is_empty() {
            lane.ask(&pipeline(&of.load().collect::<Vec<_>>(), false)).await?;
            let again = lane.ask(&pipeline(&unknown, false)).await?;
            answers.iter_mut().filter(|answer| is_unknown_script(answer)).zip(again).for_each(|(to, from)| *to = from);
        }
        let reply = |answer: RedisResult<Value>| match answer {
            Ok(value) => Ok(Reply::Done(vec![value])),
            Err(error) => self.refused(&error).map_err(|cause| renewed(lane, cause)),
        };
        Ok(answers.into_iter().map(reply).collect())
    }

    /// Why no call can be made at the moment, if none can.
    pub(super) fn why_no_call(&self) -> Option<Cause> {
        let waits = self.waits.as_ref().and_then(|lanes| lanes.next().err());
        self.calls.next().err().or(waits)
    }

    /// Takes all connections down: they may be to a server that is no master any more.
    pub(super) fn renew(&self, why: &Arc<Cause>) {
        self.calls.0.iter().chain(self.waits.iter().flat_map(|lanes| &lanes.0)).for_each(|lane| lane.renew(why));
    }

    fn refused(&self, error: &RedisError) -> Result<Reply, Cause> {
        let asking = error.kind() == ErrorKind::Server(ServerErrorKind::Ask);
        if asking || error.kind() == ErrorKind::Server(ServerErrorKind::Moved) {
            let at = error.redirect_node().and_then(|(addr, _)| map::redirected_to(addr, &self.at.host));
            return Ok(Reply::Elsewhere { at, asking });
        }
        Err(Cause::from(error.clone()))
    }
}

/// A server that turned into a replica still answers what it has, or had: its connection is not used again.
fn renewed(lane: &Lane, cause: Cause) -> Cause {
    if !matches!(&cause, Cause::Refused { code } if code == "READONLY") {
        return cause;
    }
    let cause = Arc::new(cause);
    lane.renew(&cause);
    Cause::Away(cause)
}

fn is_unknown_script(answer: &RedisResult<Value>) -> bool {
    matches!(answer, Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
}

/// `ASKING` counts for the one command behind it.
fn pipeline(cmds: &[Cmd], asking: bool) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(cmds.len() * 2);
    pipeline.ignore_errors();
    for cmd in cmds {
        if asking {
            pipeline.cmd("ASKING");
        }
        pipeline.add_command(cmd.clone());
    }
    pipeline
}

/// Connections of which one is as good as another.
#[derive(Debug)]
struct Lanes(Vec<Lane>, AtomicUsize);

impl Lanes {
    fn open(at: &Endpoint, of: &Materials) -> Self {
        let lane = |_| Lane::open(&of.connector, at, Backoff::new(Arc::clone(&of.entropy)), &of.runtime);
        Self((0..of.connections).map(lane).collect(), AtomicUsize::new(0))
    }

    /// The next in turn that is up and has room.
    fn next(&self) -> Result<&Lane, Cause> {
        let turn = self.1.fetch_add(1, Ordering::Relaxed);
        let mut why = Cause::Busy;
        for step in 0..self.0.len() {
            let Some(lane) = self.0.get(turn.wrapping_add(step) % self.0.len()) else { continue };
            match lane.why_down() {
                None if lane.has_room() => return Ok(lane),
                None => {}
                Some(cause) => why = Cause::Away(cause),
            }
        }
        Err(why)
    }
}
