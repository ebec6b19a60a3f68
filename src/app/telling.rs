//! Who tells the webhook of changes, beside the requests.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime,
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use super::parts::Parts;
use crate::{session::Measured, store::Store, webhook::Sender};

/// How long a stop waits for what is under way. What is not over then is sent again after the next start.
const LAST_TRIES: Duration = Duration::from_secs(5);

/// The sender while it runs. It is dropped with the gateway.
#[derive(Debug)]
pub(super) struct Telling {
    stop: oneshot::Sender<()>,
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
        let (stop, stopped) = oneshot::channel();
        let current = move || follow.borrow().webhook.clone();
        let until = async move {
            // Whoever has gone without a word wants it to stop as well.
            let _ = stopped.await;
        };
        Self { stop, task: control.spawn(sender.run(current, until)) }
    }

    /// Lets it finish what it is at. From then on it holds no store.
    pub(super) async fn end(mut self) {
        let _ = self.stop.send(());
        if timeout(LAST_TRIES, &mut self.task).await.is_err() {
            self.task.abort();
            let _ = self.task.await;
        }
    }
}
