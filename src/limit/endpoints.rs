//! How often the endpoints of our own may be asked.

use std::sync::Arc;

use super::{ProfileLimits, VerifyLimits};
use crate::{config::sections::Limits, model::Clock};

/// How often the endpoints of our own may be asked.
#[derive(Clone, Debug)]
pub struct EndpointLimits {
    /// Logins.
    pub logins: Arc<VerifyLimits>,
    /// Changes of profiles.
    pub profiles: Arc<ProfileLimits>,
}

impl EndpointLimits {
    /// Whole budgets for everybody.
    pub fn new(section: &Limits, clock: &Arc<dyn Clock>) -> Self {
        Self {
            logins: Arc::new(VerifyLimits::new(section, Arc::clone(clock))),
            profiles: Arc::new(ProfileLimits::new(section, Arc::clone(clock))),
        }
    }

    /// The limits of another section. Those who wait still count, and budgets go on where their rule is the same.
    #[must_use]
    pub fn changed_to(&self, section: &Limits, clock: &Arc<dyn Clock>) -> Self {
        Self {
            logins: Arc::new(self.logins.changed_to(section, Arc::clone(clock))),
            profiles: Arc::new(self.profiles.changed_to(section, Arc::clone(clock))),
        }
    }
}
