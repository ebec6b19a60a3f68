//! Which rule a request falls under: canonical path, host and method in, route out.

mod explain;
mod original;
mod path;
mod table;
mod target;

pub use explain::{ExplainError, Explanation, Routed, explain, own_paths};
pub use original::{BadOriginal, Original, What};
pub use path::{CanonicalPath, PathError, canonicalise, strip_prefix};
pub use table::{Carriers, Rule, Table, UnknownUpstream};
pub use target::{BadHost, BadTarget, Host, Target, target_of};

/// What a rule asks of the caller, so that who enforces it needs to know rules and no config.
pub use crate::config::sections::AuthRule;
