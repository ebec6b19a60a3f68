//! `[admin]`: the listener for operators, apart from the public one.

use std::net::SocketAddr;

use crate::model::Secret;

/// The operators' listener.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where it listens; loopback unless told otherwise.
    pub listen: SocketAddr,
    /// Names under which it is asked for beside `localhost` and its own address, in lower case and without a port.
    pub hosts: Vec<String>,
    /// Asked for on every path but `/healthz`, `/readyz` and `/metrics`. Unset, those paths are closed to everybody.
    pub token: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9901)), hosts: Vec::new(), token: None }
    }
}
