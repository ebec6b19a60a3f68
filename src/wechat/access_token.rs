//! The access tokens of all apps: asked for when one is needed, kept, shared, and renewed.
//!
//! Nobody asks for one at the start, and no login needs one. However many want one at once, WeChat is asked once, by a
//! task that belongs to none of them: who hangs up takes nothing away from the others.
//!
//! A token that WeChat refuses is renewed once, and the call is made once more with what came of it. Tokens are told
//! apart by the number of their renewal and not by their text, because WeChat may give the same one again: of all whose
//! calls failed with number 7, the first renews, and the others take number 8.
//!
//! Where WeChat refuses the set-up, no call for a token can work until somebody mends that. So the refusal is remembered for a
//! while, longer each time, and told to all who ask meanwhile.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch};

use super::stable_token::Granted;
use crate::{
    model::{AccessToken, AppId, Clock},
    platform::Error,
};

/// A token is not used so shortly before its end. From then on WeChat gives the next one, and knows both.
const BEFORE_ITS_END: Duration = Duration::from_mins(5);

/// So long before a token is not used any more, the next one is asked for behind the back of those who use it. Where
/// WeChat still gives the same one, that was for nothing; where it is slow or away, nobody has to wait yet.
const EARLY: Duration = Duration::from_mins(1);

/// How long it is until that is tried again.
const BETWEEN_TRIES: Duration = Duration::from_secs(15);

/// For how long a refused set-up is not tried again: the first time, and at most. Each time it is twice as long.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_mins(1);

/// So often whoever was lent a token can have it renewed. Nobody sees the call that WeChat is said to have refused, and
/// what asks in a loop must not use up what WeChat allows in a day.
const BETWEEN_REPORTS: Duration = Duration::from_secs(10);

/// No token is kept for longer, whatever WeChat says.
const LONGEST: Duration = Duration::from_hours(2);

/// A token under way.
pub type Granting<'a> = Pin<Box<dyn Future<Output = Result<Granted, Error>> + Send + 'a>>;

/// Who gives access tokens.
pub trait TokenSource: fmt::Debug + Send + Sync {
    /// Asks for the app's token. It may be the one that was given before.
    fn stable_token<'a>(&'a self, app: &'a AppId) -> Granting<'a>;
}

/// The access tokens of all apps.
pub struct AccessTokens {
    source: Arc<dyn TokenSource>,
    shelves: HashMap<AppId, Arc<Shelf>>,
    timeout: Duration,
    runtime: Handle,
    clock: Arc<dyn Clock>,
}

impl AccessTokens {
    /// The tokens of these apps, none of which is asked for yet. What asks runs on `runtime`.
    pub fn new(
        source: Arc<dyn TokenSource>,
        apps: impl IntoIterator<Item = AppId>,
        timeout: Duration,
        runtime: Handle,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let shelves = apps.into_iter().map(|app| (app, Arc::default())).collect();
        Self { source, shelves, timeout, runtime, clock }
    }

    /// Makes a call with a token of `app`. Where the call ends in [`Error::TokenRefused`], the token is renewed and the
    /// call is made once more; whatever comes of that stands.
    ///
    /// All of it together takes no longer than the timeout.
    pub async fn with<T, F>(&self, app: &AppId, call: impl Fn(AccessToken) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        tokio::time::timeout(self.timeout, self.renewing_once(app, call)).await.unwrap_or(Err(Error::Timeout))
    }

    /// A token of `app` for somebody else to call WeChat with, and for how long that may go on. Where he says that WeChat
    /// refuses the newest, it is renewed first, but not too often.
    pub async fn give(&self, app: &AppId, refused: Option<u64>) -> Result<Lent, Error> {
        let refused = refused.map_or(Refused::None, Refused::Reported);
        let kept = tokio::time::timeout(self.timeout, self.lend(app, refused)).await.unwrap_or(Err(Error::Timeout))?;
        let expires_in = kept.good_until.saturating_sub(self.clock.steady());
        Ok(Lent { token: kept.token, serial: kept.number, expires_in })
    }

    /// The same, which go on with what `before` has of those apps that are `same`. A set-up that was refused is tried again.
    #[must_use]
    pub fn recalling(&self, before: &Self, same: impl Fn(&AppId) -> bool) -> Self {
        before.forget_refusals();
        let taken_over = |(app, new): (&AppId, &Arc<Shelf>)| {
            let kept = before.shelves.get(app).filter(|_| same(app));
            (app.clone(), Arc::clone(kept.unwrap_or(new)))
        };
        Self {
            source: Arc::clone(&self.source),
            shelves: self.shelves.iter().map(taken_over).collect(),
            timeout: self.timeout,
            runtime: self.runtime.clone(),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Forgets that a set-up was refused: somebody may have mended it.
    pub fn forget_refusals(&self) {
        for shelf in self.shelves.values() {
            let mut state = shelf.state();
            (state.resting, state.reported) = (None, None);
        }
    }

    async fn renewing_once<T, F>(&self, app: &AppId, call: impl Fn(AccessToken) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let lent = self.lend(app, Refused::None).await?;
        match call(lent.token).await {
            Err(Error::TokenRefused(_)) => call(self.lend(app, Refused::Seen(lent.number)).await?.token).await,
            answer => answer,
        }
    }

    /// A token that is not the one which WeChat refused.
    async fn lend(&self, app: &AppId, refused: Refused) -> Result<Numbered, Error> {
        let mut renewal = match self.look(app, refused)? {
            Found::Token(lent) => return Ok(lent),
            Found::Renewal(renewal) => renewal,
        };
        let outcome = renewal.wait_for(Option::is_some).await.map_err(|_| Error::Interrupted)?;
        outcome.clone().unwrap_or(Err(Error::Interrupted))
    }

    /// What there is, or who brings it. Nothing is waited for under the lock: to begin a renewal is to spawn it.
    fn look(&self, app: &AppId, refused: Refused) -> Result<Found, Error> {
        let place = self.shelves.get(app).ok_or(Error::UnknownApp)?;
        let now = self.clock.steady();
        let mut state = place.state();
        let (refused, is_reported) = match refused {
            Refused::None => (None, false),
            Refused::Seen(number) => (Some(number), false),
            Refused::Reported(number) => (state.believes(number, now).then_some(number), true),
        };
        if let Some(kept) = state.kept.as_ref().filter(|kept| kept.is_good(now, refused)) {
            let (lent, is_late) = (kept.lent.clone(), now >= kept.renew_from);
            if is_late && state.renewal().is_none() {
                self.renew(app, place, &mut state);
            }
            return Ok(Found::Token(lent));
        }
        if let Some(renewal) = state.renewal() {
            return Ok(Found::Renewal(renewal));
        }
        if let Some(resting) = state.resting.as_ref().filter(|resting| now < resting.until) {
            return Err(resting.error.clone());
        }
        if is_reported {
            state.reported = Some(now);
        }
        Ok(Found::Renewal(self.renew(app, place, &mut state)))
    }

    fn renew(&self, app: &AppId, place: &Arc<Shelf>, state: &mut State) -> Renewal {
        let (tell, renewal) = watch::channel(None);
        let (source, clock) = (Arc::clone(&self.source), Arc::clone(&self.clock));
        let (app, place) = (app.clone(), Arc::clone(place));
        self.runtime.spawn(async move {
            let asked = clock.steady();
            let granted = source.stable_token(&app).await;
            match &granted {
                Ok(_) => {}
                Err(error @ Error::Misconfigured { mend, .. }) => {
                    tracing::error!(%app, advice = mend, %error, "no access token: WeChat refuses the set-up of this app");
                }
                Err(error) => tracing::warn!(%app, %error, "no access token"),
            }
            tell.send_replace(Some(place.state().land(granted, asked, clock.steady())));
        });
        state.under_way = Some(renewal.clone());
        renewal
    }
}

impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokens").field("apps", &self.shelves.len()).finish_non_exhaustive()
    }
}

/// One app's token.
#[derive(Default)]
struct Shelf(Mutex<State>);

#[derive(Default)]
struct State {
    /// How many renewals have brought something.
    renewals: u64,
    kept: Option<Kept>,
    under_way: Option<Renewal>,
    resting: Option<Resting>,
    /// When a token was last renewed because somebody had reported it. A moment of [`Clock::steady`].
    reported: Option<Duration>,
}

struct Kept {
    lent: Numbered,
    /// A moment of [`Clock::steady`].
    renew_from: Duration,
}

/// A set-up that WeChat refuses, and is not asked with for a while.
struct Resting {
    error: Error,
    rest: Duration,
    /// A moment of [`Clock::steady`].
    until: Duration,
}

/// A token for somebody else to call WeChat with.
#[derive(Clone, Debug)]
pub struct Lent {
    /// The token.
    pub token: AccessToken,
    /// The number of the renewal that brought it. Each process counts for itself.
    pub serial: u64,
    /// For how long it may be used.
    pub expires_in: Duration,
}

/// The number of a token that is not to be lent again.
#[derive(Clone, Copy)]
enum Refused {
    None,
    /// WeChat has refused it in a call of our own.
    Seen(u64),
    /// Somebody says that WeChat refuses it.
    Reported(u64),
}

/// A token and the number of the renewal that brought it.
#[derive(Clone)]
struct Numbered {
    token: AccessToken,
    number: u64,
    /// A moment of [`Clock::steady`].
    good_until: Duration,
}

type Renewal = watch::Receiver<Option<Result<Numbered, Error>>>;

enum Found {
    Token(Numbered),
    Renewal(Renewal),
}

impl Shelf {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The renewal that is under way. One that has died without an outcome is none.
    fn renewal(&self) -> Option<Renewal> {
        self.under_way.clone().filter(|renewal| renewal.has_changed().is_ok())
    }

    /// Whether a report of this token is followed: it is about the newest, and no other has been followed just now. Where
    /// it is being renewed already nothing more is asked of WeChat.
    fn believes(&self, number: u64, now: Duration) -> bool {
        let is_newest = self.kept.as_ref().is_some_and(|kept| kept.lent.number == number);
        let was_followed = || self.reported.is_some_and(|last| now.saturating_sub(last) < BETWEEN_REPORTS);
        is_newest && (self.renewal().is_some() || !was_followed())
    }

    fn land(&mut self, granted: Result<Granted, Error>, asked: Duration, now: Duration) -> Result<Numbered, Error> {
        self.under_way = None;
        let before = self.kept.take();
        match granted {
            Ok(granted) => {
                self.renewals += 1;
                self.resting = None;
                let good_until = asked + granted.expires_in.min(LONGEST).saturating_sub(BEFORE_ITS_END);
                let lent = Numbered { token: granted.token, number: self.renewals, good_until };
                let renew_from = match before {
                    Some(before) if before.lent.token == lent.token => now + BETWEEN_TRIES,
                    _ => Duration::ZERO,
                };
                let renew_from = renew_from.max(good_until.saturating_sub(EARLY));
                self.kept = Some(Kept { lent: lent.clone(), renew_from });
                Ok(lent)
            }
            Err(error) => {
                if let Error::Misconfigured { .. } = error {
                    let rest = self.resting.as_ref().map_or(FIRST_REST, |before| LONGEST_REST.min(2 * before.rest));
                    self.resting = Some(Resting { error: error.clone(), rest, until: now + rest });
                }
                self.kept = before.map(|kept| Kept { renew_from: now + BETWEEN_TRIES, ..kept });
                Err(error)
            }
        }
    }
}

impl Kept {
    fn is_good(&self, now: Duration, refused: Option<u64>) -> bool {
        now < self.lent.good_until && refused.is_none_or(|number| number < self.lent.number)
    }
}

#[cfg(test)]
mod tests;
