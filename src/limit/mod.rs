//! How much one client may ask for: logins, changes of a profile, requests of a route, and tunnels.
//!
//! A limit of what is asked for is a budget per address or per user: its whole count at once, and one more each time a `count`-th of the
//! period has gone by. Whoever is refused is told when to come back; the answer is made elsewhere.
//!
//! A limit of what is open at once is a count, of tunnels, of uploads and of logins that wait for WeChat.
//!
//! The budgets are the process's, not a worker's. A client that opens several connections is served by several workers,
//! and would have as many budgets; and a client with one connection would have only a worker's part of one that was
//! divided. The price is a short lock of one of many parts of a table, on requests of routes that have a limit.

mod budgets;
mod endpoints;
mod forward;
mod logins;
mod network;
mod places;
mod profiles;
mod routes;

pub use endpoints::EndpointLimits;
pub use logins::{Limited, Permit, VerifyLimits};
pub use places::UserPlace;
pub use profiles::ProfileLimits;
pub use routes::{RouteLimited, RouteLimits, Whose};
