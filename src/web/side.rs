//! One side of a tunnel: bytes in both directions.

use tokio::io::{AsyncRead, AsyncWrite};

/// A stream at one end of a tunnel.
pub trait Side: AsyncRead + AsyncWrite + Unpin {
    /// Whether it is sure that nothing has come for a task that it has told to wait: to read once more would tell it the same. Asked
    /// often, so it has to cost next to nothing; who can't tell says no.
    ///
    /// What is said holds on the thread that hears the system's news, as each worker does its own: elsewhere they could come in between.
    fn has_no_news(&self) -> bool {
        false
    }
}

impl<S: Side + ?Sized> Side for &mut S {
    fn has_no_news(&self) -> bool {
        (**self).has_no_news()
    }
}
