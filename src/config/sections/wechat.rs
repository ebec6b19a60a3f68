//! `[wechat]`: how WeChat's API is called.

use std::time::Duration;

/// How WeChat's API is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeChat {
    /// For one exchange as a whole, its retry included.
    pub timeout: Duration,
    /// For how long the same login code gets the same answer again; zero turns this off.
    pub replay_window: Duration,
}

impl Default for WeChat {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5), replay_window: Duration::from_secs(10) }
    }
}
