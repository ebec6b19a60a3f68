//! What is counted of connections that have to begin with a PROXY header.

use super::Counter;

/// What can become of such a header, in the words of whoever counts. What is none of them counts as the last.
pub const PROXY_HEADERS: [&str; 8] =
    ["client", "local", "unknown", "untrusted", "silent", "timeout", "broken", "malformed"];

/// Connections that had to begin with a PROXY header, by what became of it.
#[derive(Debug, Default)]
pub struct ProxyHeaders([Counter; PROXY_HEADERS.len()]);

impl ProxyHeaders {
    /// One more of which this became.
    pub fn count(&self, outcome: &str) {
        let at = PROXY_HEADERS.iter().position(|known| *known == outcome).unwrap_or(PROXY_HEADERS.len() - 1);
        self.0[at].inc();
    }

    /// How many so far, by name.
    pub fn each(&self) -> [(&'static str, u64); PROXY_HEADERS.len()] {
        std::array::from_fn(|at| (PROXY_HEADERS[at], self.0[at].get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_counted_by_its_word_and_an_unknown_word_as_no_header() {
        let headers = ProxyHeaders::default();
        for word in ["client", "client", "local", "a word of tomorrow"] {
            headers.count(word);
        }
        let counted: Vec<_> = headers.each().into_iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(counted, [("client", 2), ("local", 1), ("malformed", 1)]);
    }
}
