//! What is done for sessions beside the requests, on the control runtime: filling the cache at the start, writing uses
//! down, looking after those that are watched, sweeping.

use std::{error::Error as StdError, time::Duration};

use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::near::{Known, Near};
use crate::store;

/// So many sessions are brought into memory at the start, those used last. The rest come when they are wanted.
const WARM: usize = 50_000;

/// So many of them in one go, before others on the runtime have their turn.
const WARM_STEP: usize = 256;

/// Between two looks at what is to be written, and at what is watched.
const TICK: Duration = Duration::from_secs(1);

/// Between two steps of a sweep: whoever wants the store for a request gets in between.
const SWEEP_STEP: Duration = Duration::from_millis(10);

/// Between two sweeps.
const SWEEP_REST: Duration = Duration::from_mins(1);

impl Near {
    /// Never ends by itself.
    pub(super) async fn keep_house(&self, capacity: u64) {
        let warm = usize::try_from(capacity).map_or(WARM, |capacity| capacity.min(WARM));
        tokio::join!(self.warm_up(warm), self.write_uses_down(), self.watch(), self.sweep());
    }

    async fn warm_up(&self, limit: usize) {
        // The memory store has nothing at the start, and nothing that is not in the cache.
        if self.store.sees_use() {
            return;
        }
        let asked_at = self.cache.generations.snapshot();
        let recent = match self.store.recent(limit, self.clock.now()).await {
            Ok(recent) => recent,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "memory begins empty");
                return;
            }
        };
        let mut recent = recent.into_iter().filter(|session| !self.cache.holds(session.digest())).peekable();
        while recent.peek().is_some() {
            for session in recent.by_ref().take(WARM_STEP) {
                let session = self.tagged(session);
                self.cache.insert(&session, asked_at.of(session.digest()));
            }
            tokio::task::yield_now().await;
        }
    }

    async fn write_uses_down(&self) {
        let (mut ticks, mut failing) = (ticks(), false);
        loop {
            ticks.tick().await;
            let flushed = self.touches.flush(&*self.store).await;
            if let (Err(error), false) = (&flushed, failing) {
                tracing::warn!(error = %chain(error), "the last use of sessions can't be written; it waits");
            }
            failing = flushed.is_err();
        }
    }

    async fn watch(&self) {
        let mut ticks = ticks();
        loop {
            tokio::select! {
                () = self.watched.doubted() => {}
                _ = ticks.tick() => {}
            }
            self.look_after_the_watched().await;
        }
    }

    /// Tells those whose session is over, as far as that can be found out now.
    pub(super) async fn look_after_the_watched(&self) {
        // What can't be heard of has to be asked for, or an end elsewhere would wait for the link to come back.
        let hears = self.link.is_trusted(&*self.clock);
        for digest in self.watched.questions(self.clock.now(), hears) {
            let asked_at = self.cache.generations.of(&digest);
            let now = self.clock.now();
            let found = match self.known(&digest, now) {
                Known::Live(session) => Ok(Some(session)),
                Known::Over => Ok(None),
                Known::Unsure { .. } => self.ask(&digest).await,
            };
            match found {
                Ok(Some(session)) if self.cache.generations.of(&digest) == asked_at => self.watched.confirm(&session),
                // It changed again: it stays in doubt, as it does while the store is away.
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => self.watched.end(&digest),
            }
        }
    }

    async fn sweep(&self) {
        let mut failing = false;
        if self.store.sees_use() {
            // The memory store has nothing at the start.
            sleep(SWEEP_REST).await;
        }
        loop {
            // Uses first: what is only late to be written must not be swept as unused.
            let swept = match self.touches.flush(&*self.store).await {
                Ok(()) => self.store.sweep(self.clock.now()).await,
                Err(error) => Err(error),
            };
            if let (Err(error), false) = (&swept, failing) {
                tracing::warn!(error = %chain(error), "sessions that ran out can't be swept");
            }
            failing = swept.is_err();
            sleep(if matches!(swept, Ok(true)) { SWEEP_STEP } else { SWEEP_REST }).await;
        }
    }
}

/// A tick now and then one each [`TICK`], however long what is done at one of them takes.
fn ticks() -> Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// An error with what is behind it. None of a store's holds a secret.
fn chain(error: &store::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}
