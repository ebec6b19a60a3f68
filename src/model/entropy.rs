//! Where randomness comes from. The system's generator can fail; that failure is an error here, never a weak token.

use std::fmt;

use rand::{TryRng, rngs::SysRng};

/// The generator gave no bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct EntropyError(#[source] rand::rngs::SysError);

/// A source of bytes nobody can guess.
pub trait Entropy: fmt::Debug + Send + Sync {
    /// Fills `bytes` whole, or fails.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        SysRng.try_fill_bytes(bytes).map_err(EntropyError)
    }
}
