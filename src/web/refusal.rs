//! Why bytes from a client never became a request.

/// Why there is no request to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// More bytes than a head may have.
    HeadTooLarge,
    /// More header lines than a head may have.
    TooManyHeaders,
    /// A longer target than a head may have.
    TargetTooLong,
    /// The head was not whole in time.
    HeadTimeout,
    /// A `#` in the request line.
    Fragment,
    /// A line that ends without carriage return.
    BareLineFeed,
    /// `Content-Length` and `Transfer-Encoding` in a combination that leaves the body's end open to opinion.
    Framing,
    /// More requests at once than are taken on.
    Overloaded,
    /// HTTP in the clear, where TLS is spoken.
    NotEncrypted,
    /// Anything else that is no HTTP.
    Malformed,
}
