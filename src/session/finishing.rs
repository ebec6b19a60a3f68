//! What must not stop half way.
//!
//! When a client hangs up, the future of its request is dropped. A log-out that the store has taken by then must still be
//! told to the cache, or the session would live on in memory. So whoever is dropped before the end leaves the rest to the
//! control runtime.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs in place, and goes on elsewhere when it is dropped.
pub(super) struct Finishing<T: Send + 'static> {
    work: Option<Work<T>>,
    elsewhere: Handle,
}

impl<T: Send + 'static> Finishing<T> {
    pub(super) fn new(elsewhere: &Handle, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { work: Some(Box::pin(work)), elsewhere: elsewhere.clone() }
    }
}

impl<T: Send + 'static> Future for Finishing<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let output = std::task::ready!(work.as_mut().poll(cx));
        self.work = None;
        Poll::Ready(output)
    }
}

impl<T: Send + 'static> Drop for Finishing<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            // Not waited for at a stop: whoever asked has gone, and was told nothing that would have to be true.
            self.elsewhere.spawn(async move { drop(work.await) });
        }
    }
}
