//! All upstreams of the process, and those who watch over them on the control side.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{
    check,
    dns::{self, Resolver},
    group::Group,
    status::Status,
    tls::TlsError,
};
use crate::{config::sections, model::Clock};

/// An upstream can't be had as the configuration has it.
#[derive(Debug, thiserror::Error)]
#[error("no TLS to the upstream {upstream}")]
pub struct SetupError {
    /// Which.
    pub upstream: String,
    /// Why.
    #[source]
    pub source: TlsError,
}

/// What the workers share of the upstreams.
#[derive(Debug)]
pub struct Upstreams {
    groups: Vec<Arc<Group>>,
    resolver: Arc<dyn Resolver>,
}

impl Upstreams {
    /// In the order of the configuration. Connects to nothing and looks nothing up yet.
    pub fn new(
        sections: &[sections::Upstream],
        clock: &Arc<dyn Clock>,
        resolver: Arc<dyn Resolver>,
    ) -> Result<Self, SetupError> {
        let group = |section: &sections::Upstream| {
            let group = Group::new(section, Arc::clone(clock)).map(Arc::new);
            group.map_err(|source| SetupError { upstream: section.name.clone(), source })
        };
        Ok(Self { groups: sections.iter().map(group).collect::<Result<_, _>>()?, resolver })
    }

    /// One by one.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.iter()
    }

    /// How they stand.
    pub fn status(&self) -> Vec<Status> {
        self.groups.iter().map(|group| group.status()).collect()
    }

    /// Looks names up again and again and asks servers whether they are well, for as long as it is polled. What it starts
    /// ends with it.
    pub async fn watch(&self) {
        let mut watchers = JoinSet::new();
        for group in &self.groups {
            for at in 0..group.servers.len() {
                watchers.spawn(dns::keep_looking_up(Arc::clone(group), at, Arc::clone(&self.resolver)));
                watchers.spawn(check::keep_asking(Arc::clone(group), at));
            }
        }
        while let Some(ended) = watchers.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "nobody watches over a server any more");
            }
        }
    }
}
