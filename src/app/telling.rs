//! Who tells the webhook of changes, beside the requests.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{runtime, sync::watch, task::JoinHandle, time::sleep};

use super::parts::Parts;
use crate::{session::Measured, store::Store, webhook::Sender};

/// Until it begins anew after a fault.
const A_MOMENT: Duration = Duration::from_secs(1);

/// The sender while it runs. It is dropped with the gateway.
#[derive(Debug)]
pub(super) struct Telling {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Telling {
    /// Sends what waits in `store`, to whom the parts of the moment say.
    pub(super) fn start(store: Arc<dyn Store>, follow: watch::Receiver<Arc<Parts>>, control: &runtime::Handle) -> Self {
        let parts = Arc::clone(&follow.borrow());
        let counters = || Arc::clone(&parts.counters);
        let store = Arc::new(Measured::new(store, counters()));
        let (clock, entropy) = (Arc::clone(&parts.clock), Arc::clone(&parts.entropy));
        let sender = Sender::new(store, clock, entropy, counters(), Arc::clone(&parts.bell));
        let (stop, stopped) = watch::channel(false);
        let task = control.spawn(async move {
            let current = || follow.borrow().webhook.clone();
            kept_up(|| sender.run(current, told(stopped.clone()))).await;
        });
        Self { stop, task }
    }

    /// From here on it begins nothing more.
    pub(super) fn rest(&self) {
        self.stop.send_replace(true);
    }

    /// Lets it finish what it is at. From then on it holds no store.
    pub(super) async fn end(self) {
        self.rest();
        let _ = self.task.await;
    }
}

/// Returns when it is to stop. Whoever has gone without a word wants that as well.
async fn told(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Begins anew what a fault of ours has broken off. Nobody waits for it, so nobody would notice.
async fn kept_up<F: Future<Output = ()>>(begin: impl Fn() -> F) {
    while AssertUnwindSafe(begin()).catch_unwind().await.is_err() {
        tracing::error!("a fault has broken off what tells the webhook of changes; it begins anew");
        sleep(A_MOMENT).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn what_a_fault_breaks_off_begins_anew() {
        let begun = Cell::new(0);
        kept_up(|| {
            begun.set(begun.get() + 1);
            let breaks = begun.get() < 2;
            async move { assert!(!breaks, "a fault") }
        })
        .await;
        assert_eq!(begun.get(), 2);
    }
}
