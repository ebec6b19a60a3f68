//! What is counted of connections over HTTP/2.

use super::Counter;

/// What can be wrong with one, in the words of whoever counts. What is none of them counts as the first.
pub const HTTP2_BROKEN: [&str; 4] = ["protocol", "flow_control", "flood", "stalled"];

/// Connections that were ended, by what was wrong with them.
#[derive(Debug, Default)]
pub struct Http2Broken([Counter; HTTP2_BROKEN.len()]);

impl Http2Broken {
    /// One more that was ended for this.
    pub fn count(&self, why: &str) {
        self.0[HTTP2_BROKEN.iter().position(|known| *known == why).unwrap_or(0)].inc();
    }

    /// How many so far, by name.
    pub fn each(&self) -> [(&'static str, u64); HTTP2_BROKEN.len()] {
        std::array::from_fn(|at| (HTTP2_BROKEN[at], self.0[at].get()))
    }
}
