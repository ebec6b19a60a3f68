//! `[api]`: where wxgate's own endpoints stand.

/// wxgate's own endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// What their paths begin with: starts with a slash, does not end with one.
    pub prefix: String,
}

impl Default for Api {
    fn default() -> Self {
        Self { prefix: "/v1".to_owned() }
    }
}
