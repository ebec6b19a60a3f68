//! Tells somebody of changes: takes notices from the store, sends them, and says there what became of each.
//!
//! ```text
//! profile/ → store (with the change) → claim → sign → send → 2xx: over
//!                                        ↑                 └ else: again, later and later
//! ```
//!
//! The store sees to it that a user's notices are sent one after the other and by one sender at a time; see
//! [`Store::claim_notices`]. A notice that was sent and of which the store could not be told is sent again: at least once, never
//! out of order. [`sign`] is how a receiver knows us, [`delivery`] one try, [`delay`] how long it is to the next.
//!
//! What is sent is personal data, and where it is sent may hold a secret: neither is logged.

mod delay;
mod delivery;
mod sign;

use std::{
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};

pub use self::delivery::SetupError;
use self::delivery::{Delivery, Outcome};
use crate::{
    config::sections,
    model::{Clock, Entropy},
    store::{Bell, Claim, Claimed, Fate, Notice, Store},
    telemetry::Counters,
};

/// So often it is asked what is due.
const TICK: Duration = Duration::from_millis(500);

/// How much longer than a try a claim lasts: whoever takes over comes after the try is over.
const AFTER_A_TRY: Duration = Duration::from_secs(10);

/// Whoever is told, and how.
#[derive(Debug)]
pub struct Webhook {
    section: sections::Webhook,
    delivery: Delivery,
}

impl Webhook {
    /// The receiver of this section.
    pub fn new(section: &sections::Webhook) -> Result<Self, SetupError> {
        Ok(Self { section: section.clone(), delivery: Delivery::new(section)? })
    }
}

/// Who sends.
#[derive(Clone)]
pub struct Sender {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    counters: Arc<Counters>,
    bell: Arc<Bell>,
    /// Whether the last try failed: worth a line in the log once, and not with every try.
    failing: Arc<AtomicBool>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Sender {
    /// Sends what waits in this store.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        counters: Arc<Counters>,
        bell: Arc<Bell>,
    ) -> Self {
        Self { store, clock, entropy, counters, bell, failing: Arc::default() }
    }

    /// Sends to whoever is the `current` receiver, until it is to stop; then what is under way is finished.
    pub async fn run(self, current: impl Fn() -> Option<Arc<Webhook>>, stop: impl Future<Output = ()>) {
        let (mut under_way, mut stop) = (JoinSet::new(), pin!(stop));
        loop {
            if let Some(webhook) = current() {
                self.begin(&webhook, &mut under_way).await;
                self.look().await;
            }
            tokio::select! {
                () = &mut stop => break,
                () = self.bell.rung() => {}
                Some(_) = under_way.join_next() => {}
                () = sleep(TICK) => {}
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    async fn begin(&self, webhook: &Arc<Webhook>, under_way: &mut JoinSet<()>) {
        while under_way.try_join_next().is_some() {}
        let free = webhook.section.in_flight.saturating_sub(under_way.len());
        let mut by = [0; 16];
        if free == 0 || self.entropy.fill(&mut by).is_err() {
            return;
        }
        let claim = Claim { by, lasts: webhook.section.timeout + AFTER_A_TRY };
        match self.store.claim_notices(claim, self.clock.now(), free).await {
            Ok(claimed) => {
                for claimed in claimed {
                    let (sender, webhook) = (self.clone(), Arc::clone(webhook));
                    under_way.spawn(async move { sender.tell(&webhook, claimed, by).await });
                }
            }
            Err(error) => tracing::debug!(%error, "the store does not say what is to be told to the webhook"),
        }
    }

    /// How much waits, for the metrics.
    async fn look(&self) {
        let crowded = self.bell.take_crowded();
        if crowded > 0 {
            self.counters.webhook.crowded.add(crowded);
            tracing::error!(crowded, "changes are not told to the webhook for want of room");
        }
        if let Ok(waiting) = self.store.waiting_notices().await {
            let age = waiting.oldest.map(|made| self.clock.now().since(made));
            self.counters.webhook.wait(waiting.notices, age.unwrap_or_default());
        }
    }

    async fn tell(&self, webhook: &Webhook, Claimed { user, notice, attempts, .. }: Claimed, by: [u8; 16]) {
        let fate = if let Some(notice) = notice {
            self.send(webhook, &notice, attempts).await
        } else {
            self.counters.webhook.unreadable.inc();
            tracing::error!("a change can't be told to the webhook: no key opens it");
            Fate::Over
        };
        // Where the store does not hear of it, the claim runs out and it is sent again.
        if let Err(error) = self.store.settle_notice(&user, by, fate, self.clock.now()).await {
            tracing::warn!(%error, "what the webhook was told may be told again");
        }
    }

    async fn send(&self, webhook: &Webhook, notice: &Notice, attempts: u32) -> Fate {
        let counts = &self.counters.webhook;
        let now = self.clock.now();
        if now.since(notice.made) > webhook.section.max_age {
            counts.expired.inc();
            tracing::error!(attempts, "a change is not told to the webhook any more: it is older than max_age");
            return Fate::Over;
        }
        let outcome = webhook.delivery.send(notice, now).await;
        self.note(&outcome, attempts);
        match outcome {
            Outcome::Delivered => {
                counts.delivered.inc();
                Fate::Over
            }
            Outcome::Gone => {
                counts.gone.inc();
                Fate::Over
            }
            Outcome::Failed { asked_to_wait, .. } => {
                counts.failed.inc();
                let delay = delay::after(&webhook.section, attempts, asked_to_wait, &*self.entropy);
                Fate::Again(self.clock.now() + delay)
            }
        }
    }

    fn note(&self, outcome: &Outcome, attempts: u32) {
        let fails = matches!(outcome, Outcome::Failed { .. });
        let failed_before = self.failing.swap(fails, Ordering::Relaxed);
        match outcome {
            Outcome::Failed { why, .. } if !failed_before => {
                tracing::warn!(why, attempts, "the webhook does not take what it is told; it is told again");
            }
            Outcome::Gone => tracing::error!("the webhook answers 410: that change is not told again"),
            Outcome::Delivered if failed_before => tracing::info!("the webhook takes what it is told again"),
            _ => {}
        }
    }
}
