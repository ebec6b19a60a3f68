//! Tells somebody of changes: takes notices from the store, sends them, and says there what became of each.
//!
//! ```text
//! profile/ → store (with the change) → claim → sign → send → 2xx: over
//!                                        ↑                 └ else: again, later and later
//! ```
//!
//! The store sees to it that a user's notices are sent one after the other and by one sender at a time; see
//! [`Store::claim_notices`]. A notice that was sent and of which the store could not be told is sent again: at least once, and in
//! order for as long as claims hold. [`sign`] is how a receiver knows us, [`delivery`] one try, [`delay`] how long it is to the next.
//!
//! What is sent is personal data, and where it is sent may hold a secret: neither is logged.

mod delay;
mod delivery;
mod sign;

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Mutex,
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep, timeout},
};

pub use self::delivery::SetupError;
use self::delivery::{Delivery, Outcome};
use crate::{
    config::sections,
    model::{Clock, Entropy, UserKey},
    store::{Bell, Claim, Claimed, Fate, Notice, SUPERSEDED, Store},
    telemetry::Counters,
};

/// So often it is asked what is due; ever less often where nothing is, unless something rings.
const TICK: Duration = Duration::from_millis(500);
const LONGEST_TICK: Duration = Duration::from_secs(2);

/// So often it is asked how much waits.
const LOOK: Duration = Duration::from_secs(2);

/// How much longer than a try a claim lasts: whoever takes over comes after the try is over. A try that has not begun by then
/// is left to whoever claims it next.
const AFTER_A_TRY: Duration = Duration::from_secs(10);

/// How long a stop waits for what is under way. What is not over then is sent again after the next start.
const LAST_TRIES: Duration = Duration::from_secs(5);

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
    trouble: Arc<Trouble>,
}

/// What is worth a line in the log when it begins, and not each time.
#[derive(Debug, Default)]
struct Trouble {
    /// The last try failed.
    receiver: AtomicBool,
    /// The store did not say what is due.
    store: AtomicBool,
    /// The last notice could not be opened.
    key: AtomicBool,
    /// So many were given up since that was told.
    given_up: AtomicU64,
}

/// Tries under way. Those of one user come one after the other whatever becomes of their claims: a clock that jumps ends a
/// claim under its try.
#[derive(Default)]
struct UnderWay {
    tries: JoinSet<()>,
    turns: HashMap<Id, (UserKey, Turn)>,
}

/// Held by the try of a user that is under way.
type Turn = Arc<Mutex<()>>;

impl UnderWay {
    fn forget_done(&mut self) {
        while let Some(done) = self.tries.try_join_next_with_id() {
            self.forget(done);
        }
    }

    /// Returns when one more is done, or never where there is none.
    async fn one_done(&mut self) {
        match self.tries.join_next_with_id().await {
            Some(done) => self.forget(done),
            None => std::future::pending().await,
        }
    }

    fn forget(&mut self, done: Result<(Id, ()), JoinError>) {
        self.turns.remove(&done.map_or_else(|error| error.id(), |(id, ())| id));
    }

    fn begin<F: Future<Output = ()> + Send + 'static>(&mut self, user: UserKey, one: impl FnOnce(Turn) -> F) {
        let same = self.turns.values().find(|(other, _)| *other == user);
        let turn = same.map(|(_, turn)| Arc::clone(turn)).unwrap_or_default();
        self.turns.insert(self.tries.spawn(one(Arc::clone(&turn))).id(), (user, turn));
    }

    async fn finish(mut self) {
        let done = async { while self.tries.join_next().await.is_some() {} };
        if timeout(LAST_TRIES, done).await.is_err() {
            self.tries.shutdown().await;
        }
    }
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
        Self { store, clock, entropy, counters, bell, trouble: Arc::default() }
    }

    /// Sends to whoever is the `current` receiver, until it is to stop; then what is under way is finished, and nothing of it
    /// holds the store any more.
    pub async fn run(&self, current: impl Fn() -> Option<Arc<Webhook>>, stop: impl Future<Output = ()>) {
        let (mut under_way, mut stop) = (UnderWay::default(), pin!(stop));
        let (mut pause, mut looked) = (TICK, None::<Instant>);
        loop {
            under_way.forget_done();
            if let Some(webhook) = current() {
                let found = self.begin(&webhook, &mut under_way).await;
                // What others have written down for the first time comes a little later. What is due again comes at its time.
                let idle = !found && self.counters.webhook.waiting() == 0;
                pause = if idle { LONGEST_TICK.min(pause * 2) } else { TICK };
                if looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
                    self.look().await;
                    looked = Some(Instant::now());
                }
            } else {
                self.counters.webhook.wait(0, Duration::ZERO);
            }
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = self.bell.rung() => pause = TICK,
                () = under_way.one_done() => {}
                () = sleep(pause) => {}
            }
        }
        under_way.finish().await;
        self.own_up();
    }

    /// Begins what is due. True where there was something.
    async fn begin(&self, webhook: &Arc<Webhook>, under_way: &mut UnderWay) -> bool {
        let free = webhook.section.in_flight.saturating_sub(under_way.tries.len());
        if free == 0 {
            return false;
        }
        let (mut by, asked) = ([0; 16], Instant::now());
        if let Err(error) = self.entropy.fill(&mut by) {
            self.note_store(Err(&error));
            return false;
        }
        let claim = Claim { by, lasts: webhook.section.timeout + AFTER_A_TRY };
        match self.store.claim_notices(claim, self.clock.now(), free).await {
            Ok(claimed) => {
                self.note_store(Ok(()));
                let found = !claimed.is_empty();
                for claimed in claimed {
                    let (sender, webhook, user) = (self.clone(), Arc::clone(webhook), claimed.user.clone());
                    under_way.begin(user, |turn| async move {
                        let _turn = turn.lock().await;
                        sender.tell(&webhook, claimed, by, asked).await;
                    });
                }
                found
            }
            Err(error) => {
                self.note_store(Err(&error));
                false
            }
        }
    }

    /// How much waits, for the metrics.
    async fn look(&self) {
        self.own_up();
        if let Ok(waiting) = self.store.waiting_notices().await {
            let age = waiting.oldest.map(|made| self.clock.now().since(made));
            self.counters.webhook.wait(waiting.notices, age.unwrap_or_default());
        }
    }

    /// Counts and tells what nobody is told of.
    fn own_up(&self) {
        let crowded = self.bell.take_crowded();
        if crowded > 0 {
            self.counters.webhook.crowded.add(crowded);
            tracing::error!(crowded, "changes are not told to the webhook for want of room");
        }
        let given_up = self.trouble.given_up.swap(0, Ordering::Relaxed);
        if given_up > 0 {
            tracing::error!(
                given_up,
                "changes are not told to the webhook any more: it answered 410, or max_age is over"
            );
        }
    }

    async fn tell(&self, webhook: &Webhook, claimed: Claimed, by: [u8; 16], asked: Instant) {
        if asked.elapsed() > AFTER_A_TRY {
            tracing::warn!("a change is told to the webhook only later: its claim will not last for a try");
            return;
        }
        let user = claimed.user.clone();
        let fate = self.fate(webhook, claimed).await;
        // Where the store does not hear of it, the claim runs out and it is sent again.
        if let Err(error) = self.store.settle_notice(&user, by, fate, self.clock.now()).await {
            tracing::warn!(%error, "what the webhook was told may be told again");
        }
    }

    async fn fate(&self, webhook: &Webhook, Claimed { notice, attempts, made, .. }: Claimed) -> Fate {
        let counts = &self.counters.webhook;
        let now = self.clock.now();
        if attempts == SUPERSEDED {
            return Fate::Over;
        }
        // What was never tried is tried once, however long nobody was there to do it.
        let was_tried = attempts > 0 || notice.is_none();
        if was_tried && now.since(made) > webhook.section.max_age {
            counts.expired.inc();
            self.trouble.given_up.fetch_add(1, Ordering::Relaxed);
            return Fate::Over;
        }
        let Some(notice) = notice else {
            counts.unreadable.inc();
            if !self.trouble.key.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    "a change can't be told to the webhook: no key of sessions.seal opens it; it is kept until max_age"
                );
            }
            // Another process may have the key, or this one after a restart.
            return Fate::Again(now + webhook.section.longest_retry);
        };
        self.trouble.key.store(false, Ordering::Relaxed);
        self.send(webhook, &notice, attempts).await
    }

    async fn send(&self, webhook: &Webhook, notice: &Notice, attempts: u32) -> Fate {
        let counts = &self.counters.webhook;
        let outcome = webhook.delivery.send(notice, self.clock.now()).await;
        self.note(&outcome, attempts);
        match outcome {
            Outcome::Delivered => {
                counts.delivered.inc();
                Fate::Over
            }
            Outcome::Gone => {
                counts.gone.inc();
                self.trouble.given_up.fetch_add(1, Ordering::Relaxed);
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
        let failed_before = self.trouble.receiver.swap(fails, Ordering::Relaxed);
        match outcome {
            Outcome::Failed { why, .. } if !failed_before => {
                tracing::warn!(why, attempts, "the webhook does not take what it is told; it is told again");
            }
            Outcome::Delivered if failed_before => tracing::info!("the webhook takes what it is told again"),
            _ => {}
        }
    }

    fn note_store(&self, outcome: Result<(), &dyn fmt::Display>) {
        let failed_before = self.trouble.store.swap(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Err(error) if !failed_before => {
                tracing::warn!(%error, "the store does not say what is to be told to the webhook");
            }
            Ok(()) if failed_before => tracing::info!("the store says again what is to be told to the webhook"),
            _ => {}
        }
    }
}
