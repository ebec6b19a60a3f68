//! All upstreams of the process, and those who watch over them on the control side.

use std::sync::Arc;

use tokio::{runtime, task::JoinSet};

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
    clock: Arc<dyn Clock>,
}

/// Those who watch over some upstreams. They stop when this is dropped.
#[derive(Debug, Default)]
pub struct Watch(Vec<(Arc<Group>, JoinSet<()>)>);

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
        Ok(Self { groups: sections.iter().map(group).collect::<Result<_, _>>()?, resolver, clock: Arc::clone(clock) })
    }

    /// Those of another configuration. An upstream that is the same in both is the same here, with its connections; one that
    /// has changed takes over what is known of its servers.
    pub fn changed_to(&self, sections: &[sections::Upstream]) -> Result<Self, SetupError> {
        let group = |section: &sections::Upstream| {
            let group = match self.groups.iter().find(|group| group.section.name == section.name) {
                Some(group) if group.section == *section => return Ok(Arc::clone(group)),
                Some(group) => group.changed_to(section),
                None => Group::new(section, Arc::clone(&self.clock)),
            };
            group.map(Arc::new).map_err(|source| SetupError { upstream: section.name.clone(), source })
        };
        let groups = sections.iter().map(group).collect::<Result<_, _>>()?;
        Ok(Self { groups, resolver: Arc::clone(&self.resolver), clock: Arc::clone(&self.clock) })
    }

    /// One by one.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.iter()
    }

    /// How they stand.
    pub fn status(&self) -> Vec<Status> {
        self.groups.iter().map(|group| group.status()).collect()
    }

    /// Has names looked up again and again on `runtime`, and servers asked whether they are well. Who watches over an
    /// upstream already, as part of `before`, goes on with it.
    pub fn watch(&self, before: Watch, runtime: &runtime::Handle) -> Watch {
        let mut before = before.0;
        let watched = |group: &Arc<Group>| {
            if let Some(at) = before.iter().position(|(other, _)| Arc::ptr_eq(group, other)) {
                return before.swap_remove(at);
            }
            let mut watcher = JoinSet::new();
            watcher.spawn_on(watch(Arc::clone(group), Arc::clone(&self.resolver)), runtime);
            (Arc::clone(group), watcher)
        };
        Watch(self.groups.iter().map(watched).collect())
    }
}

/// Watches over one upstream, for as long as it is polled. What it starts ends with it.
async fn watch(group: Arc<Group>, resolver: Arc<dyn Resolver>) {
    let mut watchers = JoinSet::new();
    for at in 0..group.servers.len() {
        watchers.spawn(dns::keep_looking_up(Arc::clone(&group), at, Arc::clone(&resolver)));
        watchers.spawn(check::keep_asking(Arc::clone(&group), at));
    }
    while let Some(ended) = watchers.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "nobody watches over a server any more");
        }
    }
}
