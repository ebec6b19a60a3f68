//! Why a login gave no session.

use std::sync::Arc;

use crate::platform;

/// Why a login gave no session. It can be cloned, because logins that arrive twice share it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The platform refused the code, or could not be asked.
    #[error("the code could not be exchanged")]
    Platform(#[from] platform::Error),
    /// The code was good and is spent, but the session could not be kept.
    #[error("the session could not be kept")]
    Session(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The exchange ended without an outcome: it panicked, or the process is stopping.
    #[error("the exchange was cut short")]
    Interrupted,
}
