//! `[webhook]`: whoever is told of changes of profiles.

use std::time::Duration;

use url::Url;

use crate::model::Secret;

/// Whoever is told of changes of profiles.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where they are sent.
    pub url: Url,
    /// What they are signed with, `whsec_…`.
    pub secret: Secret,
    /// What they are signed with beside, while receivers change over.
    pub old_secrets: Vec<Secret>,
    /// The certificates that the receiver's own has to come from, as PEM. Without it those that the system trusts.
    pub ca: Option<String>,
    /// For one try as a whole.
    pub timeout: Duration,
    /// How long it is until the second try. Each further time it is twice as long.
    pub first_retry: Duration,
    /// At most.
    pub longest_retry: Duration,
    /// What is older is given up.
    pub max_age: Duration,
    /// So many may wait in all.
    pub max_waiting: usize,
    /// And so many of one user.
    pub max_per_user: usize,
    /// Tries that are under way at once.
    pub in_flight: usize,
}

impl Webhook {
    /// Sent there and signed so, with everything else as it is without a word about it.
    pub fn new(url: Url, secret: Secret) -> Self {
        Self {
            url,
            secret,
            old_secrets: Vec::new(),
            ca: None,
            timeout: Duration::from_secs(10),
            first_retry: Duration::from_secs(5),
            longest_retry: Duration::from_mins(30),
            max_age: Duration::from_hours(72),
            max_waiting: 100_000,
            max_per_user: 10,
            in_flight: 8,
        }
    }
}

impl std::fmt::Debug for Webhook {
    /// The URL may have a secret in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook")
            .field("host", &self.url.host_str())
            .field("old_secrets", &self.old_secrets.len())
            .field("ca", &self.ca)
            .field("timeout", &self.timeout)
            .field("retry", &(self.first_retry, self.longest_retry))
            .field("max_age", &self.max_age)
            .field("max", &(self.max_waiting, self.max_per_user, self.in_flight))
            .finish_non_exhaustive()
    }
}
