//! A part of a connection that goes on by itself.

use tokio::task::JoinHandle;

/// A task that ends with this: left to itself, it would write for as long as a server that reads nothing lets it.
#[derive(Debug)]
pub(super) struct Task(JoinHandle<()>);

impl Task {
    pub(super) fn of(task: JoinHandle<()>) -> Self {
        Self(task)
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for its end.
    pub(super) async fn over(&mut self) {
        // An error would be that it was ended, or panicked; it is over then too.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
