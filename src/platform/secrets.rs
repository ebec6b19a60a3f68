//! Which of an app's AppSecrets is sent. While one is changed there are two, and only the platform knows which of them
//! counts: what the one is refused for is tried once with the other, and the one that worked last goes first from then on.

use std::{
    fmt,
    future::Future,
    sync::atomic::{AtomicU8, Ordering},
};

use super::{Error, Refusal};
use crate::{
    config::sections,
    model::{AppId, AppSecret},
};

/// What an operator is told when neither works.
const MEND_BOTH: &str = "check this app's `secret` and `other_secret` in [[apps]]: neither is this AppID's";

/// The AppSecrets of one app.
pub(crate) struct Secrets {
    app: AppId,
    secret: AppSecret,
    other: Option<AppSecret>,
    /// The numbers by which the platform says that a secret is wrong.
    wrong: &'static [i64],
    /// The key of the one that worked last; see [`Key::coded`].
    worked: AtomicU8,
}

/// Under which key of `[[apps]]` a secret stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Secret,
    OtherSecret,
}

impl Secrets {
    /// The secrets of `app`, where the platform calls one wrong with any of these numbers.
    pub(crate) fn of(app: &sections::App, wrong: &'static [i64]) -> Self {
        let (secret, other) = (app.secret.clone(), app.other_secret.clone());
        Self { app: app.app_id.clone(), secret, other, wrong, worked: AtomicU8::new(0) }
    }

    /// Begins with what was known of the same app's secrets before: one that worked goes first under whatever key it
    /// stands now.
    pub(crate) fn recall(&self, before: &Self) {
        let Some(worked) = before.worked().and_then(|key| before.get(key)) else { return };
        let key = [Key::Secret, Key::OtherSecret].into_iter().find(|key| self.get(*key) == Some(worked));
        self.worked.store(key.map_or(0, Key::coded), Ordering::Relaxed);
    }

    /// Asks with the secret that worked last and, where the platform calls that one wrong, once more with the other. A
    /// code that the first of the two has burnt is no fault of the client: it gets the answer that makes it bring a new one.
    pub(crate) async fn send<'s, T, F>(&'s self, ask: impl Fn(&'s AppSecret) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let first = self.worked().unwrap_or(Key::Secret);
        let answer = ask(self.get(first).unwrap_or(&self.secret)).await;
        let second = first.opposite();
        match (&answer, self.get(second)) {
            (Err(error), Some(secret)) if self.is_wrong(error).is_some() => self.settle(second, ask(secret).await),
            (Ok(_), Some(_)) => {
                self.note(first);
                answer
            }
            _ => answer,
        }
    }

    /// What a second secret came to. That the platform has looked at the code shows that it took the secret.
    fn settle<T>(&self, key: Key, answer: Result<T, Error>) -> Result<T, Error> {
        if matches!(answer, Ok(_) | Err(Error::CodeInvalid(_) | Error::CodeUsed(_) | Error::UserBlocked(_))) {
            self.note(key);
        }
        match answer {
            Err(Error::CodeUsed(refusal)) => Err(Error::CodeInvalid(refusal)),
            Err(error) => match self.is_wrong(&error) {
                Some(refusal) => Err(Error::Misconfigured { refusal: refusal.clone(), mend: MEND_BOTH }),
                None => Err(error),
            },
            answer => answer,
        }
    }

    /// Notes which one works, and says so when it is another than before: an operator waits for that line.
    fn note(&self, key: Key) {
        if self.worked.swap(key.coded(), Ordering::Relaxed) != key.coded() {
            tracing::info!(app = %self.app, key = key.name(), "the AppSecret of this key is the one that works");
        }
    }

    fn is_wrong<'e>(&self, error: &'e Error) -> Option<&'e Refusal> {
        error.refusal().filter(|refusal| self.wrong.contains(&refusal.errcode))
    }

    fn worked(&self) -> Option<Key> {
        match self.worked.load(Ordering::Relaxed) {
            1 => Some(Key::Secret),
            2 => Some(Key::OtherSecret),
            _ => None,
        }
    }

    fn get(&self, key: Key) -> Option<&AppSecret> {
        match key {
            Key::Secret => Some(&self.secret),
            Key::OtherSecret => self.other.as_ref(),
        }
    }
}

impl Key {
    /// As [`Secrets::worked`] holds it; 0 is that nobody knows yet.
    fn coded(self) -> u8 {
        match self {
            Self::Secret => 1,
            Self::OtherSecret => 2,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::OtherSecret => "other_secret",
        }
    }

    fn opposite(self) -> Self {
        match self {
            Self::Secret => Self::OtherSecret,
            Self::OtherSecret => Self::Secret,
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("app", &self.app).finish_non_exhaustive()
    }
}
