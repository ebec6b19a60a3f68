//! Those who know which servers are the masters: sentinels, or members of a Cluster.
//!
//! Several are asked at once, so that one which hangs takes no other's time, and all together no longer than one call may.

use std::sync::Arc;

use redis::{Pipeline, RedisResult, Value, aio::MultiplexedConnection};
use tokio::{task::JoinSet, time::timeout};

use super::{cause::Cause, connect::Connector};
use crate::config::sections::{Endpoint, RedisLogin};

/// The guides, and the connections to those that answered last.
#[derive(Debug)]
pub(super) struct Guides {
    connector: Arc<Connector>,
    /// Who we are to sentinels. Members of a Cluster know us as the servers that they are.
    to_sentinels: Option<RedisLogin>,
    kept: Vec<(Endpoint, MultiplexedConnection)>,
}

/// What one of them said.
pub(super) struct Told {
    pub(super) by: Endpoint,
    pub(super) answers: Result<Vec<RedisResult<Value>>, Cause>,
}

impl Guides {
    pub(super) fn new(connector: Arc<Connector>, to_sentinels: Option<RedisLogin>) -> Self {
        Self { connector, to_sentinels, kept: Vec::new() }
    }

    /// Asks these, and gives what they said in the same order.
    pub(super) async fn ask(&mut self, whom: &[Endpoint], questions: &Pipeline) -> Vec<Told> {
        let mut asking = JoinSet::new();
        for (place, at) in whom.iter().enumerate() {
            let kept = self.kept.iter().position(|(of, _)| of == at).map(|found| self.kept.swap_remove(found).1);
            let (connector, login) = (Arc::clone(&self.connector), self.to_sentinels.clone());
            let (at, questions) = (at.clone(), questions.clone());
            asking.spawn(async move {
                let asked = ask(&connector, &at, login.as_ref(), kept, &questions);
                let asked = timeout(connector.timeout, asked).await.unwrap_or(Err(Cause::Late));
                (place, at, asked)
            });
        }
        self.kept.clear();
        let mut told = Vec::with_capacity(whom.len());
        while let Some(asked) = asking.join_next().await {
            let Ok((place, by, asked)) = asked else { continue };
            let answers = asked.map(|(connection, answers)| {
                self.kept.push((by.clone(), connection));
                answers
            });
            told.push((place, Told { by, answers }));
        }
        told.sort_unstable_by_key(|(place, _)| *place);
        told.into_iter().map(|(_, told)| told).collect()
    }

    /// Whether this one answered when it was last asked, and was worth it.
    pub(super) fn knows(&self, at: &Endpoint) -> bool {
        self.kept.iter().any(|(of, _)| of == at)
    }

    /// Closes the connection to this one. It may be asked again like any other.
    pub(super) fn drop(&mut self, at: &Endpoint) {
        self.kept.retain(|(of, _)| of != at);
    }
}

type Answered = (MultiplexedConnection, Vec<RedisResult<Value>>);

async fn ask(
    connector: &Connector,
    at: &Endpoint,
    to_sentinels: Option<&RedisLogin>,
    kept: Option<MultiplexedConnection>,
    questions: &Pipeline,
) -> Result<Answered, Cause> {
    // One that was kept may have broken meanwhile, which says nothing about the server.
    if let Some(mut connection) = kept
        && let Ok(answers) = questions.query_async(&mut connection).await
    {
        return Ok((connection, answers));
    }
    let mut connection = match to_sentinels {
        Some(login) => connector.sentinel(at, login).await?,
        None => connector.server(at, Arc::new(|_| ())).await?,
    };
    let answers = questions.query_async(&mut connection).await?;
    Ok((connection, answers))
}
