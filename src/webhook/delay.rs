//! How long it is to the next try: twice as long each time, and never quite as long as for others that failed together.

use std::time::Duration;

use crate::{config::sections, model::Entropy};

/// Between half of the delay and all of it. A receiver may ask for longer, up to the longest.
pub(super) fn after(
    section: &sections::Webhook,
    attempts: u32,
    asked_to_wait: Option<Duration>,
    entropy: &dyn Entropy,
) -> Duration {
    let factor = 1_u32.checked_shl(attempts.min(31)).unwrap_or(u32::MAX);
    let delay = section.first_retry.saturating_mul(factor).min(section.longest_retry);
    let mut byte = [0; 1];
    // Without randomness all come back at once, which is no reason not to come back.
    let drawn = entropy.fill(&mut byte).map_or(u32::from(u8::MAX), |()| byte[0].into());
    let jittered = delay / 2 + delay / 2 * drawn / u32::from(u8::MAX);
    jittered.max(asked_to_wait.unwrap_or_default().min(section.longest_retry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Secret, SystemEntropy};

    #[test]
    fn it_grows_to_the_longest_and_is_never_below_half() {
        let section = sections::Webhook::new("https://a.example".parse().unwrap(), Secret::new(""));
        let (first, longest) = (section.first_retry, section.longest_retry);
        for (attempts, most) in [(0, first), (1, first * 2), (3, first * 8), (20, longest), (u32::MAX, longest)] {
            for _ in 0..50 {
                let delay = after(&section, attempts, None, &SystemEntropy);
                assert!(most / 2 <= delay && delay <= most, "{attempts}: {delay:?}");
            }
        }
        let asked = |secs| after(&section, 0, Some(Duration::from_secs(secs)), &SystemEntropy);
        assert_eq!((asked(60), asked(1_000_000)), (Duration::from_mins(1), longest));
    }
}
