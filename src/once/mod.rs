//! What may happen only once, though it is asked for twice: a code is spent with the first question.
//!
//! WeChat's own client resends a request that it believes lost, and users tap twice. Questions with the same code in the
//! same scope that are under way are one; for a short window afterwards they get the same answer, whatever it was.
//!
//! What is remembered for that holds neither the code nor the answer in clear: see [`memory`].

mod memory;

use std::{fmt, future::Future, hash::Hash, sync::Arc, time::Duration};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::runtime::Handle;

use self::memory::{Flight, FlightKey, Recorder};
use crate::model::{AppId, Clock, Secret, UserKey};

/// How many questions are remembered. When there are more, the oldest are forgotten: such a code, sent again, is answered
/// by WeChat, as used. It should stay above `limits.verify_in_flight`.
const REMEMBERED: u64 = 10_000;

/// An upper bound on how long one question takes, for the time after which memory is given back.
const LONGEST: Duration = Duration::from_mins(1);

/// Within what a code means something. The same code in another scope is another question.
pub trait Scope: Clone + Eq + Hash + Send + Sync + 'static {
    /// What tells it from every other.
    fn parts(&self) -> impl IntoIterator<Item = &[u8]>;
}

impl Scope for AppId {
    fn parts(&self) -> impl IntoIterator<Item = &[u8]> {
        [self.as_str().as_bytes()]
    }
}

impl Scope for UserKey {
    fn parts(&self) -> impl IntoIterator<Item = &[u8]> {
        [self.app.as_str().as_bytes(), self.openid.as_str().as_bytes()]
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<X> {
    /// What is worth hiding.
    pub text: Secret,
    /// What is not.
    pub beside: X,
}

/// The question ended without an outcome: it panicked, or the process is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the exchange was cut short")]
pub struct Interrupted;

/// A question that is asked, or was.
pub struct Asked<S, X, E> {
    flight: Arc<Flight<X, E>>,
    scope: S,
    code: Secret,
    /// Whether somebody else had asked it.
    pub already: bool,
}

impl<S: Scope, X: Clone, E: Clone> Asked<S, X, E> {
    /// Waits for what came of it.
    pub async fn told(self) -> Result<Result<Told<X>, E>, Interrupted> {
        self.flight.answer(&self.scope, &self.code).await
    }
}

/// Asks once, however often it is asked to.
pub struct Once<S, X, E> {
    flights: Cache<FlightKey<S>, Arc<Flight<X, E>>>,
    window: Duration,
    runtime: Handle,
    clock: Arc<dyn Clock>,
}

impl<S, X, E> Once<S, X, E>
where
    S: Scope,
    X: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    /// Each question runs on `runtime`, not on its caller's: neither a client that hangs up nor a worker that stops
    /// can break off one whose code is spent, and who asks again within `window` gets what came of it. A window of zero
    /// remembers nothing, but still makes one of what is under way.
    pub fn new(window: Duration, runtime: Handle, clock: Arc<dyn Clock>) -> Self {
        let flights = Cache::builder()
            .max_capacity(REMEMBERED)
            // Whoever came last stays. The default policy would turn newcomers away when it is full.
            .eviction_policy(EvictionPolicy::lru())
            // Only gives memory back. The window is judged by `clock`, which moka does not know.
            .time_to_live(window.saturating_add(LONGEST))
            .build();
        Self { flights, window, runtime, clock }
    }

    /// Asks `question`, or finds the one that was asked with the same code just now.
    pub fn ask<F>(&self, scope: &S, code: &str, question: impl FnOnce() -> F) -> Asked<S, X, E>
    where
        F: Future<Output = Result<Told<X>, E>> + Send + 'static,
    {
        let (now, code) = (self.clock.now(), Secret::new(code));
        // Starting a flight only spawns, so that this never blocks the worker and can't be dropped half done.
        let entry = self.flights.entry(FlightKey::of(scope, &code)).or_insert_with_if(
            || Arc::new(self.start(scope.clone(), code.clone(), question())),
            |flight| !flight.answers_at(now, self.window),
        );
        let already = !entry.is_fresh();
        Asked { flight: entry.into_value(), scope: scope.clone(), code, already }
    }

    fn start(
        &self,
        scope: S,
        code: Secret,
        question: impl Future<Output = Result<Told<X>, E>> + Send + 'static,
    ) -> Flight<X, E> {
        let (recorder, flight) = Recorder::pair();
        let clock = Arc::clone(&self.clock);
        self.runtime.spawn(async move {
            let outcome = question.await;
            recorder.record(clock.now(), outcome, &scope, &code);
        });
        flight
    }
}

impl<S, X, E> Clone for Once<S, X, E> {
    fn clone(&self) -> Self {
        let (flights, runtime) = (self.flights.clone(), self.runtime.clone());
        Self { flights, window: self.window, runtime, clock: Arc::clone(&self.clock) }
    }
}

impl<S, X, E> fmt::Debug for Once<S, X, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("window", &self.window).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ManualClock, Timestamp};

    #[tokio::test]
    async fn the_memory_is_bounded_and_keeps_the_newest() {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_000_000)));
        let once = Once::<AppId, (), Interrupted>::new(Duration::from_secs(10), Handle::current(), clock);
        let app = AppId::parse("wx1").unwrap();
        let answer = || async { Ok(Told { text: Secret::new("answer"), beside: () }) };
        // Twice over, so that those who are already there look popular.
        for number in (0..REMEMBERED).chain(0..REMEMBERED) {
            once.ask(&app, &number.to_string(), answer).told().await.unwrap().unwrap();
        }
        once.flights.run_pending_tasks();
        assert!(!once.ask(&app, "newest", answer).already);
        once.flights.run_pending_tasks();
        assert_eq!(once.flights.entry_count(), REMEMBERED);
        assert!(once.ask(&app, "newest", answer).already);
    }
}
