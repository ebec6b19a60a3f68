//! `session_key`s that a platform has renewed, on their way to the store.
//!
//! When the platform has made another key, the old one is worth nothing, and nobody else will ever be told the new one. So
//! neither a client that hangs up, nor a store that is away for a moment, nor a stop may come between.

use std::{future::Future, panic::resume_unwind, sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::watch, task::JoinError, time::sleep};

use super::{Error, near::Near};
use crate::model::{SessionKey, UserKey};

/// How long it is until a store that did not answer is asked again, each time.
const ASKED_AGAIN: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5)];

/// Those under way.
#[derive(Debug, Default)]
pub(super) struct Renewals(watch::Sender<usize>);

/// One of them.
struct One(watch::Sender<usize>);

impl Drop for One {
    fn drop(&mut self) {
        self.0.send_modify(|all| *all -= 1);
    }
}

impl Renewals {
    /// Waits for one, which goes on when nobody waits any more. It is on `runtime` from the start: what waits in it belongs
    /// to the runtime that it was begun on.
    pub(super) async fn finish<T: Send + 'static>(
        &self,
        runtime: &Handle,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.0.send_modify(|all| *all += 1);
        let one = One(self.0.clone());
        let work = runtime.spawn(async move {
            let _one = one;
            work.await
        });
        match work.await.map_err(JoinError::try_into_panic) {
            Ok(outcome) => outcome,
            Err(Ok(panic)) => resume_unwind(panic),
            // The runtime ends, and everything with it.
            Err(Err(_)) => std::future::pending().await,
        }
    }

    /// Returns when none is under way.
    pub(super) async fn over(&self) {
        // It can't fail: the other end is here.
        let _ = self.0.subscribe().wait_for(|all| *all == 0).await;
    }
}

/// Keeps the key that comes of `renewed`, see [`Sessions::renew_session_key`](super::Sessions::renew_session_key).
pub(super) async fn renew<E: From<Error>>(
    near: Arc<Near>,
    user: UserKey,
    old: SessionKey,
    renewed: impl Future<Output = Result<Option<SessionKey>, E>>,
) -> Result<bool, E> {
    let Some(new) = renewed.await? else {
        // A login that was faster has brought another, and the old one is gone as well.
        let newest = near.store.session_key(&user, near.clock.now()).await.map_err(Error::StoreUnavailable)?;
        return Ok(newest.is_some_and(|newest| newest != old));
    };
    let mut pauses = ASKED_AGAIN.into_iter();
    loop {
        // To say it twice is what a store is ready for.
        match near.store.replace_session_key(&user, &old, &new, near.clock.now()).await {
            Ok(_) => return Ok(true),
            Err(error) => match pauses.next() {
                Some(pause) => sleep(pause).await,
                None => return Err(Error::StoreUnavailable(error).into()),
            },
        }
    }
}
