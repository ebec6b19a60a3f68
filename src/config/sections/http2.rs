//! `[server.http2]`: HTTP/2 towards clients.

/// Where HTTP/2 is spoken, and what one connection may hold of our memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Whether it is offered in a TLS handshake.
    pub enabled: bool,
    /// Whether a client without TLS may begin with it.
    pub prior_knowledge: bool,
    /// Requests under way on one connection.
    pub max_streams: u32,
    /// What a client may send of one body before it is read.
    pub stream_window: u32,
    /// What it may send of all of them together.
    pub connection_window: u32,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            enabled: true,
            // To hear what is spoken costs a read by hand per connection, and few load balancers begin with HTTP/2.
            prior_knowledge: false,
            max_streams: 100,
            // A picture of a megabyte from a phone 100 ms away takes four round trips.
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
        }
    }
}
