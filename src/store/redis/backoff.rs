//! How long to wait before the next try: longer each time, and not all instances at once.

use std::{sync::Arc, time::Duration};

use crate::model::Entropy;

/// Before the second try; the first comes at once.
const FIRST: Duration = Duration::from_millis(20);

/// So often the wait doubles, to 1.28 seconds.
const DOUBLINGS: u32 = 6;

/// The waits of one series of tries.
#[derive(Debug)]
pub(super) struct Backoff {
    entropy: Arc<dyn Entropy>,
    tries: u32,
}

impl Backoff {
    pub(super) fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, tries: 0 }
    }

    /// The last try was good.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }

    /// Between half the wait that is due and all of it.
    pub(super) fn next(&mut self) -> Duration {
        let due = FIRST * 2u32.pow(self.tries.min(DOUBLINGS));
        self.tries = self.tries.saturating_add(1);
        let mut random = [0; 4];
        // Without randomness all of it: waiting is the safe side.
        if self.entropy.fill(&mut random).is_err() {
            return due;
        }
        due / 2 + (due / 2).mul_f64(f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX))
    }

    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SystemEntropy;

    #[test]
    fn waits_double_up_to_a_limit_and_are_never_quite_the_same() {
        let mut backoff = Backoff::new(Arc::new(SystemEntropy));
        for due in [20, 40, 80, 160, 320, 640, 1280, 1280, 1280].map(Duration::from_millis) {
            let wait = backoff.next();
            assert!(wait >= due / 2 && wait <= due, "{wait:?} of {due:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
        let many: std::collections::HashSet<Duration> = (0..20).map(|_| backoff.next()).collect();
        assert!(many.len() > 10, "{many:?}");
    }
}
