//! A code of the phone button becomes a phone number, kept with its user's profile. No HTTP in here.
//!
//! A code works once, and what WeChat tells is paid for. So a code that arrives twice from the same user is one question:
//! see [`once`](crate::once). The same code from another user is another question, and WeChat's to answer.

mod error;

use std::{fmt, sync::Arc, time::Duration};

use tokio::runtime::Handle;

pub use error::Error;

use crate::{
    model::{Clock, PhoneCode, PhoneNumber, Secret, UserKey},
    once::{Once, Told},
    platform,
    profile::{Expected, Patch, Profiles},
    wechat::{PhoneNumbers, errcode},
};

/// How long ago a user may have agreed. A code lives for five minutes; this is for clocks that differ.
const MAX_AGE: Duration = Duration::from_hours(1);

/// How long a code of `wx.login` is. Those of the phone button have 64 hexadecimal digits.
const LOGIN_CODE: usize = 32;

/// Turns codes of the phone button into phone numbers.
pub struct Phones {
    exchange: Arc<Exchange>,
    once: Once<UserKey, (), Error>,
}

struct Exchange {
    wechat: Arc<dyn PhoneNumbers>,
    profiles: Arc<Profiles>,
    clock: Arc<dyn Clock>,
}

impl Phones {
    /// Numbers from `wechat` into `profiles`. Each exchange runs on `runtime` and is finished whatever becomes of who asked;
    /// who asks again with the same code within `window` gets what came of it.
    pub fn new(
        wechat: Arc<dyn PhoneNumbers>,
        profiles: Arc<Profiles>,
        window: Duration,
        runtime: Handle,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let once = Once::new(window, runtime, Arc::clone(&clock));
        Self { exchange: Arc::new(Exchange { wechat, profiles, clock }), once }
    }

    /// The same with another WeChat. What has come of codes is still known, and what is under way goes on.
    #[must_use]
    pub fn through(&self, wechat: Arc<dyn PhoneNumbers>) -> Self {
        let Exchange { profiles, clock, .. } = &*self.exchange;
        let (profiles, clock) = (Arc::clone(profiles), Arc::clone(clock));
        Self { exchange: Arc::new(Exchange { wechat, profiles, clock }), once: self.once.clone() }
    }

    /// Spends `code` for the user's number and keeps that, or gives the answer that the same code got from this user just
    /// now. When this answers with a number for the first time, the store has it. `place` is kept for as long as WeChat is
    /// asked, whether or not somebody still waits for it.
    pub async fn exchange(
        &self,
        user: &UserKey,
        code: &PhoneCode,
        place: impl Send + 'static,
    ) -> Result<PhoneNumber, Error> {
        let question = || {
            let (exchange, user, code) = (Arc::clone(&self.exchange), user.clone(), code.clone());
            async move {
                let _place = place;
                Ok(Told { text: written(&exchange.run(&user, &code).await?), beside: () })
            }
        };
        let told = self.once.ask(user, code.expose(), question).told().await.map_err(|_| Error::Interrupted)??;
        read(&told.text).ok_or(Error::Interrupted)
    }

    /// Removes the user's number.
    pub async fn forget(&self, user: &UserKey) -> Result<(), Error> {
        self.exchange.keep(user, &Patch::no_phone()).await
    }
}

impl fmt::Debug for Phones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phones").field("once", &self.once).finish_non_exhaustive()
    }
}

impl Exchange {
    async fn run(&self, user: &UserKey, code: &PhoneCode) -> Result<PhoneNumber, Error> {
        let told = self.wechat.phone_number(&user.app, code).await.map_err(|error| refused(error, code))?;
        if self.clock.now().since(told.agreed) > MAX_AGE {
            return Err(Error::Old);
        }
        self.keep(user, &Patch::phone(&told.number)).await?;
        Ok(told.number)
    }

    async fn keep(&self, user: &UserKey, patch: &Patch) -> Result<(), Error> {
        let kept = self.profiles.change(user, patch, Expected::Anything).await;
        kept.map(drop).map_err(|error| Error::Keep(Arc::new(error)))
    }
}

/// What an app does wrong most often is to send the code of `wx.login` here.
fn refused(error: platform::Error, code: &PhoneCode) -> Error {
    let text = code.expose();
    let looks_like_login = text.len() == LOGIN_CODE
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let is_unknown = error.refusal().is_some_and(|refusal| refusal.errcode == errcode::CODE_INVALID);
    if is_unknown && looks_like_login { Error::WrongKind(error) } else { Error::WeChat(error) }
}

/// No form of a number has a line end in it.
fn written(number: &PhoneNumber) -> Secret {
    Secret::new([number.whole(), number.pure(), number.country()].join("\n"))
}

fn read(text: &Secret) -> Option<PhoneNumber> {
    let mut forms = text.expose().split('\n');
    PhoneNumber::parse(forms.next()?, forms.next()?, forms.next()?).ok()
}

#[cfg(test)]
mod tests;
