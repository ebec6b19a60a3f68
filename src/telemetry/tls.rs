//! What is counted of TLS: what handshakes came to, and what became of files that were read again.

use super::Counter;

/// What a handshake can come to, in the words of whoever counts. What is none of them counts as the last.
pub const HANDSHAKES: [&str; 11] = [
    "full",
    "resumed",
    "silent",
    "timeout",
    "plain_http",
    "garbage",
    "incompatible",
    "unknown_name",
    "refused",
    "broken",
    "failed",
];

/// Handshakes with clients, by what they came to.
#[derive(Debug, Default)]
pub struct TlsHandshakes([Counter; HANDSHAKES.len()]);

impl TlsHandshakes {
    /// One more that came to this.
    pub fn count(&self, outcome: &str) {
        let at = HANDSHAKES.iter().position(|known| *known == outcome).unwrap_or(HANDSHAKES.len() - 1);
        self.0[at].inc();
    }

    /// How many so far, by name.
    pub fn each(&self) -> [(&'static str, u64); HANDSHAKES.len()] {
        std::array::from_fn(|at| (HANDSHAKES[at], self.0[at].get()))
    }
}

/// Certificates that were read again because their files had changed, or because somebody asked.
#[derive(Debug, Default)]
pub struct CertificateReloads {
    /// Those that took the place of the one before.
    pub swapped: Counter,
    /// Those that could not be used; the one before stays.
    pub failed: Counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_counted_by_its_word_and_an_unknown_word_as_a_failure() {
        let handshakes = TlsHandshakes::default();
        for word in ["full", "full", "garbage", "a word of tomorrow"] {
            handshakes.count(word);
        }
        let counted: Vec<_> = handshakes.each().into_iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(counted, [("full", 2), ("garbage", 1), ("failed", 1)]);
    }
}
