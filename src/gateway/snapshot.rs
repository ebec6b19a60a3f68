//! Everything one request sees of the configuration: immutable, shared by all workers, and swapped whole when it changes.

use crate::{limit::RouteLimits, routing::Table, web::TrustedProxies};

/// What the pipeline needs to know.
#[derive(Debug)]
pub struct Snapshot {
    /// The routes.
    pub table: Table,
    /// How many requests of each route one client may send.
    pub limits: RouteLimits,
    /// Peers whose word on where a request came from counts.
    pub proxies: TrustedProxies,
}
